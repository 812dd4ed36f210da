# Has a new worker for each file of ARGS[1] answer the frames in it, in order of the files' names, all in this one
# process: what the worker would exit with stands behind its last answer, as a frame `exit`.
include(joinpath(@__DIR__, "../../runtimes/julia/worker.jl"))

for name in sort(readdir(ARGS[1]))
    questions = open(joinpath(ARGS[1], name))
    answers = open(joinpath(ARGS[2], name), "w")
    worker = YardWorker.Worker()
    while (question = YardWorker.read_frame(questions)) !== nothing
        bytes, code = Base.invokelatest(YardWorker.answered, worker, question)
        write(answers, bytes, YardWorker.frame_bytes(YardWorker.Frame("exit", [["code", string(code)]])))
    end
    close(answers)
end
