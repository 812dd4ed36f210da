# Where the yard is, and requests to it: answers decoded, problems raised as errors.

struct Address
    url::String
    token::String
end

const READ_SECONDS = 120
const UPLOAD_SECONDS = 3600
const TRIES = 3

"""
The yard to talk to: `YARD_URL` and `YARD_TOKEN`, else what `yard login` remembered. A remembered token is sent to the
address it was remembered with, and to no other.
"""
function find_address()
    remembered = remembered_login()
    url = rstrip(first_known(get(ENV, "YARD_URL", ""), get(remembered, "url", "")), '/')
    isempty(url) && throw(YardError("No yard is known here.", "Run `yard login URL`, or set YARD_URL and YARD_TOKEN."))
    if !startswith(url, r"https?://.")
        throw(YardError("$(repr(url)) is not the address of a yard.", "Write it as http://host:8080."))
    end
    same = rstrip(get(remembered, "url", ""), '/') == url
    token = first_known(get(ENV, "YARD_TOKEN", ""), same ? get(remembered, "token", "") : "")
    isempty(token) && throw(YardError("No token is known for $url.", "Run `yard login $url`, or set YARD_TOKEN."))
    return Address(url, token)
end

first_known(a, b) = isempty(a) ? b : a

function remembered_login()
    home = get(ENV, "XDG_CONFIG_HOME", "")
    path = joinpath(isempty(home) ? joinpath(homedir(), ".config") : home, "modelyard", "login")
    isfile(path) || return Dict{String,String}()
    pairs = (split(line, '='; limit = 2) for line in eachline(path))
    return Dict(String(strip(p[1])) => String(strip(p[2])) for p in pairs if length(p) == 2)
end

"What the yard answers, decoded. `query` and `body` may be left out; a GET whose connection broke is asked again."
function ask_yard(method::String, path::String; query = (), body = nothing)
    body === nothing && return exchange(method, path, query, "", "")
    return mktemp() do file, io
        write(io, json(body))
        close(io)
        exchange(method, path, query, file, "application/json")
    end
end

"POSTs a file's bytes."
upload(path::String, file::String, type::String; query = ()) = exchange("POST", path, query, file, type)

"What the yard answers to a GET, as text."
function ask_text(path::String; query = ())
    status, text = answer_of("GET", path, query, "", "", "*/*")
    200 <= status < 300 && return text
    throw(problem(status, decoded(text)))
end

function exchange(method, path, query, file, type)
    status, text = answer_of(method, path, query, file, type, "application/json")
    said = decoded(text)
    200 <= status < 300 || throw(problem(status, said))
    said === missing || return said
    hint = "Correct YARD_URL."
    throw(YardError("What answers at $(find_address().url) does not speak as a yard does.", hint; status = status))
end

function answer_of(method, path, query, file, type, accept)
    address = find_address()
    headers = ["Authorization" => "Bearer $(address.token)", "Accept" => accept]
    push!(headers, "User-Agent" => "modelyard-julia")
    isempty(type) || push!(headers, "Content-Type" => type)
    seconds = isempty(file) ? READ_SECONDS : UPLOAD_SECONDS
    request = Request(method, address.url * path * query_text(query), headers, file, seconds)
    return method == "GET" ? send_again(request) : send(request)
end

"What JSON text says; missing where it is none."
function decoded(text)
    try
        return isempty(text) ? nothing : parse_json(text)
    catch error
        error isa ArgumentError || rethrow()
        return missing
    end
end

function send_again(request::Request)
    for attempt in 1:TRIES-1
        try
            return send(request)
        catch error
            error isa YardError || rethrow()
            sleep(0.2attempt)
        end
    end
    return send(request)
end

"A problem+json answer as an error."
function problem(status::Int, decoded)
    said = decoded isa Dict ? decoded : Dict{String,Any}()
    words(key) = (value = get(said, key, nothing); value isa String ? value : "")
    message = first_known(first_known(words("detail"), words("title")), "The yard answered with status $status.")
    return YardError(message, words("hint"); status = status, log = words("log"))
end

function query_text(query)
    given = [string(key, '=', percent(string(value))) for (key, value) in query if value !== nothing && value != ""]
    return isempty(given) ? "" : "?" * join(given, '&')
end

"Percent-encoding: all but RFC 3986's unreserved characters."
percent(text::String) = join(
    b in UInt8('a'):UInt8('z') || b in UInt8('A'):UInt8('Z') || b in UInt8('0'):UInt8('9') || b in b"-._~" ?
    Char(b) : "%" * uppercase(string(b; base = 16, pad = 2)) for b in codeunits(text)
)
