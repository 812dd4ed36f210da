# Rows of any kind as named columns, and columns as the types a signature has.

"""
    columns_of(rows) -> Vector{Pair{String,AbstractVector}}

The columns of a NamedTuple of vectors, a DataFrame (anything whose properties are its columns), a Dict of vectors (in
the order of their names), a vector of NamedTuples or Dicts, or one such row. A key that a row does not have is missing
there.
"""
function columns_of(rows)
    columns = named_columns(rows)
    hint = "Give a NamedTuple of vectors, as (x = [1.0, 2.0],)."
    isempty(columns) && throw(YardError("The rows have no columns.", hint))
    lengths = unique(length(values) for (_, values) in columns)
    length(lengths) == 1 || throw(YardError("The columns are not of one length: $(join(lengths, ", ")).", hint))
    return columns
end

function named_columns(rows::Union{NamedTuple,AbstractDict})
    names = rows isa AbstractDict ? sort!(collect(keys(rows)); by = string) : collect(keys(rows))
    single = !any(name -> rows[name] isa AbstractVector, names)
    return Pair{String,AbstractVector}[string(name) => as_values(name, rows[name], single) for name in names]
end

function as_values(name, value, single::Bool)
    value isa AbstractVector && return value
    single && return [value]
    hint = "Give a vector with a value for each row."
    throw(YardError("The column $name is a $(typeof(value)), not a vector.", hint))
end

function named_columns(rows::AbstractVector)
    if !all(row -> row isa Union{NamedTuple,AbstractDict}, rows)
        hint = "Give a vector of NamedTuples or Dicts, or a NamedTuple of vectors."
        throw(YardError("The rows are a $(typeof(rows)).", hint))
    end
    names = Any[]
    for row in rows, name in (row isa NamedTuple ? keys(row) : sort!(collect(keys(row)); by = string))
        name in names || push!(names, name)
    end
    return Pair{String,AbstractVector}[string(name) => [get(row, name, missing) for row in rows] for name in names]
end

named_columns(rows::AbstractArray) =
    throw(YardError("The rows are a $(typeof(rows)): their columns have no names.", "Give a NamedTuple of vectors."))

function named_columns(rows)
    named(name) = string(name) => as_values(name, getproperty(rows, name), false)
    return Pair{String,AbstractVector}[named(name) for name in propertynames(rows)]
end

"The type a column has in a signature: float64, int64, bool or string."
function type_of(name::String, values::AbstractVector)
    T = all(ismissing, values) ? Missing : element_type(values)
    T <: Bool && return "bool"
    T <: Integer && return "int64"
    T <: Real && return "float64"
    T <: Union{AbstractString,Symbol,Char} && return "string"
    T <: Missing && throw(YardError(
        "The column $name has no value at all, so its type is unknown.",
        "Give an example with at least one value in each column.",
    ))
    throw(YardError("The column $name holds values of the type $T.", "Values are numbers, Bool, strings or missing."))
end

"The values as the vector type that the model is given by a worker."
function typed_column(name::String, type::String, may_be_missing::Bool, values::AbstractVector)
    T = ELEMENT_TYPES[type]
    convert_one = T === String ? string : T
    try
        plain = Union{Missing,T}[ismissing(v) ? missing : convert_one(v) for v in values]
        return as_column(column_type(type, may_be_missing), plain)
    catch error
        error isa InexactError || rethrow()
        throw(YardError("The column $name has a whole number beyond 64 bits.", "Give it as Float64."))
    end
end
