# The verbs: what a person does with a yard.

const WAIT_SECONDS = 30
const LOG_SHOWN = 2_000                 # characters

"""
    publish(model, ref; example, source, alias, why, wait = true, …) -> Dict

Publish a model of this session as a new version of `ref` (`department/name`), and wait until the yard has checked it.
Returns the version's record (`"version"`, `"state"`, `"aliases"` …).

- `alias`: an alias to point to it once it is checked, as `"champion"`; `why`: the reason, for the alias's history.
- `wait = false` returns at once, before the check.
- `example`, `source` and all others: as in [`save`](@ref).

Throws [`YardError`](@ref) if the model cannot be published (nothing has been sent then) or did not pass its check (the
version is kept, with the reason).

```julia
publish(model, "maintenance/turnaround"; example = rows, source = "model.jl", metrics = (mae = 12.1,))
```
"""
function publish(model, ref::AbstractString; alias = "", why = "", wait::Bool = true, told...)
    path = model_path(ref)
    isempty(alias) || check_alias(alias)
    return mktempdir() do folder
        write_bundle(model, joinpath(folder, "bundle"); told...)
        tar = joinpath(folder, "bundle.tar")
        open(io -> write_tar(io, joinpath(folder, "bundle")), tar, "w")
        progress("sending it")
        version = upload("$path/versions", tar, "application/x-tar"; query = ["alias" => alias, "why" => why])
        return wait ? wait_for(version) : version
    end
end

function wait_for(version::Dict)
    path = "$(model_path(version["model"]))/versions/$(version["version"])"
    said = ""
    while !(version["state"] in ("checked", "failed"))
        now = get(version, "progress", "")
        now == said || progress(now)
        said = now
        version = ask_yard("GET", path; query = ["wait" => WAIT_SECONDS])
    end
    name = "version $(version["version"]) of $(version["model"])"
    version["state"] == "checked" && (progress("$name is checked"); return version)
    said = "V$(name[2:end]) did not pass its check: $(get(version, "reason", ""))"
    throw(YardError(said; log = last(get(version, "log", ""), LOG_SHOWN)))
end

"Says what goes on to a person at a terminal."
progress(words) = stderr isa Base.TTY && println(stderr, "yard: ", words)

"""
    Modelyard.predict(ref, rows; ids = false)

Predictions of a model of the yard, in any language, for rows of any kind that [`save`](@ref) takes as an example. `ref` is
`department/name`, or one with `@alias` or `/version` behind it.

Returns what a Julia model's own `predict` returns: a `Vector{Float64}`; `(label = …, probabilities = (late = …, …))`
for classes; a NamedTuple of vectors for several outputs. With `ids = true` these are `predictions` in a NamedTuple that
begins with `request_id` and `row`, which [`outcomes`](@ref) takes. Throws [`YardError`](@ref).

```julia
Modelyard.predict("maintenance/turnaround", (distance = [1400.0], carrier = ["AA"]))
```

Your own `predict(model, columns)` in `Main` hides this one's short name there; the long name always works. A source file
that begins with `import Modelyard: predict` adds its methods to this function instead, and then the short name does both.
"""
function predict(ref::AbstractString, rows; ids::Bool = false)
    at = parse_reference(ref)
    inner = at.version > 0 ? "/versions/$(at.version)" : isempty(at.alias) ? "" : "/aliases/$(at.alias)"
    predictions, requests, places = answers_to("/models/$(at.model)$inner/predict", records_of(rows))
    ids || return shaped(predictions)
    return (request_id = requests, row = places, predictions = shaped(predictions))
end

"""
    outcomes(model, rows) -> Int

Say what really happened: rows with a column `actual`, and with `request_id` and `row` (0 if left out) or the model's key
columns. They may come late, again or corrected: the last counts. How many the yard has recorded.

```julia
outcomes("maintenance/turnaround", (flight = ["AA1"], actual = [42.0]))
```
"""
function outcomes(model::AbstractString, rows)
    path = "/models/$(parse_reference(model).model)/outcomes"
    accepted = 0
    for some in Iterators.partition(records_of(rows), MOST_RECORDS)
        accepted += Int(ask_yard("POST", path; body = some)["accepted"])
    end
    return accepted
end

"""
    models() -> Vector

All models that you may see, a Dict each: `"model"`, `"language"`, `"latest"`, `"champion"`, `"aliases"` …

```julia
for model in models()
    println(model["model"], " ", model["champion"])
end
```
"""
models() = ask_yard("GET", "/api/v1/models")

"""
    show_version(ref) -> Dict

The version that `department/name/7` or `department/name@alias` names; for `department/name` its champion, or the latest
one where it has none.

```julia
show_version("maintenance/turnaround/1")["state"]
```
"""
show_version(ref::AbstractString) = ask_yard("GET", version_path(ref))

function version_path(ref::AbstractString)
    at = parse_reference(ref)
    return "/api/v1/models/$(at.model)/versions/$(at.version > 0 ? at.version : number_of(at))"
end

function number_of(at::Reference)
    model = ask_yard("GET", "/api/v1/models/$(at.model)")
    isempty(at.alias) && return something(model["champion"], model["latest"])
    haskey(model["aliases"], at.alias) && return model["aliases"][at.alias]
    known = join(sort!(collect(keys(model["aliases"]))), ", ")
    throw(YardError("$(at.model) has no alias $(at.alias).", "Its aliases: $(isempty(known) ? "none" : known)."))
end

"""
    versions(model) -> Vector

All versions of a model, a Dict each.

```julia
[version["version"] => version["state"] for version in versions("maintenance/turnaround")]
```
"""
versions(model::AbstractString) = ask_yard("GET", "$(model_path(model))/versions")

"""
    Modelyard.promote(ref; why = "") -> Dict

Make a version (`department/name/7`, or `department/name@alias`) the champion, which answers requests to the model. Returns the
model. Not exported, since Julia has a `promote` of its own.

```julia
Modelyard.promote("maintenance/turnaround/1"; why = "better on old aircraft")
```
"""
promote(ref::AbstractString; why = "") = set_alias(ref, "champion"; why = why)

"""
    set_alias(ref, alias; why = "") -> Dict

Point an alias to a version (`department/name/7`, or `department/name@other`). Returns the model.

```julia
set_alias("maintenance/turnaround/1", "challenger"; why = "to compare")
```
"""
function set_alias(ref::AbstractString, alias::AbstractString; why = "")
    at = parse_reference(ref)
    at.version == 0 && isempty(at.alias) && throw(YardError("$ref names no version.", "Write $ref/7 or $ref@alias."))
    number = at.version > 0 ? at.version : number_of(at)
    path = "/api/v1/models/$(at.model)/aliases/$(check_alias(alias))"
    return ask_yard("PUT", path; body = (version = number, why = why))
end

"""
    rollback(model; why = "") -> Dict

Make the champion what it was before. Returns the model.

```julia
rollback("maintenance/turnaround"; why = "worse on Mondays")
```
"""
rollback(model::AbstractString; why = "") =
    ask_yard("POST", "$(model_path(model))/rollback"; body = (why = why,))

"""
    history(model) -> Vector

What the model's aliases pointed to, who moved them, when and why; newest first.

```julia
for change in history("maintenance/turnaround")
    println(change["at"], " ", change["alias"], " ", change["after"], " ", change["why"])
end
```
"""
history(model::AbstractString) = ask_yard("GET", "$(model_path(model))/history")

"""
    whoami() -> Dict

Who the yard takes you for: `"principal"`, `"role"`, `"department"`.

```julia
whoami()["role"]
```
"""
whoami() = ask_yard("GET", "/api/v1/whoami")
