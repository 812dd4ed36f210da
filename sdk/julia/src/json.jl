# JSON as RFC 8259 has it: a writer, and a strict reader. Julia's standard library has none.

const MAX_DEPTH = 200                   # of arrays and objects inside one another

# ---- writing ----

"""
    json(value) -> String

Dicts and NamedTuples as objects, vectors as arrays; `nothing`, `missing` and NaN as null. Throws `YardError` for an
infinity.
"""
json(value) = sprint(write_json, value)

write_json(io::IO, ::Union{Nothing,Missing}) = print(io, "null")
write_json(io::IO, value::Union{Bool,Integer}) = print(io, value)
write_json(io::IO, value::Union{Symbol,Char}) = write_json(io, string(value))

function write_json(io::IO, value::Real)
    number = Float64(value)
    isinf(number) && throw(YardError("An infinite number cannot be sent as JSON.", "Replace it."))
    isnan(number) ? print(io, "null") : print(io, number)     # the shortest text that reads as the same double
end

function write_json(io::IO, text::AbstractString)
    isvalid(text) || throw(YardError("A string is not UTF-8: $(repr(first(text, 80)))."))
    print(io, '"')
    for c in text
        if c == '"' || c == '\\'
            print(io, '\\', c)
        elseif c < ' '
            print(io, "\\u", string(Int(c); base = 16, pad = 4))
        else
            print(io, c)
        end
    end
    print(io, '"')
end

function write_json(io::IO, values::Union{AbstractVector,Tuple})
    print(io, '[')
    for (i, value) in enumerate(values)
        i == 1 || print(io, ',')
        write_json(io, value)
    end
    print(io, ']')
end

function write_json(io::IO, object::Union{AbstractDict,NamedTuple})
    print(io, '{')
    for (i, (key, value)) in enumerate(pairs(object))
        i == 1 || print(io, ',')
        write_json(io, string(key))
        print(io, ':')
        write_json(io, value)
    end
    print(io, '}')
end

write_json(io::IO, value) =
    throw(YardError("A $(typeof(value)) cannot be sent.", "Values are numbers, Bool, strings or missing."))

# ---- reading ----

mutable struct JSONReader
    text::String
    at::Int                             # the next code unit
    depth::Int
end

"""
    parse_json(text)

Objects as `Dict{String,Any}`, arrays as `Vector{Any}`, whole numbers as Int where they fit, null as `nothing`. Throws
`ArgumentError` with the place for anything that is not JSON.
"""
function parse_json(text::AbstractString)
    isvalid(text) || throw(ArgumentError("not JSON: it is not UTF-8"))
    reader = JSONReader(String(text), 1, 0)
    value = read_value(reader)
    peek_byte(reader) == 0x00 || refuse(reader)
    return value
end

refuse(reader::JSONReader) = throw(ArgumentError("not JSON at byte $(reader.at)"))

"The next byte that is not white space; 0 at the end."
function peek_byte(reader::JSONReader)
    while reader.at <= ncodeunits(reader.text)
        byte = codeunit(reader.text, reader.at)
        byte in (0x20, 0x09, 0x0a, 0x0d) || return byte == 0x00 ? refuse(reader) : byte
        reader.at += 1
    end
    return 0x00
end

function read_value(reader::JSONReader)
    byte = peek_byte(reader)
    byte == UInt8('{') && return nested(read_object, reader)
    byte == UInt8('[') && return nested(read_array, reader)
    byte == UInt8('"') && return read_string(reader)
    byte == UInt8('t') && return read_word(reader, "true", true)
    byte == UInt8('f') && return read_word(reader, "false", false)
    byte == UInt8('n') && return read_word(reader, "null", nothing)
    return read_number(reader)
end

function nested(read_inner, reader::JSONReader)
    reader.depth += 1
    reader.depth > MAX_DEPTH && refuse(reader)
    reader.at += 1
    value = read_inner(reader)
    reader.depth -= 1
    return value
end

"Whether another item comes before `close`; passes over the comma between two."
function another(reader::JSONReader, is_first::Bool, close::Char)
    byte = peek_byte(reader)
    byte == UInt8(close) && (reader.at += 1; return false)
    is_first && return true
    byte == UInt8(',') || refuse(reader)
    reader.at += 1
    peek_byte(reader) == UInt8(close) && refuse(reader)
    return true
end

function read_array(reader::JSONReader)
    values = Any[]
    while another(reader, isempty(values), ']')
        push!(values, read_value(reader))
    end
    return values
end

function read_object(reader::JSONReader)
    object = Dict{String,Any}()
    while another(reader, isempty(object), '}')
        peek_byte(reader) == UInt8('"') || refuse(reader)
        key = read_string(reader)
        peek_byte(reader) == UInt8(':') || refuse(reader)
        reader.at += 1
        object[key] = read_value(reader)
    end
    return object
end

function read_word(reader::JSONReader, word::String, value)
    last = reader.at + ncodeunits(word) - 1
    last <= ncodeunits(reader.text) && startswith(SubString(reader.text, reader.at), word) || refuse(reader)
    reader.at = last + 1
    return value
end

const NUMBER = r"\G-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?"

function read_number(reader::JSONReader)
    found = match(NUMBER, reader.text, reader.at)
    found === nothing && refuse(reader)
    reader.at += ncodeunits(found.match)
    whole = found[1] === nothing && found[2] === nothing ? tryparse(Int, found.match) : nothing
    return whole === nothing ? parse(Float64, found.match) : whole
end

const SHORT_ESCAPES = Dict(
    '"' => '"', '\\' => '\\', '/' => '/', 'b' => '\b', 'f' => '\f', 'n' => '\n', 'r' => '\r', 't' => '\t',
)

function read_string(reader::JSONReader)
    out = IOBuffer()
    text, i = reader.text, nextind(reader.text, reader.at)
    while true
        i <= ncodeunits(text) && text[i] >= ' ' || (reader.at = i; refuse(reader))
        c = text[i]
        i = nextind(text, i)
        if c == '"'
            reader.at = i
            return String(take!(out))
        elseif c == '\\'
            reader.at = i
            print(out, read_escape(reader))
            i = reader.at
        else
            print(out, c)
        end
    end
end

function read_escape(reader::JSONReader)
    reader.at <= ncodeunits(reader.text) || refuse(reader)
    c = reader.text[reader.at]
    reader.at = nextind(reader.text, reader.at)
    c == 'u' || return get(() -> refuse(reader), SHORT_ESCAPES, c)
    unit = read_unit(reader)
    if 0xd800 <= unit < 0xdc00          # the first half of a character beyond 16 bits
        startswith(SubString(reader.text, reader.at), "\\u") || refuse(reader)
        reader.at += 2
        second = read_unit(reader)
        0xdc00 <= second < 0xe000 || refuse(reader)
        return Char(0x10000 + (unit - 0xd800) << 10 + (second - 0xdc00))
    end
    0xdc00 <= unit < 0xe000 && refuse(reader)
    return Char(unit)
end

function read_unit(reader::JSONReader)
    found = match(r"\G[0-9a-fA-F]{4}", reader.text, reader.at)
    found === nothing && refuse(reader)
    reader.at += 4
    return parse(UInt32, found.match; base = 16)
end
