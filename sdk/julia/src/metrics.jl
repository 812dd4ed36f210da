# The folder a training script writes to, and the metrics it notes on the way.

const METRICS_FILE = "metrics.jsonl"

output_folder() = (name = get(ENV, "YARD_OUTPUT", ""); isempty(name) ? "yard-output" : name)

"""
    log_metrics(; metrics...)

Note metrics of a training, as often as you like: one line a call, with the time, in `metrics.jsonl` in the output folder
(`YARD_OUTPUT`, else `yard-output`). [`save`](@ref) puts the last of each into the bundle.

```julia
log_metrics(mae = 12.1, epoch = 3)
```
"""
function log_metrics(; metrics...)
    checked = check_metrics(metrics)
    mkpath(output_folder())
    open(joinpath(output_folder(), METRICS_FILE), "a") do io
        println(io, json(merge(Dict("time" => time()), checked)))
    end
    return nothing
end

"""
    parameter(name, otherwise = nothing)

A parameter of this training: what `[parameters]` of `yard.toml` says, or what `yard train --set` gave it; run by hand,
`otherwise`. Throws [`YardError`](@ref) where there is neither.

```julia
trees = parameter("trees", 40)
```
"""
function parameter(name::AbstractString, otherwise = nothing)
    text = get(ENV, "YARD_PARAMETERS", "")
    found = isempty(text) ? otherwise : get(parse_json(text), name, otherwise)
    found === nothing && throw(YardError("There is no parameter $name.", "Name it in [parameters] of yard.toml."))
    return found
end

"The metrics as Float64 by name; throws `YardError` for one that is not a finite number."
function check_metrics(metrics)
    checked = Dict{String,Float64}()
    for (name, value) in pairs(metrics)
        is_number = value isa Real && isfinite(value)
        is_number || throw(YardError("The metric $name is $(repr(value)), not a finite number."))
        checked[string(name)] = value
    end
    return checked
end

"The last value of each metric noted in a folder."
function last_logged(folder::AbstractString)
    found = Dict{String,Float64}()
    path = joinpath(folder, METRICS_FILE)
    for line in (isfile(path) ? eachline(path) : ())
        merge!(found, parse_json(line))
    end
    delete!(found, "time")
    return found
end
