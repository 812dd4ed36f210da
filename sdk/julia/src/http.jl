# One HTTP request, by Julia's own Downloads where it exists (Julia 1.6), else by the program curl.

"A request: `file` is what is sent, \"\" for nothing; `seconds` is how long the whole of it may take."
struct Request
    method::String
    url::String
    headers::Vector{Pair{String,String}}
    file::String
    seconds::Int
end

const CONNECT_SECONDS = 10
const DOWNLOADS = Base.PkgId(Base.UUID("f43a241f-c20a-4ad4-852c-f6b1247861c6"), "Downloads")

"""
    send(request) -> (status, body)

Throws `YardError` where no answer came.
"""
function send(request::Request)
    check_plain(request)
    return mktempdir() do folder
        answer = joinpath(folder, "answer")
        status = Base.locate_package(DOWNLOADS) === nothing ? curl(request, answer) : download(request, answer)
        return status, isfile(answer) ? read(answer, String) : ""
    end
end

"An address or a header with a line end would be two of them."
function check_plain(request::Request)
    for text in (request.url, (last(header) for header in request.headers)...)
        all(c -> ' ' <= c <= '~', text) && continue
        said = "The yard's address or token has a character that cannot be sent."
        throw(YardError(said, "Correct YARD_URL or YARD_TOKEN."))
    end
end

function download(request::Request, answer::String)
    downloads = Base.require(DOWNLOADS)
    response = Base.invokelatest(
        downloads.request, request.url;
        method = request.method, headers = request.headers, timeout = request.seconds, throw = false,
        input = isempty(request.file) ? nothing : request.file, output = answer,
    )
    hasproperty(response, :status) && return response.status
    throw(unreachable(request, response.message))
end

"""
Runs curl. What it is to do goes in on its standard input, since the token is in it, and other users of the machine
can read a command line.
"""
function curl(request::Request, answer::String)
    said, complaints = IOBuffer(), IOBuffer()
    config = IOBuffer(curl_config(request, answer))
    command = pipeline(`curl -q --config -`; stdin = config, stdout = said, stderr = complaints)
    process = try
        run(command; wait = false)
    catch error
        error isa Base.IOError || rethrow()
        hint = "Install curl, or use Julia 1.6 or newer, which needs none."
        throw(YardError("The program curl does not start.", hint))
    end
    wait(process)
    success(process) || throw(unreachable(request, strip(String(take!(complaints)))))
    return parse(Int, String(take!(said)))
end

function curl_config(request::Request, answer::String)
    quoted(text) = '"' * replace(replace(text, '\\' => "\\\\"), '"' => "\\\"") * '"'
    lines = ["silent", "show-error", "globoff", "proto = \"=http,https\"", "connect-timeout = $CONNECT_SECONDS",
             "max-time = $(request.seconds)", "write-out = \"%{http_code}\"", "header = \"Expect:\"",
             "request = $(request.method)", "url = $(quoted(request.url))", "output = $(quoted(answer))"]
    append!(lines, ["header = $(quoted("$name: $value"))" for (name, value) in request.headers])
    isempty(request.file) || push!(lines, "upload-file = $(quoted(request.file))")
    return join(lines, '\n') * '\n'
end

function unreachable(request::Request, reason)
    place = match(r"^https?://[^/]*", request.url)
    at = place === nothing ? request.url : place.match
    return YardError("No yard answers at $at ($reason).", "Start one with `yard up`, or correct YARD_URL.")
end
