# Loading a model out of its bundle, and asking it.

"""
    LoadFailed(message)

The model cannot be loaded; the message says why.
"""
struct LoadFailed <: Exception
    message::String
end

Base.showerror(io::IO, e::LoadFailed) = print(io, e.message)

"""
A loaded model.

- `names`: its inputs, in the signature's order, and `columns`: the NamedTuple type they are given as.
- `predict`, `classes`: the functions found by the convention; `classes` is `nothing` where there is none.
"""
struct Model
    value::Any
    predict::Any
    classes::Any
    names::Vector{String}
    columns::Type
end

"""
    load_model(frame) -> Model

The model that a `load` frame describes. The source files are included into Main first, since a struct must
be defined before values of it are deserialised; whatever they define is newer than this code, hence
`invokelatest`. Throws `LoadFailed`.
"""
function load_model(frame::Frame)
    bundle, options = field(frame, "bundle"), load_options(frame)
    use_environment(bundle)
    for source in split(get(options, "source", ""), ';'; keepempty = false)
        include_source(bundle, source)
    end
    return Base.invokelatest(open_model, frame, joinpath(bundle, field(frame, "entry")), options)
end

load_options(frame::Frame) =
    Dict(parts[2] => parts[3] for parts in frame.fields if parts[1] == "option" && length(parts) == 3)

"Packages come from the bundle's own environment; `packages/` has what the source may import of the SDK."
function use_environment(bundle::String)
    environment = joinpath(bundle, "environment")
    isfile(joinpath(environment, "Project.toml")) && pushfirst!(LOAD_PATH, environment)
    pushfirst!(LOAD_PATH, joinpath(@__DIR__, "packages"))
    # Packages may have to be precompiled, into the first depot.
    has_depot = !isempty(DEPOT_PATH) && is_writable(first(DEPOT_PATH))
    has_depot || !is_writable(tempdir()) || pushfirst!(DEPOT_PATH, mktempdir())
    return nothing
end

function is_writable(folder::String)
    try
        mktempdir(path -> true, mkpath(folder))
    catch error
        error isa SystemError || error isa Base.IOError || rethrow()
        false
    end
end

function include_source(bundle::String, source::AbstractString)
    path = joinpath(bundle, source)
    isfile(path) || throw(LoadFailed("The source file $source is not in the bundle."))
    try
        Base.include(Main, path)
    catch error
        throw(LoadFailed("The source file $source failed: $(message_of(error))"))
    end
    return nothing
end

function open_model(frame::Frame, path::String, options::Dict)
    isfile(path) || throw(LoadFailed("The model's file $(basename(path)) is not in the bundle."))
    value = try
        is_serialized(path) || error("it does not begin as Julia's Serialization does.")
        deserialize(path)
    catch error
        throw(LoadFailed(
            "$(basename(path)) cannot be read by Julia $VERSION: $(message_of(error)) " *
            "Publish it from this version of Julia, with the files that define its types as `source`.",
        ))
    end
    return find_functions(value, frame, options)
end

"Whether a file has the header that `serialize` writes; without it, any bytes would be read as something."
is_serialized(path::String) = open(io -> read(io, length(SERIALIZED)) == SERIALIZED, path)

const SERIALIZED = b"7JL"

function find_functions(value, frame::Frame, options::Dict)
    inputs = [parts for parts in frame.fields if parts[1] == "input" && length(parts) > 3]
    names = [parts[2] for parts in inputs]
    columns = columns_type(names, [column_type(parts[3], parts[4] == "1") for parts in inputs])
    path = get(options, "module", "")
    try
        predict = find_predict(get(options, "predict", "predict"), path, typeof(value), columns)
        return Model(value, predict, find_method("classes", path, typeof(value)), names, columns)
    catch error
        error isa AnswerError && throw(LoadFailed(error.message))
        rethrow()
    end
end

"""
Compiles what the first `infer` needs, without running the model's code: the way of the signature's columns
in, the model's predict for them, and the way of a number out.
"""
function warm_up(model::Model)
    types = fieldtypes(model.columns)
    sample = [Column(model.names[i], eltype(types[i])[]) for i in eachindex(model.names)]
    question = read_frame(IOBuffer(frame_bytes(Frame("infer", [["id", "0"]]; rows = 0, columns = sample))))
    as_columns(model, question)
    precompile(model.predict, (typeof(model.value), model.columns))
    frame_bytes(Frame("answer", [["id", "0"]]; rows = 1, columns = [Column(read_answer([0.0], 1, () -> ())[1]...)]))
    return nothing
end

"The model's answer to an `infer` frame; throws whatever the model throws, and `AnswerError`."
function infer(model::Model, frame::Frame)
    names = [column.name for column in frame.columns]
    names == model.names || throw(AnswerError("The question's columns $(repr(names)) are not the model's inputs."))
    rows = something(frame.rows, 0)
    answers = ask(model.predict, model.classes, model.value, as_columns(model, frame), rows)
    return [Column(name, values) for (name, values) in answers]
end

"The frame's columns as the NamedTuple of vectors that the model is given."
function as_columns(model::Model, frame::Frame)
    values = Any[as_column(T, column.values) for (T, column) in zip(fieldtypes(model.columns), frame.columns)]
    return model.columns(Tuple(values))
end

"An error's message, whatever type of error the model's author made for it, fit for a header."
function message_of(error)
    text = try
        Base.invokelatest(sprint, showerror, error)
    catch
        "an error of the type $(typeof(error))"
    end
    text = length(text) > MAX_MESSAGE ? first(text, MAX_MESSAGE) * "…" : text
    return map(c -> isvalid(c) && c != '\0' ? c : '\ufffd', text)
end

const MAX_MESSAGE = 2_000               # characters
