# Writing a bundle (contract/bundle.md): the model, its source, its environment, an example and the answers to it.

const BUNDLE_FILE = "yardbundle.toml"
const MODEL_FILE = "model.jls"
const MOST_ROWS = 100                   # of the example that are kept
const RESERVED = (BUNDLE_FILE, MODEL_FILE, "example.csv", "expected.csv", "environment")
const TOLERANCE = 1e-6

"""
    save(model, folder = YARD_OUTPUT or "yard-output"; example, source, …) -> String

Write a model as a bundle: how a training script ends. Returns the folder.

- `example`: rows that the model predicts on: a NamedTuple of vectors, a DataFrame, or a vector of NamedTuples or Dicts. The
  first 100 are kept, and answered again at the check.
- `source`: the file, or files in their order, that define the model's type and `predict(model, columns)`. They are
  included, in `Main`, before the model is read.
- `files`: further files and folders to carry along, as those that the source includes itself.
- `metrics`: numbers, as `(mae = 12.1,)` or a Dict. In the default folder those of [`log_metrics`](@ref) are added.
- `description`: a sentence about this version.
- `missing`: names of the columns that may be missing values though the example is not, or `true` for all.
- `levels`: the only strings allowed in a column, as `(carrier = ["AA", "UA"],)`.
- `lineage`: where it comes from, as `(code = "4f1c2e",)`.
- `method`, `in_module`: the function that predicts, if it is not called `predict`, and the module it is in, if that is
  neither `Main` nor the one that defines the model's type.

Throws [`YardError`](@ref) if the model cannot be serialised or fails on its example; nothing is written then.

```julia
save(model; example = rows, source = "model.jl", metrics = (mae = 12.1,))
```
"""
function save(model, folder::Union{Nothing,AbstractString} = nothing; metrics = (;), told...)
    folder === nothing || return write_bundle(model, folder; metrics = metrics, told...)
    merged = merge(last_logged(output_folder()), check_metrics(metrics))
    return write_bundle(model, output_folder(); metrics = merged, told...)
end

function write_bundle(
    model, folder; example, source = String[], files = String[], metrics = (;), description = "",
    missing = false, levels = (;), lineage = (;), method = "predict", in_module = "",
)
    columns = infer_columns(example, missing, levels)
    sources = source_files(source)
    environment, packages = captured_environment()
    carried = merge(Dict(sources), carried_files(files, sources), environment)
    data, answers = answered_example(model, columns, method, in_module, isempty(sources))
    options = ["source" => join(first.(sources), ';'), "predict" => method == "predict" ? "" : method, "module" => in_module]
    tables = [
        "options" => filter(pair -> !isempty(last(pair)), options),
        "packages" => packages,
        "metrics" => check_metrics(metrics),
        "lineage" => [string(key) => string(value) for (key, value) in pairs(lineage)],
    ]
    make_room(folder)
    for (path, file) in carried
        mkpath(dirname(joinpath(folder, path)))
        cp(file, joinpath(folder, path))
    end
    write(joinpath(folder, MODEL_FILE), data)
    write_csv(joinpath(folder, "example.csv"), [c.name => first_rows(c.values) for c in columns])
    write_csv(joinpath(folder, "expected.csv"), answers)
    open(io -> describe(io, description, tables, columns, answers), joinpath(folder, BUNDLE_FILE), "w")
    return folder
end

first_rows(values::Vector) = values[1:min(MOST_ROWS, length(values))]

function describe(io::IO, description, tables, columns, answers)
    write_pairs(io, ["format" => 1, "language" => "julia", "language_version" => string(VERSION), "entry" => MODEL_FILE,
                     "description" => description])
    foreach(table -> write_table(io, table...), tables)
    for column in columns
        println(io, "\n[[signature.inputs]]")
        write_pairs(io, described(column))
    end
    for (name, values) in answers
        println(io, "\n[[signature.outputs]]")
        write_pairs(io, ["name" => name, "type" => type_of(name, values)])
    end
end

# ---- files ----

"Path in the bundle to file, for each source file; paths are relative to the first one's folder."
function source_files(source)
    files = source isa AbstractString ? [source] : collect(source)
    isempty(files) && return Pair{String,String}[]
    root = dirname(abspath(first(files)))
    return [inside(root, file) => check_file(file) for file in files]
