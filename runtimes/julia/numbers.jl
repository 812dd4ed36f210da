# Writes a model's numbers as data (contract/numbers.md), once: a process of its own, in the worker's walls.
#
#     julia numbers.jl FOLDER        (the question: the `load` frame of a worker, on standard input)
#
# A model says them itself, by a function `numbers(model)` beside its `predict`. FOLDER gets `numbers.frames`, or
# `refused.txt` with the reason, and then the exit code is 3.

module YardNumbers

using Serialization

include("frames.jl")
include("convention.jl")
include("model.jl")

const REFUSED = 3

function main(folder::String)
    try
        frames = told(read_frame(stdin))
        open(io -> foreach(frame -> write(io, frame_bytes(frame)), frames), joinpath(folder, "numbers.frames"), "w")
        return 0
    catch error
        words = error isa NotTold ? error.message : "its numbers cannot be read: $(message_of(error))"
        write(joinpath(folder, "refused.txt"), words)
        return REFUSED
    end
end

struct NotTold <: Exception
    message::String
end

"The frames of the model that a `load` frame describes."
function told(question::Frame)
    model = load_model(question)
    type = typeof(model.value)
    numbers = Base.invokelatest(find_method, "numbers", get(load_options(question), "module", ""), type)
    numbers === nothing && throw(NotTold("the Julia worker answers: there is no numbers(model::$type) beside predict"))
    return [Frame("numbers", [["format", "1"]]); map(frame_of, Base.invokelatest(numbers, model.value))]
end

"A NamedTuple as a frame: vectors are columns, tuples are a field several times (but `of`, which is one field)."
function frame_of(given::NamedTuple)
    fields, columns = Vector{String}[], Column[]
    for (key, value) in pairs(given)
        key === :frame && continue
        if value isa AbstractVector
            push!(columns, Column(string(key), plain(value)))
        elseif value isa Tuple && key !== :of
            append!(fields, [[string(key), string(each)] for each in value])
        else
            push!(fields, [string(key); value isa Tuple ? [string(each) for each in value] : string(value)])
        end
    end
    rows = isempty(columns) ? nothing : length(columns[1].values)
    return Frame(string(given.frame), fields; rows = rows, columns = columns)
end

plain(values::AbstractVector{<:Real}) = Vector{Float64}(values)
plain(values::AbstractVector) = String[string(value) for value in values]

end

exit(YardNumbers.main(ARGS[end]))
