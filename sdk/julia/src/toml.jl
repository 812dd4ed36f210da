# As much TOML as a bundle's description needs, to write; and the versions in a Manifest.toml, to read.

function toml_string(text::AbstractString)
    isvalid(text) || throw(YardError("A string is not UTF-8: $(repr(first(text, 80)))."))
    escaped = sprint() do io
        for c in text
            if c == '"' || c == '\\'
                print(io, '\\', c)
            elseif c < ' ' || c == '\x7f'
                print(io, "\\u", string(Int(c); base = 16, pad = 4))
            else
                print(io, c)
            end
        end
    end
    return "\"$escaped\""
end

toml_value(value::AbstractString) = toml_string(value)
toml_value(value::Union{Bool,Integer,Float64}) = string(value)
toml_value(values::AbstractVector) = "[" * join(map(toml_value, values), ", ") * "]"

"Writes `key = value` lines, and nothing for `nothing`, an empty string or `false`, which are the defaults."
function write_pairs(io::IO, table)
    for (key, value) in table
        (value === nothing || value === false || value == "") && continue
        println(io, toml_key(string(key)), " = ", toml_value(value))
    end
end

toml_key(key::String) = occursin(r"^[A-Za-z0-9_-]+\z", key) ? key : toml_string(key)

"Writes a table of that name, unless it is empty."
function write_table(io::IO, name::String, table)
    isempty(table) && return
    println(io, "\n[", name, "]")
    write_pairs(io, sort!(collect(table); by = pair -> string(first(pair))))
end

"""
    manifest_versions(text) -> Dict{String,String}

Package to version out of a Manifest.toml of either format (`[[Name]]` or `[[deps.Name]]`); packages without a version
are Julia's own.
"""
function manifest_versions(text::AbstractString)
    versions, package = Dict{String,String}(), ""
    for line in split(text, '\n')
        header = match(r"^\[\[(?:deps\.)?\"?([^\"\]]+)\"?\]\]\s*$", line)
        version = match(r"^\s*version\s*=\s*\"([^\"]+)\"", line)
        header === nothing || (package = String(header[1]))
        version === nothing || isempty(package) || (versions[package] = version[1])
        startswith(line, '[') && header === nothing && (package = "")
    end
    return versions
end

"The folders that a Manifest.toml names for packages which lie somewhere on this machine."
function manifest_paths(text::AbstractString)
    found = (match(r"^\s*path\s*=\s*\"([^\"]+)\"", line) for line in split(text, '\n'))
    return String[path[1] for path in found if path !== nothing]
end
