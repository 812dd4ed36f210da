# Rows as JSON records, and the yard's predictions in the shape a model's own predict has.

"Records, a Dict a row: NaN and `missing` become null."
function records_of(rows)
    columns = columns_of(rows)
    for (name, values) in columns
        any(v -> v isa AbstractFloat && isinf(v), values) || continue
        throw(YardError("The column $name has an infinite number, which JSON cannot carry.", "Replace it."))
    end
    return [Dict{String,Any}(name => values[row] for (name, values) in columns) for row in eachindex(last(first(columns)))]
end

"The yard's answers to all records, asked for in requests of at most so many; each with its request's id and its row there."
function answers_to(path::String, records::Vector)
    answers, requests, places = Any[], String[], Int[]
    for some in Iterators.partition(records, MOST_RECORDS)
        answer = ask_yard("POST", path; body = some)
        count = length(answer["predictions"])
        append!(answers, answer["predictions"])
        append!(requests, fill(get(answer, "request_id", ""), count))
        append!(places, 0:(count - 1))
    end
    return answers, requests, places
end

const MOST_RECORDS = 10_000             # in one request

"""
Predictions as vectors: numbers as `Vector{Float64}`, labels as a NamedTuple `(label, probabilities)`, several outputs as a
NamedTuple of vectors.
"""
function shaped(predictions::Vector)
    all(p -> p isa Real || p === nothing, predictions) && return [number(p) for p in predictions]
    all(p -> p isa Dict && keys(p) == keys(predictions[1]), predictions) || return predictions
    first_one = predictions[1]
    haskey(first_one, "label") || return by_name(number, predictions, sort!(collect(keys(first_one))))
    label = identity.([p["label"] for p in predictions])
    get(first_one, "probabilities", nothing) isa Dict || return (label = label,)
    chances = [p["probabilities"] for p in predictions]
    return (label = label, probabilities = by_name(number, chances, sort!(collect(keys(first(chances))))))
end

by_name(convert_one, records, names) =
    NamedTuple{Tuple(Symbol.(names))}(Tuple([convert_one(record[name]) for record in records] for name in names))

number(value) = value === nothing ? NaN : Float64(value)
