"""
    YardError

Something a person can meet: `message` says what happened and why, `hint` what to do next, `status` is the HTTP status
where the yard refused (else 0), `log` the end of the worker's log where a check failed.

```julia
try
    Modelyard.predict("maintenance/no-such-model", (x = [1.0],))
catch error
    error isa YardError || rethrow()
    println(error.status)
end
```
"""
struct YardError <: Exception
    message::String
    hint::String
    status::Int
    log::String
end

YardError(message, hint = ""; status = 0, log = "") = YardError(message, hint, status, log)

function Base.showerror(io::IO, error::YardError)
    print(io, error.message)
    isempty(error.hint) || print(io, ' ', error.hint)
    isempty(error.log) || print(io, "\nIts worker's log ends:\n", error.log)
end
