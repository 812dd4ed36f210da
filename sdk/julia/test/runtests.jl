using Modelyard
using Pkg
using Test

const M = Modelyard

include("model.jl")

"The words of the YardError that `step` ends with."
function words(step)
    try
        step()
    catch error
        error isa YardError || rethrow()
        return sprint(showerror, error)
    end
    return "no error"
end

in_new_folder(step) = mktempdir(folder -> cd(step, folder))

const MODEL = joinpath(@__DIR__, "model.jl")
const ROWS = (distance = [80.0, 1400.0, missing], carrier = ["AA", "UA", "AA"])

struct Frame                            # like a DataFrame: its properties are its columns
    x::Vector{Float64}
    s::Vector{String}
end

@testset "Modelyard" begin

    @testset "JSON" begin
        value = Dict("a" => [1, 2.5, nothing, true], "é\n\"\\\x01🚢" => Dict{String,Any}(), "b" => "")
        @test M.parse_json(M.json(value)) == value
        @test M.json((x = NaN, y = missing, z = :late, n = 0.1 + 0.2)) ==
              "{\"x\":null,\"y\":null,\"z\":\"late\",\"n\":0.30000000000000004}"
        for number in (5e-324, 1.7976931348623157e308, -0.0, 1e16, 123456789.125, 0.1f0)
            @test M.parse_json(M.json(number)) === Float64(number)
        end
        @test M.parse_json(" [ -1 , 12345678901234567890, 1E2 ] ") == [-1, 1.2345678901234567e19, 100.0]
        @test M.parse_json("\"\\ud83d\\udea2 \\u00e9 \\/\"") == "🚢 é /"
        @test occursin("infinite", words(() -> M.json([Inf])))
        @test occursin("cannot be sent", words(() -> M.json([1 + 2im])))
        bad = ["", "[", "[1,]", "{\"a\":1,}", "{a:1}", "[1 2]", "01", "1.", "+1", ".5", "nul", "truex", "\"a", "\"\\x\"",
               "\"\\ud83d\"", "\"\\udea2\"", "\"a\nb\"", "1 2", "NaN", "Infinity", "[\0]", "\xff", "["^300 * "]"^300]
        for text in bad
            @test_throws ArgumentError M.parse_json(text)
        end
    end

    @testset "TOML" begin
        @test M.toml_string("a\"b\\c\n\x7f é") == "\"a\\\"b\\\\c\\u000a\\u007f é\""
        @test sprint(M.write_pairs, ["zero" => 0.0, "no" => false, "none" => nothing, "yes" => true, "a b" => ["x", "y"]]) ==
              "zero = 0.0\nyes = true\n\"a b\" = [\"x\", \"y\"]\n"
        old = "[[Dates]]\nuuid = \"a\"\n\n[[JSON]]\ndeps = [\"Dates\"]\nversion = \"0.21.1\"\n"
        new = "julia_version = \"1.11.1\"\nmanifest_format = \"2.0\"\n\n[[deps.JSON]]\nversion = \"0.21.4\"\n\n    [deps.JSON.deps]\n"
        @test M.manifest_versions(old) == Dict("JSON" => "0.21.1")
        @test M.manifest_versions(new) == Dict("JSON" => "0.21.4")
    end

    @testset "references" begin
        at = M.parse_reference("finance/fuel-cost@best")
        @test (at.model, at.alias, at.version) == ("finance/fuel-cost", "best", 0)
        @test M.parse_reference("finance/fuel-cost/17").version == 17
        for text in ("finance", "a/b/0", "a/b@x/1", "A/b", "a/b\n", "../b", "a/b@", "a//b", "a/b?x", "é/b", "a"^64 * "/b")
            @test occursin("not a reference", words(() -> M.parse_reference(text)))
        end
        @test M.model_path("a/b") == "/api/v1/models/a/b"
        @test occursin("Write a/b", words(() -> M.model_path("a/b/1")))
        @test M.query_text(["alias" => "", "why" => "it rains & pours é"]) == "?why=it%20rains%20%26%20pours%20%C3%A9"
    end

    @testset "rows of any kind" begin
        wanted = ["s" => ["a", "b"], "x" => [1.0, 2.0]]
        @test M.columns_of(Dict("x" => [1.0, 2.0], "s" => ["a", "b"])) == wanted
        @test M.columns_of((s = ["a", "b"], x = [1.0, 2.0])) == wanted
        @test M.columns_of([(s = "a", x = 1.0), (s = "b", x = 2.0)]) == wanted
        @test M.columns_of([Dict(:x => 1.0, :s => "a"), Dict(:s => "b", :x => 2.0)]) == wanted
        @test M.columns_of(Frame([1.0, 2.0], ["a", "b"])) == reverse(wanted)
        @test M.columns_of((s = "a", x = 1.0)) == ["s" => ["a"], "x" => [1.0]]
        @test isequal(M.columns_of([(x = 1,), (y = 2,)]), ["x" => [1, missing], "y" => [missing, 2]])
        @test occursin("not of one length", words(() -> M.columns_of((x = [1], y = [1, 2]))))
        @test occursin("not a vector", words(() -> M.columns_of((x = [1], y = 2))))
        @test occursin("no names", words(() -> M.columns_of([1 2; 3 4])))
        @test occursin("no columns", words(() -> M.columns_of(NamedTuple[])))
        @test M.json(M.records_of((x = [1.5, NaN],))) == "[{\"x\":1.5},{\"x\":null}]"
        @test occursin("infinite", words(() -> M.records_of((x = [Inf],))))
    end

    @testset "the signature of an example" begin
        example = (
            n = Int32[1, 2], x = Float32[0.5, NaN], b = [true, missing], s = [:late, :time], any = Any[1, 2.5],
            whole = Union{Missing,Int}[3, 4], text = ["x"^201, "y"],
        )
        columns = Dict(column.name => column for column in M.infer_columns(example, ["n"], (s = ["late", "time", "never"],)))
        @test [columns[name].type for name in ("n", "x", "b", "s", "any", "whole")] ==
              ["int64", "float64", "bool", "string", "float64", "int64"]
        @test [columns[name].missing for name in ("n", "x", "b", "s", "whole")] == [true, true, true, false, false]
        @test columns["n"].values isa Vector{Union{Missing,Int64}}
        @test columns["x"].values isa Vector{Union{Missing,Float64}} && columns["x"].values[2] === missing
        @test columns["whole"].values isa Vector{Int64}
        @test columns["s"].values == ["late", "time"]
        described = Dict(name => Dict(M.described(column)) for (name, column) in columns)
        @test described["s"]["levels"] == ["late", "time", "never"] && described["s"]["categories"] === nothing
        @test (described["n"]["low"], described["n"]["high"], described["n"]["example"]) == (1.0, 2.0, "1")
        @test described["text"]["categories"] === nothing && length(described["text"]["example"]) == 200
        @test all(column.missing for column in M.infer_columns(example, true, (;)))
        @test occursin("which the example does not have", words(() -> M.infer_columns(example, ["nope"], (;))))
        @test occursin("none of its levels", words(() -> M.infer_columns(example, false, (s = ["late"],))))
        @test occursin("Only strings have levels", words(() -> M.infer_columns(example, false, (n = ["1"],))))
        @test occursin("no value at all", words(() -> M.infer_columns((x = [missing],), false, (;))))
        @test occursin("no rows", words(() -> M.infer_columns((x = Float64[],), false, (;))))
        @test occursin("64 bits", words(() -> M.infer_columns((x = [typemax(UInt64)],), false, (;))))
        @test occursin("type Complex", words(() -> M.infer_columns((x = [1im],), false, (;))))
    end

    @testset "predictions have the shape of a model's own" begin
        @test isequal(M.shaped([1, nothing, 2.5]), [1.0, NaN, 2.5])
        @test M.shaped(Any[]) == Float64[]
        classes = [Dict("label" => "late", "probabilities" => Dict("late" => 0.75, "on time" => 0.25))]
        shaped = M.shaped(classes)
        @test shaped.label == ["late"] && getproperty(shaped.probabilities, Symbol("on time")) == [0.25]
        @test M.shaped([Dict("label" => true)]) == (label = [true],)
        @test M.shaped([Dict("low" => 1, "high" => 2)]) == (high = [2.0], low = [1.0])
    end

    @testset "tar" begin
        in_new_folder() do
            long = "a"^60 * "/" * "b"^60
            mkpath("x/" * dirname(long))
            write("x/$long", "long")
            write("x/é.jl", "accent")
            write("x/empty", "")
            open(io -> M.write_tar(io, "x"), "x.tar", "w")
            @test filesize("x.tar") % 512 == 0
            @test sort(readlines(`tar tf x.tar --quoting-style=literal`)) == sort([long, "empty", "é.jl"])
            @test read(`tar xOf x.tar $long`, String) == "long"
            again = sprint(io -> M.write_tar(io, "x"))
            @test codeunits(again) == read("x.tar")
        end
    end

    @testset "saving" begin
        in_new_folder() do
            withenv("YARD_OUTPUT" => nothing) do
                log_metrics(mae = 3, epoch = 1)
                log_metrics(mae = 2.5)
                @test save(Line(2.0); example = ROWS, source = MODEL, metrics = (rmse = 4,)) == "yard-output"
                described = read("yard-output/yardbundle.toml", String)
                @test occursin("[metrics]\nepoch = 1.0\nmae = 2.5\nrmse = 4.0\n", described)
                @test read("yard-output/expected.csv", String) == "\"prediction\"\n162.0\n2802.0\nNaN\n"
                @test read("yard-output/example.csv", String) ==
                      "\"distance\",\"carrier\"\n80.0,\"AA\"\n1400.0,\"UA\"\n,\"AA\"\n"
                save(Line(3.0); example = ROWS, source = MODEL)     # gives way to a new one
                @test isfile("yard-output/metrics.jsonl")
                @test occursin("finite", words(() -> log_metrics(mae = NaN)))
            end
            withenv("YARD_OUTPUT" => "elsewhere") do
                @test save(Line(2.0); example = ROWS, source = MODEL) == "elsewhere"
            end
        end
    end

    @testset "what cannot be saved is refused and nothing is written" begin
        in_new_folder() do
            mkpath("full")
            write("full/letter.txt", "dear")
            write("a;b.jl", "")
            running = @async wait(Condition())
            yield()
            cases = [
                (Line(2.0), (source = String[],), "is defined in this session"),
                (Line(2.0), (source = "absent.jl",), "no file absent.jl"),
                (Line(2.0), (source = "a;b.jl",), "';' in its name"),
                (Line(2.0), (source = [MODEL, "a;b.jl"],), "is not below"),
                (Line(2.0), (method = "absent",), "no method absent(model::Line, columns)"),
                (Line(2.0), (in_module = "Nowhere",), "no module Nowhere"),
                (Line(2.0), (metrics = (mae = Inf,),), "not a finite number"),
                (Line(2.0), (example = (distance = ["far"], carrier = ["AA"]),), "The model fails on its example: MethodError"),
                (Short(), (;), "returned 1 values of prediction for 3 rows"),
                (Chance(), (;), "differently once it has been serialised"),
                (Running(running), (;), "cannot be serialised"),
                (Unnamed(), (;), "no method classes(model)"),
            ]
            for (model, told, reason) in cases
                said = words(() -> save(model, "new"; merge((example = ROWS, source = MODEL), told)...))
                @test occursin(reason, said)
                @test !ispath("new")
            end
            @test occursin("letter.txt", words(() -> save(Line(2.0), "full"; example = ROWS, source = MODEL)))
            @test read("full/letter.txt", String) == "dear"
        end
    end

    @testset "the active project goes along" begin
        in_new_folder() do
            before = Base.active_project()
            write("Project.toml", "[deps]\nJSON = \"682c06a0-de6a-54ab-a142-c8b1cf79cde6\"\n")
            write("Manifest.toml", "[[JSON]]\nuuid = \"682c06a0-de6a-54ab-a142-c8b1cf79cde6\"\nversion = \"0.21.1\"\n")
            Pkg.activate(pwd())
            try
                save(Line(2.0), "bundle"; example = ROWS, source = MODEL)
            finally
                Pkg.activate(before)
            end
            @test read("bundle/environment/Project.toml") == read("Project.toml")
            @test read("bundle/environment/Manifest.toml") == read("Manifest.toml")
            @test occursin("[packages]\nJSON = \"0.21.1\"\n", read("bundle/yardbundle.toml", String))
        end
    end

    @testset "parameters come from the yard, or are those given" begin
        withenv("YARD_PARAMETERS" => nothing) do
            @test parameter("trees", 40) == 40
            @test occursin("There is no parameter trees", words(() -> parameter("trees")))
        end
        withenv("YARD_PARAMETERS" => "{\"trees\": 80, \"kind\": \"b\"}") do
            @test parameter("trees", 40) == 80
            @test parameter("kind") == "b"
        end
    end

    @testset "the yard's address" begin
        mktempdir() do folder
            mkpath(joinpath(folder, "modelyard"))
            write(joinpath(folder, "modelyard", "login"), "url = http://one:8080/\ntoken = secret=1\n")
            found(pairs...) = withenv(() -> M.find_address(), "XDG_CONFIG_HOME" => folder, pairs...)
            none = ("YARD_URL" => nothing, "YARD_TOKEN" => nothing)
            @test found(none...) == M.Address("http://one:8080", "secret=1")
            @test found("YARD_URL" => "http://two/", "YARD_TOKEN" => "t") == M.Address("http://two", "t")
            # A remembered token goes to its own yard alone.
            @test occursin("No token is known for http://two", words(() -> found("YARD_URL" => "http://two", "YARD_TOKEN" => nothing)))
            @test occursin("not the address", words(() -> found("YARD_URL" => "file:///etc", "YARD_TOKEN" => "t")))
            @test occursin("No yard is known", words(() -> withenv(M.find_address, none..., "XDG_CONFIG_HOME" => joinpath(folder, "no"))))
        end
        evil = M.Request("GET", "http://127.0.0.1:1/", ["Authorization" => "Bearer a\nurl = http://evil"], "", 1)
        @test occursin("cannot be sent", words(() -> M.send(evil)))
        quoted = M.curl_config(M.Request("GET", "http://h/\"\\", Pair{String,String}[], "", 1), "out")
        @test occursin("url = \"http://h/\\\"\\\\\"\n", quoted)
    end

    @testset "every exported function has an example" begin
        documented = Base.Docs.meta(Modelyard)
        @test isempty(intersect(setdiff(names(Modelyard), [:Modelyard]), names(Base)))  # else neither could be used
        for name in [setdiff(names(Modelyard), [:Modelyard]); :promote]
            binding = Base.Docs.Binding(Modelyard, name)
            @test haskey(documented, binding)
            text = join(string(part) for doc in values(documented[binding].docs) for part in doc.text)
            @test occursin("```julia", text)
        end
    end

end

@testset "data is read as the types that the version says" begin
    lines = Modelyard.read_csv("s,n\n\"a,\"\"b\n\",1\n\"\",\n,2\n")
    @test lines[2][1] == ("a,\"b\n", true)
    column(type, at) = Modelyard.data_column(type, [line[at] for line in lines[2:end]])
    @test isequal(column("string", 1), ["a,\"b\n", "", missing])
    @test isequal(column("int64", 2), [1, missing, 2])
    @test Modelyard.data_value("datetime", "2013-01-02T03:04:05.500000Z") == Modelyard.DateTime(2013, 1, 2, 3, 4, 5, 500)
    @test Modelyard.plain_column("d", [Modelyard.Date(2013, 1, 2), missing])[1] == "2013-01-02"
    @test_throws YardError push_data("flights.xlsx", "operations/flights")
    @test_throws YardError Modelyard.dataset_path("operations/flights/3")
end
