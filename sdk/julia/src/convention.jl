# The convention between the yard and a Julia model: which columns a model is given, which function is
# called, and how what it returns is read.
#
# This file stands twice, byte for byte the same (tests/contract/test_julia_sdk.py holds it to that): in
# runtimes/julia, where the worker answers, and in sdk/julia/src, where expected.csv is computed when a model
# is published. The runtime's folder must be whole without the SDK, and the package without the yard.

"""
    AnswerError(message)

What the model returned cannot be read as predictions, or there is no function to call.
"""
struct AnswerError <: Exception
    message::String
end

Base.showerror(io::IO, e::AnswerError) = print(io, e.message)

# ---- what a model is given ----

const ELEMENT_TYPES = Dict("float64" => Float64, "int64" => Int64, "bool" => Bool, "string" => String)

"The vector type of a signature's column: it depends on the signature alone, never on the rows."
function column_type(type::AbstractString, may_be_missing::Bool)
    T = ELEMENT_TYPES[type]
    return may_be_missing ? Vector{Union{Missing,T}} : Vector{T}
end

"""
    as_column(T, values) -> T

The values as the vector type of their column. NaN becomes `missing` where the column may be missing values,
and stays NaN where not.
"""
as_column(::Type{T}, values::AbstractVector) where {T<:Vector} = convert(T, values)

function as_column(::Type{Vector{Union{Missing,Float64}}}, values::AbstractVector)
    return Union{Missing,Float64}[ismissing(v) || isnan(v) ? missing : v for v in values]
end

"The type of the NamedTuple of vectors that a model is given."
columns_type(names, types) = NamedTuple{Tuple(Symbol.(names)),Tuple{types...}}

# ---- which function is called ----

"The module `path` (as \"Main.Fleet\" or \"Fleet\"), seen from Main."
function find_module(path::AbstractString)
    found = Main
    for name in split(path, '.')
        name in ("Main", "") && continue
        isdefined(found, Symbol(name)) || throw(AnswerError("There is no module $path."))
        found = getfield(found, Symbol(name))
    end
    return found
end

"""
    find_method(name, path, arguments...) -> Function or nothing

The function `name` that takes arguments of these types: in the module `path` if one is given, else in Main, else
in the module that defines the model's type (the first argument's).
"""
function find_method(name::AbstractString, path::AbstractString, model::Type, others::Type...)
    places = isempty(path) ? [Main, parentmodule(model)] : [find_module(path)]
    for place in places
        isdefined(place, Symbol(name)) || continue
        found = getfield(place, Symbol(name))
        hasmethod(found, Tuple{model,others...}) && return found
    end
    return nothing
end

"As `find_method`, for the function that predicts; throws `AnswerError` where there is none."
function find_predict(name::AbstractString, path::AbstractString, model::Type, columns::Type)
    found = find_method(name, path, model, columns)
    found === nothing || return found
    place = isempty(path) ? "Main or $(parentmodule(model))" : path
    missing_one = "$name(model::$model, columns) in $place"
    throw(AnswerError("There is no method $missing_one. Define it in the model's source file."))
end

"""
    ask(predict, classes, model, columns, rows) -> Vector{Pair{String,Vector}}

What the model answers to the columns, as `read_answer` reads it. The functions may be newer than this code, hence
`invokelatest`. Throws whatever the model throws, and `AnswerError`.
"""
function ask(predict, classes, model, columns, rows::Int)
    answer = Base.invokelatest(predict, model, columns)
    return read_answer(answer, rows, () -> classes_of(classes, model))
end

function classes_of(classes, model)
    classes === nothing || return Base.invokelatest(classes, model)
    throw(AnswerError("The model answers a matrix of probabilities, and there is no method classes(model)."))
end

# ---- how its answer is read ----

