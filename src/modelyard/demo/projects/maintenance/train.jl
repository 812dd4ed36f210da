# Maintenance, in Julia: minutes on the ground with engines running, which count towards their next inspection.
#
# Reads $YARD_DATA/flights.csv, and publishes two versions to the yard of YARD_URL and YARD_TOKEN.

using Modelyard
using Printf
using Statistics

include("model.jl")

"A CSV file without quotes as a NamedTuple of vectors: numbers where all cells are numbers or missing, else strings."
function read_columns(path)
    header, lines = Iterators.peel(eachline(path))
    cells = [split(line, ',') for line in lines]
    names = Tuple(Symbol.(split(header, ',')))
    return NamedTuple{names}(ntuple(j -> to_column([row[j] for row in cells]), length(names)))
end

function to_column(cells)
    numbers = [isempty(cell) ? missing : tryparse(Float64, cell) for cell in cells]
    return any(isnothing, numbers) ? String.(cells) : identity.(numbers)
end

rows(columns, which) = map(values -> values[which], columns)

function say(words...)
    println(words...)
    flush(stdout)
end

function publish_version(model, newer, example, description)
    off = mean(abs.(predict(model, newer) .- newer.taxi_time))
    say(description, @sprintf(": %.1f min off on the newest fifth", off))
    version = publish(
        model, "maintenance/taxi-time";
        example = example, metrics = Dict("mae" => off), source = "model.jl",
        missing = ["built", "seats"], description = description,
    )
    say("version ", version["version"], " is published and ", version["state"])
end

function main()
    flights = read_columns(joinpath(ENV["YARD_DATA"], "flights.csv"))
    count = length(flights.taxi_time)
    say("learning from ", count, " flights")
    # The newest fifth is not learned from: how far off the models are is measured on it.
    cut = floor(Int, 0.8count)
    older, newer = rows(flights, 1:cut), rows(flights, cut+1:count)
    inputs = NamedTuple{filter(!=(:taxi_time), keys(older))}(older)
    example = rows(inputs, 1:20)

    publish_version(fit_ridge(inputs, older.taxi_time), newer, example, "a ridge regression on airport and hour")
    boosted = fit_boosted(inputs, older.taxi_time; trees = 80)
    publish_version(boosted, newer, example, "80 boosted trees")
end

cd(main, @__DIR__)
