# The signature's input columns, inferred from an example.

const MOST_CATEGORIES = 50
const LONGEST_CATEGORY = 200            # characters

"""
An input column: its entries in `yardbundle.toml`, and the example's values as the model is given them.
"""
struct InputColumn
    name::String
    type::String
    missing::Bool
    levels::Union{Nothing,Vector{String}}
    values::Vector
end

"""
    infer_columns(example, may_be_missing, levels) -> Vector{InputColumn}

- `may_be_missing`: names of the columns that may be missing values though the example is not, or `true` for all.
- `levels`: column to the only strings allowed there, as `(carrier = ["AA", "UA"],)`.
"""
function infer_columns(example, may_be_missing, levels)
    columns = columns_of(example)
    isempty(last(first(columns))) && throw(YardError("The example has no rows.", "Give at least one row."))
    names = first.(columns)
    named = may_be_missing isa Bool ? (may_be_missing ? names : String[]) : [string(n) for n in may_be_missing]
    only_known("missing", named, names)
    closed = Dict(string(name) => [string(level) for level in given] for (name, given) in pairs(levels))
    only_known("levels", keys(closed), names)
    return [input_column(name, values, name in named, get(closed, name, nothing)) for (name, values) in columns]
end

function only_known(keyword::String, named, names)
    unknown = setdiff(named, names)
    isempty(unknown) && return
    said = "`$keyword` names $(join(unknown, ", ")), which the example does not have."
    throw(YardError(said, "Its columns: $(join(names, ", "))."))
end

function input_column(name::String, values::AbstractVector, named::Bool, levels)
    type = type_of(name, values)
    gaps = named || any(v -> ismissing(v) || (v isa AbstractFloat && isnan(v)), values)
    column = InputColumn(name, type, gaps, levels, typed_column(name, type, gaps, values))
    levels === nothing && return column
    type == "string" || throw(YardError("The column $name has levels and is $type.", "Only strings have levels."))
    others = setdiff(there(column), levels)
    isempty(others) && return column
    said = "The column $name has the value $(repr(first(others))), which is none of its levels."
    throw(YardError(said, "Add it to `levels`."))
end

"The values that are not missing."
there(column::InputColumn) = collect(skipmissing(column.values))

"The column's lines in `yardbundle.toml`, in order."
function described(column::InputColumn)
    low, high = extremes(column)
    return [
        "name" => column.name, "type" => column.type, "missing" => column.missing, "levels" => column.levels,
        "categories" => categories(column), "low" => low, "high" => high, "example" => example_text(there(column)),
    ]
end

function extremes(column::InputColumn)
    column.type in ("float64", "int64") || return nothing, nothing
    numbers = filter(isfinite, there(column))
    return isempty(numbers) ? (nothing, nothing) : (Float64(minimum(numbers)), Float64(maximum(numbers)))
end

"The strings seen, where they are few and short enough to be categories and not free text."
function categories(column::InputColumn)
    column.type == "string" && column.levels === nothing || return nothing
    found = sort!(unique(there(column)))
    is_text = isempty(found) || length(found) > MOST_CATEGORIES || any(text -> length(text) > LONGEST_CATEGORY, found)
    return is_text ? nothing : found
end

function example_text(values::AbstractVector)
    isempty(values) && return nothing
    value = first(values)
    return value isa String ? first(value, LONGEST_CATEGORY) : string(value)
end

# ---- example.csv and expected.csv ----

csv_field(::Missing) = ""
csv_field(value::Union{Bool,Int64}) = string(value)
csv_field(value::String) = '"' * replace(value, '"' => "\"\"") * '"'
csv_field(value::Float64) = isnan(value) ? "NaN" : isinf(value) ? (value > 0 ? "Inf" : "-Inf") : string(value)

"Writes columns (name => values) as contract/bundle.md has them."
function write_csv(path::AbstractString, columns)
    open(path, "w") do io
        println(io, join((csv_field(name) for (name, _) in columns), ','))
        for row in eachindex(last(first(columns)))
            println(io, join((csv_field(values[row]) for (_, values) in columns), ','))
        end
    end
end
