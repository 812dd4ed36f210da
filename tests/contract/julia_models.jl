# Writes bundles into the folder ARGS[1], one for each model below, all with the source file models.jl.
using Serialization

const SOURCE = joinpath(@__DIR__, "julia_source.jl")
include(SOURCE)

function bundle(name, model)
    folder = mkpath(joinpath(ARGS[1], name))
    cp(SOURCE, joinpath(folder, "model.jl"))
    serialize(joinpath(folder, "model.jls"), model)
end

bundle("line", Line(2.0, 1.0))
bundle("switch", Switch())
bundle("echo", Echo())
bundle("wide", Wide())
bundle("inside", Fleet.Ship(3.0))
bundle("quits", Quits())
bundle("busy", Busy())
