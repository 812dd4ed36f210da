# Datasets: pushed, pulled and listed.

"""
    push_data(data, ref; why = "", marks = ()) -> Dict

Keep rows as a version of the dataset `ref` (`department/name`); the same rows again are the same version, which is returned.

- `data`: rows of any kind that [`save`](@ref) takes as an example, dates and times too, or the path of a `.csv` or `.parquet` file.
- `marks`: columns to keep from people, as `(pilot = "personal", key = "secret")`.

```julia
push_data((km = [1400.0], carrier = ["AA"]), "operations/flights"; why = "January")
```
"""
function push_data(data, ref::AbstractString; why = "", marks = ())
    path = "$(dataset_path(ref))/versions"
    query = Pair{String,String}["why" => why]
    append!(query, ["mark" => "$name:$mark" for (name, mark) in pairs(marks)])
    data isa AbstractString && return upload(path, String(data), file_type(data); query = query)
    return mktempdir() do folder
        file = joinpath(folder, "data.csv")
        write_csv(file, [name => plain_column(name, values) for (name, values) in columns_of(data)])
        upload(path, file, "text/csv"; query = query)
    end
end

function file_type(path::AbstractString)
    ending = lowercase(last(splitext(path)))
    ending in (".csv", ".txt") && return "text/csv"
    ending == ".parquet" && return "application/vnd.apache.parquet"
    throw(YardError("The file $path has no ending that says its form.", "Name it .csv or .parquet."))
end

function plain_column(name::String, values::AbstractVector)
    texts = [v isa DateTime ? string(v, "Z") : v isa Date ? string(v) : v for v in values]
    all(ismissing, texts) && return fill("", length(texts))
    return typed_column(name, type_of(name, texts), any(ismissing, texts), texts)
end

"""
    pull_data(ref) -> NamedTuple

The rows of a dataset (`department/name` for its newest version, or `department/name/7`) as a NamedTuple of vectors, without the
columns that are marked and that you have no clearance for.

```julia
rows = pull_data("operations/flights")
length(rows.km)
```
"""
function pull_data(ref::AbstractString)
    at = parse_reference(ref)
    path = dataset_path(at.model)
    number = at.version > 0 ? at.version : ask_yard("GET", path)["latest"]
    version = ask_yard("GET", "$path/versions/$number")
    types = Dict(column["name"] => column["type"] for column in version["columns"])
    text = ask_text("$path/versions/$number/content"; query = ["form" => "csv", "formulas" => "kept"])
    lines = read_csv(text)
    names = first.(lines[1])
    columns = [data_column(types[name], [line[i] for line in lines[2:end]]) for (i, name) in enumerate(names)]
    return NamedTuple{Tuple(Symbol.(names))}(Tuple(columns))
end

"A field is its text and whether it stood in quotes; without quotes an empty one is missing."
function data_column(type::String, fields)
    values = [isempty(text) && !quoted ? missing : data_value(type, text) for (text, quoted) in fields]
    return identity.(values)                                    # as narrow an element type as the values have
end

function data_value(type::String, text::String)
    type == "bool" && return text == "true"
    type == "int64" && return parse(Int64, text)
    type == "float64" && return parse(Float64, text)
    type == "date" && return Date(text)
    type == "datetime" && return DateTime(first(rstrip(text, 'Z'), 23))
    return text
end

"The lines of a CSV text as fields (text, whether it stood in quotes)."
function read_csv(text::String)
    lines, line, field = Vector{Tuple{String,Bool}}[], Tuple{String,Bool}[], IOBuffer()
    quoted, inside, at = false, false, firstindex(text)
    finish() = (push!(line, (String(take!(field)), quoted)); quoted = false)
    while at <= lastindex(text)
        c, at = text[at], nextind(text, at)
        if inside && c == '"' && at <= lastindex(text) && text[at] == '"'
            write(field, '"')
            at = nextind(text, at)
        elseif c == '"'
            inside, quoted = !inside, true
        elseif !inside && c == ','
            finish()
        elseif !inside && c == '\n'
            finish()
            push!(lines, line)
            line = Tuple{String,Bool}[]
        else
            write(field, c)
        end
    end
    return lines
end

"""
    datasets() -> Vector

All datasets that you may see, a Dict each: `"dataset"`, `"latest"`, `"rows"`, `"marks"` …

```julia
[d["dataset"] => d["rows"] for d in datasets()]
```
"""
datasets() = ask_yard("GET", "/api/v1/datasets")

function dataset_path(ref::AbstractString)
    at = parse_reference(ref)
    isempty(at.alias) && at.version == 0 && return "/api/v1/datasets/$(at.model)"
    throw(YardError("$ref is a version; here a dataset is meant.", "Write $(at.model)."))
end
