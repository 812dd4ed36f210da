# What a person does with the Julia package, in one session: writes bundles into ARGS[1], then uses every verb on the
# yard of YARD_URL. Prints a line of JSON for each step: its name, and its value or its error.
using Modelyard

include(joinpath(@__DIR__, "julia_source.jl"))
const SOURCE = joinpath(@__DIR__, "julia_source.jl")

function step(action, name)
    said = try
        (step = name, value = action())
    catch error
        error isa YardError || rethrow()
        (step = name, error = sprint(showerror, error), status = error.status, log = error.log)
    end
    println(Modelyard.json(said))
end

bundle(name, model; told...) = step(() -> save(model, joinpath(ARGS[1], name); source = SOURCE, told...), name)

# ---- bundles ----

bundle("line", Line(2.0, 1 / 3); example = (x = [80.0, 4983.0, 1e-300, 0.1 + 0.2],), metrics = (mae = 12.1, zero = 0),
       description = "A \"first\" try\n", lineage = (code = "4f1c2e", dataset = 3))
bundle("many rows", Line(2.0, 1.0); example = (x = collect(1:0.5:200),))
kinds = (f = [1.5, missing, -Inf, 1e22], i = [typemax(Int64), missing, -1, 0], b = [true, missing, false, true],
         s = ["né", missing, "", "a\"b,\nc\\"], odd_name = Symbol[:a, :b, :c, :d])
bundle("echo", Echo(); example = NamedTuple{(:f, :i, :b, :s, Symbol("odd \"name\", é"))}(values(kinds)))
bundle("given by others", Line(2.0, 1.0); example = [Dict("x" => 1.0)], missing = ["x"])
bundle("levels", Switch(); example = (way = ["named", "named"], x = [1.0, 2.0]), levels = (way = ["named", "dict"],))
for way in ("named", "dict", "matrix of classes", "bools", "ints", "strings", "outputs", "matrix", "special")
    bundle(way, Switch(); example = (way = fill(way, 3), x = [1.0, 2.0, 3.0]))
end
bundle("module", Fleet.Ship(3.0); example = (x = [1.0],))
bundle("forecast", Line(2.0, 1.0); example = (x = [1.0],), method = "forecast", in_module = "Main")

# ---- verbs ----

const EXAMPLE = (x = [1.0, 2.0],)
publish_line(ref; told...) = publish(Line(2.0, 1.0), ref; example = EXAMPLE, source = SOURCE, told...)

step(() -> publish_line("finance/fuel"; alias = "best", why = "it rains & pours")["state"], "publish")
step(() -> publish_line("finance/fuel"; wait = false)["state"], "publish without waiting")
step(() -> publish_line("finance/failing"), "publish what fails")
step(() -> publish_line("finance/forbidden"), "publish what is forbidden")
step(() -> publish_line("finance/fuel/3"), "publish a version")
step(() -> publish(Line(2.0, 1.0), "finance/fuel"; example = EXAMPLE), "publish without source")

rows = (x = [0.1 + 0.2, NaN], carrier = ["AA", missing], n = [typemax(Int64), 0], rain = [true, false])
step(() -> Modelyard.predict("finance/fuel", rows), "predict numbers")
step(() -> Modelyard.predict("finance/fuel@best", [(x = 1,)]), "predict classes")
step(() -> Modelyard.predict("finance/fuel/7", Dict(:x => [1.0])), "predict outputs")
step("predict many") do
    found = Modelyard.predict("finance/many", (x = 1:10_002,); ids = true)
    return Any[sum(found.predictions), found.request_id[10_000], found.row[10_000], found.request_id[end], found.row[end]]
end
step(() -> Modelyard.predict("finance/fuel", (x = [Inf],)), "predict infinity")
step(() -> Modelyard.predict("finance/absent", EXAMPLE), "predict what is not there")
step(() -> Modelyard.predict("finance/strange", EXAMPLE), "predict and be misunderstood")

step(() -> models()[1]["model"], "models")
step(() -> show_version("finance/fuel")["version"], "show the champion")
step(() -> show_version("finance/fuel@best")["version"], "show an alias")
step(() -> show_version("finance/fuel@nope"), "show no alias")
step(() -> length(versions("finance/fuel")), "versions")
step(() -> Modelyard.promote("finance/fuel@best"; why = "lower error")["champion"], "promote")
step(() -> Modelyard.promote("finance/fuel"), "promote nothing")
step(() -> set_alias("finance/fuel/2", "challenger")["model"], "set an alias")
step(() -> rollback("finance/fuel"; why = "worse on Mondays")["model"], "roll back")
step(() -> history("finance/fuel")[1]["why"], "history")
step(() -> whoami()["principal"], "whoami")
ENV["YARD_URL"] = "http://127.0.0.1:1"
step(whoami, "nobody there")