"""
    read_answer(answer, rows, classes) -> Vector{Pair{String,Vector}}

The columns of an `answer` frame out of what a model returned:

| returned | read as |
|---|---|
| vector of floating-point numbers | `prediction` |
| vector of strings, symbols, whole numbers or Bool | `label` |
| NamedTuple with `label` and perhaps `probabilities` | `label`, then `probability:CLASS` for each class |
| NamedTuple of number vectors | several outputs by their names (one alone: `prediction`) |
| matrix of numbers, a row for each row | `output_1`, `output_2` … (one column alone: `prediction`) |

`probabilities` is a NamedTuple or Dict of vectors by class, or a matrix with a column for each of `classes()`.
Throws `AnswerError` for anything else, and where a column does not have `rows` values.
"""
function read_answer(@nospecialize(answer), rows::Int, @nospecialize(classes))
    columns = Pair{String,Vector}[]
    add_answer!(columns, answer, classes)
    isempty(columns) && throw(AnswerError("The model's predict returned no columns."))
    seen = Set{String}()
    for (name, values) in columns
        if length(values) != rows
            throw(AnswerError("The model's predict returned $(length(values)) values of $name for $rows rows."))
        end
        name in seen && throw(AnswerError("The model's predict returned two columns of the name $name."))
        push!(seen, name)
    end
    return columns
end

function add_answer!(columns, values::AbstractVector, classes)
    T = element_type(values)
    is_number = T <: Real && !(T <: Integer)
    push!(columns, is_number ? "prediction" => numbers(values) : "label" => labels(T, values))
end

function add_answer!(columns, matrix::AbstractMatrix, classes)
    alone = size(matrix, 2) == 1
    for i in 1:size(matrix, 2)
        push!(columns, (alone ? "prediction" : "output_$i") => numbers(matrix[:, i]))
    end
end

function add_answer!(columns, answer::NamedTuple, classes)
    haskey(answer, :label) && return add_classes!(columns, answer, classes)
    for name in keys(answer)
        push!(columns, (length(answer) == 1 ? "prediction" : string(name)) => numbers(answer[name]))
    end
end

function add_answer!(columns, answer, classes)
    wanted = "return a vector, a matrix or a NamedTuple of vectors"
    throw(AnswerError("The model's predict returned a $(typeof(answer)): $wanted."))
end

function add_classes!(columns, answer::NamedTuple, classes)
    for name in keys(answer)
        name in (:label, :probabilities) && continue
        rule = "Beside `label` there may be `probabilities` alone"
        throw(AnswerError("$rule; the model's predict returned `$name` too."))
    end
    answer.label isa AbstractVector || throw(AnswerError("`label` is not a vector."))
    push!(columns, "label" => labels(element_type(answer.label), answer.label))
    haskey(answer, :probabilities) && add_probabilities!(columns, answer.probabilities, classes)
end

function add_probabilities!(columns, given::Union{NamedTuple,AbstractDict}, classes)
    in_order = given isa NamedTuple ? keys(given) : sort!(collect(keys(given)); by = string)
    for class in in_order
        push!(columns, "probability:$class" => numbers(given[class]))
    end
end

function add_probabilities!(columns, given::AbstractMatrix, classes)
    named = collect(classes())
    if length(named) != size(given, 2)
        found = "$(size(given, 2)) columns, classes(model) has $(length(named))"
        throw(AnswerError("The matrix of probabilities has $found."))
    end
    for (i, class) in enumerate(named)
        push!(columns, "probability:$class" => numbers(given[:, i]))
    end
end

function add_probabilities!(columns, given, classes)
    throw(AnswerError("`probabilities` is a $(typeof(given)): give a NamedTuple, a Dict or a matrix."))
end

"The type of the values that are there; found by looking at them where the vector does not say."
function element_type(values::AbstractVector)
    T = nonmissingtype(eltype(values))
    isconcretetype(T) && return T
    T = nonmissingtype(eltype(map(identity, values)))
    return T === Union{} ? Float64 : T              # no value is there at all
end

function numbers(values)
    if !(values isa AbstractVector && element_type(values) <: Real)
        throw(AnswerError("The model's predict returned a $(typeof(values)) where a vector of numbers is needed."))
    end
    return Float64[ismissing(v) ? NaN : v for v in values]
end

labels(::Type{<:Bool}, values) = typed(Bool, identity, values)
labels(::Type{<:Integer}, values) = typed(Int64, identity, values)
labels(::Type{<:Union{AbstractString,Symbol,Char}}, values) = typed(String, string, values)
labels(T::Type, values) =
    throw(AnswerError("The model's predict returned values of the type $T: return numbers, strings, symbols or Bool."))

function typed(::Type{T}, convert_one, values) where {T}
    any(ismissing, values) || return T[convert_one(v) for v in values]
    return Union{Missing,T}[ismissing(v) ? missing : convert_one(v) for v in values]
end
