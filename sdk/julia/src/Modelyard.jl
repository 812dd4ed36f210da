"""
Publish models from Julia to a Modelyard, and ask any of its models for predictions.

    using Modelyard
    include("model.jl")           # a struct, and predict(model, columns)
    publish(model, "maintenance/turnaround"; example = rows, source = "model.jl")
    Modelyard.predict("maintenance/turnaround", rows)

The yard is found by `YARD_URL` and `YARD_TOKEN`, or by what `yard login` remembered. Needs Julia 1.5 or newer and
nothing else (before Julia 1.6 the program `curl`).
"""
module Modelyard

using Dates: Date, DateTime
using Serialization

export publish, save, log_metrics, parameter, predict, outcomes
export models, show_version, versions, set_alias, rollback, history, whoami
export push_data, pull_data, datasets
export YardError

include("errors.jl")
include("references.jl")
include("json.jl")
include("toml.jl")
include("tar.jl")
include("convention.jl")
include("tables.jl")
include("signature.jl")
include("environment.jl")
include("metrics.jl")
include("bundle.jl")
include("http.jl")
include("connection.jl")
include("predictions.jl")
include("verbs.jl")
include("datasets.jl")

end