end

function carried_files(files, sources)
    given = files isa AbstractString ? [files] : collect(files)
    root = isempty(sources) ? pwd() : dirname(abspath(last(first(sources))))
    found = Dict{String,String}()
    for file in given
        parts = isdir(file) ? [joinpath(file, name) for name in files_under(file)] : [check_file(file)]
        foreach(part -> found[inside(root, part)] = part, parts)
    end
    return found
end

function check_file(file::AbstractString)
    isfile(file) || throw(YardError("There is no file $file.", "Paths are relative to $(pwd())."))
    return String(file)
end

function inside(root::String, file::AbstractString)
    path = replace(relpath(abspath(file), root), '\\' => '/')
    if startswith(path, "../") || ';' in path
        throw(YardError("$file is not below $root, or has a ';' in its name.", "Put the model's files into one folder."))
    end
    top = first(split(path, '/'))
    top in RESERVED && throw(YardError("$file has a name that the bundle itself needs.", "Rename it."))
    return path
end

"An empty folder to write to; an earlier bundle in it gives way, anything else does not."
function make_room(folder::AbstractString)
    isfile(folder) && throw(YardError("$folder is a file; a bundle is written to a folder.", "Name another folder."))
    there = isdir(folder) ? filter(!=(METRICS_FILE), readdir(folder)) : String[]
    if !isempty(there) && !(BUNDLE_FILE in there)
        others = join(there, ", ")
        throw(YardError("The folder $folder holds other things than a bundle: $others.", "Name an empty or a new folder."))
    end
    foreach(name -> rm(joinpath(folder, name); recursive = true), there)
    mkpath(folder)
end

# ---- the model and its answers ----

"""
The serialised model, and what it answers to the example once read back: the worker sees no other. The answers of
the model as it is must be the same.
"""
function answered_example(model, columns, method, in_module, without_source::Bool)
    Given = columns_type([c.name for c in columns], [typeof(c.values) for c in columns])
    given = Given(Tuple(first_rows(c.values) for c in columns))
    predict_with = checked(() -> find_predict(method, in_module, typeof(model), typeof(given)))
    without_source && refuse_without_source(model, predict_with)
    classes = find_method("classes", in_module, typeof(model))
    data, restored = serialized(model)
    rows = length(given[1])
    answers, own = map((restored, model)) do asked
        checked(() -> ask(predict_with, classes, asked, given, rows))
    end
    same_answers(answers, own) || throw(YardError(
        "The model answers its example differently once it has been serialised and read back.",
        "It keeps something outside itself, or answers by chance.",
    ))
    return data, answers
end

"The model's bytes, and what they read back as."
function serialized(model)
    try
        out = IOBuffer()
        serialize(out, model)
        data = take!(out)
        return data, deserialize(IOBuffer(data))
    catch error
        throw(YardError("The model cannot be serialised and read back: $(sprint(showerror, error))"))
    end
end

"Runs a step of answering the example; what goes wrong becomes a `YardError` with the words of the error."
function checked(step)
    try
        return step()
    catch error
        error isa AnswerError && throw(YardError(error.message))
        said = sprint(showerror, error)
        throw(YardError("The model fails on its example: $said", "It is called as predict(model, columns)."))
    end
end

function refuse_without_source(model, predict_with)
    in_session(parentmodule(typeof(model))) || in_session(parentmodule(predict_with)) || return
    throw(YardError(
        "The type $(typeof(model)), or its method of $predict_with, is defined in this session, and the worker has neither.",
        "Put them into a file and give it: source = \"model.jl\".",
    ))
end

"Whether a module is Main or inside it; Base and Core call Main their parent too."
function in_session(place::Module)
    place === Main && return true
    place in (Base, Core) || parentmodule(place) === place ? false : in_session(parentmodule(place))
end

function same_answers(a, b)
    first.(a) == first.(b) || return false
    near(x, y) = x isa Float64 && y isa Float64 && isapprox(x, y; rtol = TOLERANCE, atol = TOLERANCE)
    same(x, y) = isequal(x, y) || near(x, y)
    return all(all(same(x, y) for (x, y) in zip(last(p), last(q))) for (p, q) in zip(a, b))
end
