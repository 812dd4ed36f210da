# Frames: the encoding between the yard and its workers, specified in contract/wire.md.
#
# A column's values are a Vector of Float64, Int64, Bool or String, or of Union{Missing,T} where the frame
# has a validity block. Missing float64 values are NaN on the wire and stay NaN here.

const MAGIC = b"YRD1"
const PREFIX_BYTES = 12
const MAX_HEADER = 4_194_304
const MAX_BODY = 2_147_483_647
const MAX_DIGITS = 10                   # of a number in a header, as many as MAX_BODY has

"""
    MalformedFrame(message)

The bytes break contract/wire.md; the message says where.
"""
struct MalformedFrame <: Exception
    message::String
end

"""
    CutFrame(message)

The stream ended inside a frame.
"""
struct CutFrame <: Exception
    message::String
end

Base.showerror(io::IO, e::Union{MalformedFrame,CutFrame}) = print(io, e.message)

struct Column
    name::String
    values::AbstractVector
end

"""
    Frame(verb, fields; rows, columns)

A verb, its fields and its columns.

- `fields`: key and values of each field line except `rows`, in order; a key may repeat.
- `rows`: `nothing` where the frame has no such line.
"""
struct Frame
    verb::String
    fields::Vector{Vector{String}}
    rows::Union{Nothing,Int}
    columns::Vector{Column}
end

Frame(verb, fields; rows = nothing, columns = Column[]) = Frame(verb, fields, rows, columns)

"The first value of the first field with this key, or `default`."
function field(frame::Frame, key::String, default::String = "")
    for parts in frame.fields
        parts[1] == key && length(parts) > 1 && return parts[2]
    end
    return default
end

# ---- reading ----

"""
    read_frame(io) -> Frame or nothing

The next frame of a stream; `nothing` where the stream ends between two frames.

Throws `MalformedFrame`, and `CutFrame` where the stream ends inside a frame.
"""
function read_frame(io::IO)
    eof(io) && return nothing
    prefix = read(io, PREFIX_BYTES)
    length(prefix) == PREFIX_BYTES || throw(CutFrame("The frame is cut short in its first 12 bytes."))
    magic = prefix[1:4]
    magic == MAGIC || throw(MalformedFrame("A frame begins with YRD1, not with $(repr(magic))."))
    header, body = length_at(prefix, 5), length_at(prefix, 9)
    if header > MAX_HEADER || body > MAX_BODY
        throw(MalformedFrame("A frame says it has $header + $body bytes, over the limit."))
    end
    return parse_frame(read_exactly(io, header), read_exactly(io, body))
end

length_at(prefix::Vector{UInt8}, at::Int) = Int(ltoh(reinterpret(UInt32, prefix[at:at+3])[1]))

function read_exactly(io::IO, count::Int)
    bytes = read(io, count)
    length(bytes) == count || throw(CutFrame("The frame is cut short: $(length(bytes)) of $count bytes."))
    return bytes
end

"A frame out of its header and body."
function parse_frame(header::Vector{UInt8}, body::Vector{UInt8})
    lines = header_lines(header)
    rows = nothing
    fields = Vector{String}[]
    columns = Column[]
    data = IOBuffer(body)
    for i in 2:length(lines)
        parts = split(lines[i], '\t')
        if parts[1] == "rows"
            rows = natural(length(parts) > 1 ? parts[2] : "", "rows")
        elseif parts[1] == "column"
            rows === nothing && throw(MalformedFrame("A column stands before `rows`."))
            push!(columns, read_column(parts, rows, data))
        else
            push!(fields, map(unescape, parts))
        end
    end
    eof(data) || throw(MalformedFrame("The frame's body has $(bytesavailable(data)) bytes more than its columns."))
    return Frame(unescape(lines[1]), fields, rows, columns)
end

function header_lines(header::Vector{UInt8})
    isvalid(String, header) || throw(MalformedFrame("The frame's header is not UTF-8."))
    if isempty(header) || header[end] != 0x0a || 0x00 in header
        throw(MalformedFrame("The frame's header does not end with a line end, or has a NUL."))
    end
    return split(String(header[1:end-1]), '\n')
end

function natural(text::AbstractString, what::String)
    if isempty(text) || ncodeunits(text) > MAX_DIGITS || !all(c -> '0' <= c <= '9', text)
        throw(MalformedFrame("The frame's header gives $(repr(text)) for $what, not a whole number."))
    end
    return parse(Int, text)
end

function read_column(parts::Vector, rows::Int, data::IOBuffer)
    if length(parts) != 5 || !(parts[5] == "0" || parts[5] == "1")
        throw(MalformedFrame("The column line $(repr(join(parts, '\t'))) is not name, type, bytes, flag."))
    end
    name, type, size, flagged = unescape(parts[2]), parts[3], natural(parts[4], "a column's bytes"), parts[5] == "1"
    if size + (flagged ? rows : 0) > bytesavailable(data)
        throw(MalformedFrame("The column $(repr(name)) reaches beyond the frame's body."))
    end
    values = read_values(name, type, rows, size, data)
    flagged || return Column(name, values)
    type == "float64" && throw(MalformedFrame("The float64 column $(repr(name)) has a validity block."))
    return Column(name, with_missing(values, read_flags(rows, data)))
