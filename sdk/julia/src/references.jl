# `department/name`, `department/name@alias` and `department/name/7`.

struct Reference
    model::String
    alias::String                       # "" where none is named
    version::Int                        # 0 where none is named
end

const NAME = "[a-z][a-z0-9-]{0,62}"
const REFERENCE = Regex("^($NAME/$NAME)(?:@($NAME)|/([1-9][0-9]{0,8}))?\\z")

function parse_reference(text::AbstractString)
    found = match(REFERENCE, text)
    found === nothing && throw(YardError(
        "$(repr(first(text, 80))) is not a reference to a model.",
        "Write department/name, department/name@alias or department/name/7, in small letters, digits and '-'.",
    ))
    version = found[3] === nothing ? 0 : parse(Int, found[3])
    return Reference(found[1], something(found[2], ""), version)
end

"The address of a model that must be named alone."
function model_path(text::AbstractString)
    at = parse_reference(text)
    isempty(at.alias) && at.version == 0 && return "/api/v1/models/$(at.model)"
    throw(YardError("$text is a version; here a model is meant.", "Write $(at.model)."))
end

function check_alias(name::AbstractString)
    occursin(Regex("^$NAME\\z"), name) && return String(name)
    throw(YardError("$(repr(first(name, 80))) is not an alias.", "Aliases are small letters, digits and '-'."))
end
