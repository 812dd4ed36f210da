# The models of the runtime's tests: a publisher's source file, included before model.jls is read.

struct Line
    slope::Float64
    intercept::Float64
end

predict(m::Line, columns) = m.slope .* columns.x .+ m.intercept
forecast(m::Line, columns) = -predict(m, columns)

"Says what it was given: the type of its columns, and their values."
struct Echo end

predict(::Echo, c) = (label = [join((typeof(v) for v in c), "|") * "=" * join((repr(v[i]) for v in c), "|") for i in eachindex(c[1])],)

"Answers the sum of as many columns as there are."
struct Wide end

predict(::Wide, c) = reduce(+, values(c))

struct Quits end

predict(::Quits, c) = exit(7)

struct Busy end

function predict(::Busy, c)
    println("thinking")
    flush(stdout)
    while true
    end
end

module Fleet

struct Ship
    draught::Float64
end

predict(m::Ship, columns) = m.draught .* columns.x

end

# ---- one model that answers in whatever way its first row asks for ----

struct Rude <: Exception end

Base.showerror(io::IO, ::Rude) = error("I say nothing")

struct Switch end

classes(::Switch) = ["late", "time"]

function overflow(n)
    return 1 + overflow(n + 1)
end

function noisy(x)
    print("YRD1 garbage\0\xff")
    println(stderr, "a word on stderr")
    @warn "a warning"
    return x
end

const WAYS = Dict{String,Function}(
    "numbers" => x -> 2 .* x,
    "float32" => x -> Float32.(x),
    "rationals" => x -> [1 // 4 for _ in x],
    "any" => x -> Any[v > 0 ? v : missing for v in x],
    "all missing" => x -> [missing for _ in x],
    "special" => x -> [NaN, Inf, -Inf][1:length(x)],
    "view" => x -> view(vcat(x, x), 1:length(x)),
    "strings" => x -> ["grün €" for _ in x],
    "symbols" => x -> [:late for _ in x],
    "substrings" => x -> [SubString("on time", 4) for _ in x],
    "ints" => x -> Int32.(x),
    "bools" => x -> x .> 1,
    "some labels" => x -> [v > 1 ? missing : "yes" for v in x],
    "label alone" => x -> (label = ["a" for _ in x],),
    "named" => x -> (label = fill("late", length(x)), probabilities = (late = x ./ 4, time = 1 .- x ./ 4)),
    "dict" => x -> (label = x .> 1, probabilities = Dict(true => x ./ 4, false => 1 .- x ./ 4)),
    "matrix of classes" => x -> (label = fill("late", length(x)), probabilities = hcat(x ./ 4, 1 .- x ./ 4)),
    "outputs" => x -> (low = x .- 1, high = [Int(v) for v in x]),
    "one output" => x -> (only = x,),
    "matrix" => x -> hcat(x, 2 .* x),
    "thin matrix" => x -> reshape(copy(x), :, 1),
    "noisy" => noisy,
    # and what cannot be answered
    "throw" => x -> error("no \t wind\n"),
    "rude" => x -> throw(Rude()),
    "overflow" => x -> fill(overflow(1), length(x)),
    "odd text" => x -> error("a\0b\xff"),
    "long words" => x -> error("x"^100_000),
    "short" => x -> [1.0],
    "short probabilities" => x -> (label = fill("a", length(x)), probabilities = (a = [1.0],)),
    "nothing" => x -> nothing,
    "scalar" => x -> 1.0,
    "complex" => x -> Complex.(x),
    "vectors" => x -> [[v] for v in x],
    "no columns" => x -> NamedTuple(),
    "strings as outputs" => x -> (low = x, high = ["a" for _ in x]),
    "beside a label" => x -> (label = fill("a", length(x)), chance = x),
    "scalar label" => x -> (label = "a",),
    "odd probabilities" => x -> (label = fill("a", length(x)), probabilities = 0.5),
    "three classes" => x -> (label = fill("a", length(x)), probabilities = hcat(x, x, x)),
    "twice" => x -> (label = fill("1", length(x)), probabilities = Dict("1" => x, 1 => x)),
    "nul" => x -> ["a\0b" for _ in x],
    "not utf8" => x -> ["C\xe9" for _ in x],
    "too large" => x -> fill(typemax(UInt64), length(x)),
)

predict(::Switch, columns) = WAYS[columns.way[1]](columns.x)