end

function read_values(name, type, rows::Int, size::Int, data::IOBuffer)
    if type == "float64" && size == 8rows
        return read!(data, Vector{Float64}(undef, rows))
    elseif type == "int64" && size == 8rows
        return read!(data, Vector{Int64}(undef, rows))
    elseif type == "bool" && size == rows
        return read_flags(rows, data)
    elseif type == "string" && size >= rows
        return read_strings(rows, read(data, size))
    end
    throw(MalformedFrame("The data of the $type column $(repr(name)) does not fit $rows rows, or its type is unknown."))
end

function read_flags(rows::Int, data::IOBuffer)
    bytes = read(data, rows)
    all(<=(0x01), bytes) || throw(MalformedFrame("A byte that says true or false is neither 0 nor 1."))
    return map(==(0x01), bytes)
end

function read_strings(rows::Int, bytes::Vector{UInt8})
    isvalid(String, bytes) || throw(MalformedFrame("A string column is not UTF-8."))
    values = Vector{String}(undef, rows)
    start = 1
    for row in 1:rows
        stop = findnext(==(0x00), bytes, start)
        stop === nothing && throw(MalformedFrame("A string column has $(row - 1) strings for $rows rows."))
        values[row] = String(bytes[start:stop-1])
        start = stop + 1
    end
    start == length(bytes) + 1 || throw(MalformedFrame("A string column has more than its $rows strings."))
    return values
end

with_missing(values::Vector{T}, there::Vector{Bool}) where {T} =
    Union{Missing,T}[ok ? value : missing for (value, ok) in zip(values, there)]

# ---- writing ----

"""
    frame_bytes(frame) -> Vector{UInt8}

The frame as it stands on the wire. Throws `ArgumentError` for a NUL and for a frame over the limits.
"""
function frame_bytes(frame::Frame)
    header, body = IOBuffer(), IOBuffer()
    print(header, escape(frame.verb), '\n')
    for parts in frame.fields
        print(header, join(map(escape, parts), '\t'), '\n')
    end
    frame.rows === nothing || print(header, "rows\t", frame.rows, '\n')
    for column in frame.columns
        write_column(header, body, column.name, column.values)
    end
    return seal(take!(header), take!(body))
end

function seal(header::Vector{UInt8}, body::Vector{UInt8})
    if length(header) > MAX_HEADER || length(body) > MAX_BODY
        throw(ArgumentError("A frame of $(length(header)) + $(length(body)) bytes is over the limit."))
    end
    out = IOBuffer(sizehint = PREFIX_BYTES + length(header) + length(body))
    write(out, MAGIC, htol(UInt32(length(header))), htol(UInt32(length(body))), header, body)
    return take!(out)
end

function write_column(header::IOBuffer, body::IOBuffer, name::String, values::AbstractVector)
    type = wire_type(nonmissingtype(eltype(values)))
    size = write_values(body, values)
    flagged = type != "float64" && any(ismissing, values)
    flagged && write(body, map(v -> UInt8(!ismissing(v)), values))
    print(header, "column\t", escape(name), '\t', type, '\t', size, '\t', flagged ? '1' : '0', '\n')
    return nothing
end

wire_type(::Type{Float64}) = "float64"
wire_type(::Type{Int64}) = "int64"
wire_type(::Type{Bool}) = "bool"
wire_type(::Type{String}) = "string"

write_values(body, values::Vector{<:Union{Float64,Int64,Bool}}) = write(body, values)
write_values(body, values::Vector{Union{Missing,Float64}}) = write_values(body, filled(values, NaN))
write_values(body, values::Vector{Union{Missing,Int64}}) = write_values(body, filled(values, 0))
write_values(body, values::Vector{Union{Missing,Bool}}) = write_values(body, filled(values, false))
write_values(body, values::Vector{Union{Missing,String}}) = write_values(body, filled(values, ""))

filled(values::Vector, filler::T) where {T} = T[coalesce(value, filler) for value in values]

function write_values(body, values::Vector{String})
    size = 0
    for value in values
        if 0x00 in codeunits(value) || !isvalid(value)
            throw(ArgumentError("A string has a NUL or is not UTF-8: $(repr(first(value, 80)))."))
        end
        size += write(body, value, 0x00)
    end
    return size
end

function escape(text::AbstractString)
    '\0' in text && throw(ArgumentError("A name or field of a frame has a NUL."))
    any(c -> c == '\\' || c == '\t' || c == '\n' || c == '\r', text) || return text
    text = replace(text, '\\' => "\\\\")           # first, so that it does not meet the others' backslashes
    return replace(replace(replace(text, '\t' => "\\t"), '\n' => "\\n"), '\r' => "\\r")
end

const ESCAPED = Dict("\\\\" => "\\", "\\t" => "\t", "\\n" => "\n", "\\r" => "\r")

function unescape(text::AbstractString)
    '\\' in text || return String(text)
    return replace(text, r"\\." => found -> get(ESCAPED, found, found))
end
