# The Julia worker: answers frames (contract/wire.md) on the Unix socket given as `--socket PATH`.
#
# Any number of connections, one frame at a time, one model. Needs Julia 1.5 or newer and its standard library.
# Everything is in a module, so that Main belongs to the model's source files.

module YardWorker

using Serialization
using Sockets

include("frames.jl")
include("convention.jl")
include("model.jl")

const TAKES = ["float64", "int64", "bool", "string"]
const EXIT_LOAD = 1
const EXIT_USAGE = 64
const EXIT_FRAME = 65
const MAX_SOCKET_PATH = 107             # bytes a Unix socket's path may have on Linux
const BACKLOG = 128

mutable struct Worker
    model::Union{Nothing,Model}
    infers::Int
    answered::Int
    busy::ReentrantLock
end

Worker() = Worker(nothing, 0, 0, ReentrantLock())

# ---- answers ----

"The answer to a question, and the code to exit with after it or `nothing`."
function answer(worker::Worker, question::Frame)
    question.verb == "infer" && return answer_infer(worker, question), nothing
    question.verb == "ping" && return answer_ping(worker, question), nothing
    question.verb == "load" && worker.model === nothing && return answer_load(worker, question)
    question.verb == "stop" && return reply(question, "bye"), 0
    what = question.verb == "load" ? "a second time" : "which is no verb"
    return failure(question, "frame", "The worker was asked to $(repr(question.verb)), $what."), EXIT_FRAME
end

function answer_load(worker::Worker, question::Frame)
    try
        worker.model = load_model(question)
        warm_up(worker.model)
    catch error
        log_error(error, catch_backtrace())
        return failure(question, "load", message_of(error)), EXIT_LOAD
    end
    return reply(question, "ready", ["runtime", "Julia", string(VERSION)], ["takes"; TAKES]), nothing
end

function answer_infer(worker::Worker, question::Frame)
    try
        worker.model === nothing && throw(AnswerError("No model is loaded."))
        columns = infer(worker.model, question)
        worker.infers += 1
        worker.answered += something(question.rows, 0)
        return Frame("answer", [id(question)]; rows = question.rows, columns = columns)
    catch error
        log_error(error, catch_backtrace())
        return failure(question, "model", message_of(error))
    end
end

function answer_ping(worker::Worker, question::Frame)
    count(key, number) = [key, string(number)]
    return reply(question, "pong", count("infers", worker.infers), count("answered", worker.answered),
                 count("memory", resident_bytes()))
end

reply(question::Frame, verb::String, fields...) = Frame(verb, [id(question), fields...])

failure(question::Frame, kind::String, message::String) =
    reply(question, "error", ["kind", kind], ["message", message])

id(question::Frame) = ["id", field(question, "id")]

"Bytes of memory resident; 0 where the system does not say."
function resident_bytes()
    isfile("/proc/self/status") || return 0
    for line in eachline("/proc/self/status")
        startswith(line, "VmRSS:") && return 1024 * parse(Int, split(line)[2])
    end
    return 0
end

function log_error(error, backtrace)
    try
        Base.invokelatest(showerror, stderr, error, backtrace)
        println(stderr)
    catch
        println(stderr, "An error of the type $(typeof(error)), which cannot be shown.")
    end
    return nothing
end

"What was printed goes to the log now: Julia keeps it back where the log is a file."
function flush_logs()
    stdout isa IOStream && flush(stdout)
    stderr isa IOStream && flush(stderr)
    return nothing
end

# ---- connections ----

"Answers one connection until it closes; a malformed frame ends the worker."
function serve(worker::Worker, connection::IO)
    try
        while true
            question = read_frame(connection)
            question === nothing && return
            reply, code = lock(() -> answered(worker, question), worker.busy)
            write(connection, reply)
            code === nothing || exit(code)
        end
    catch error
        if error isa MalformedFrame
            end_malformed(connection, error)
        elseif !(error isa CutFrame || error isa Base.IOError || error isa EOFError)
            log_error(error, catch_backtrace())
        end                             # else the other side is gone: it alone is dropped
    finally
        close(connection)
    end
    return nothing
end

"The answer's bytes; an answer that has no frame (a NUL in a string, too large) becomes an error of the model."
function answered(worker::Worker, question::Frame)
    reply, code = answer(worker, question)
    flush_logs()
    try
        return frame_bytes(reply), code
    catch error
        error isa ArgumentError || rethrow()
        return frame_bytes(failure(question, "model", message_of(error))), code
    end
end

function end_malformed(connection::IO, error::MalformedFrame)
    log_error(error, [])
    try
        write(connection, frame_bytes(Frame("error", [["kind", "frame"], ["message", message_of(error)]])))
    finally
        exit(EXIT_FRAME)
    end
end

"A listener on a socket file that only this user may open."
function listen_privately(path::String)
    before = ccall(:umask, Cuint, (Cuint,), 0o177)
    try
        return listen(path)
    finally
        ccall(:umask, Cuint, (Cuint,), before)
    end
end

function socket_path(arguments::Vector{String})
    if length(arguments) != 2 || arguments[1] != "--socket" || !(0 < sizeof(arguments[2]) <= MAX_SOCKET_PATH)
        println(stderr, "Usage: worker.jl --socket PATH, with a PATH of at most $MAX_SOCKET_PATH bytes.")
        exit(EXIT_USAGE)
    end
    return arguments[2]
end

function main(arguments::Vector{String})
    path = socket_path(arguments)
    listener = listen_privately(path)
    atexit(() -> rm(path; force = true))            # at `stop`, at errors and at SIGTERM
    worker = Worker()
    while true
        connection = accept(listener)
        @async serve(worker, connection)
    end
end

end

abspath(PROGRAM_FILE) == @__FILE__() && YardWorker.main(ARGS)
