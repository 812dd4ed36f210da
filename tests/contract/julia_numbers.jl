# A model that says its numbers: a straight line of x, another slope at night, and one that says the wrong ones.
struct Night
    base::Float64
    slopes::Dict{String,Float64}
    told::Float64
end

predict(m::Night, columns) = m.base .+ [m.slopes[time] for time in columns.time] .* columns.x

numbers(m::Night) = [
    (frame = "input", name = "x", input = "x"),
    (frame = "table", name = "slope", input = "time", other = "refuse",
        level = collect(keys(m.slopes)), number = collect(values(m.slopes))),
    (frame = "apply", name = "rise", op = "multiply", of = ("slope", "x")),
    (frame = "sum", name = "y", value = ["", "rise"], weight = [m.told, 1.0]),
    (frame = "answer", task = "regression", value = "y", output = "prediction"),
]

struct Silent end

predict(::Silent, columns) = 2 .* columns.x
