# The models of the package's tests, as a publisher's source file has them.

struct Line
    slope::Float64
end

predict(m::Line, columns) = m.slope .* columns.distance .+ length.(columns.carrier)

"Answers one row whatever it is asked."
struct Short end

predict(::Short, columns) = [1.0]

"Answers by chance."
struct Chance end

predict(::Chance, columns) = rand(length(columns.distance))

"Cannot be serialised while its task runs."
struct Running
    task::Task
end

predict(::Running, columns) = zeros(length(columns.distance))

"Answers a matrix of probabilities without classes."
struct Unnamed end

predict(::Unnamed, columns) = (label = ["a" for _ in columns.distance], probabilities = ones(length(columns.distance), 1))
