# A tar in POSIX's pax format: plain files, the same bytes for the same files each time.
# Source: POSIX.1-2017, pax, "ustar Interchange Format" and "pax Extended Header".

const TAR_BLOCK = 512
const TAR_NAME = 100                    # bytes of a name in a ustar header

"""
    write_tar(io, folder)

All files of `folder`, sorted by path, with paths relative to it.
"""
function write_tar(io::IO, folder::AbstractString)
    for path in sort!(files_under(folder))
        file = joinpath(folder, path)
        name = replace(path, '\\' => '/')
        ascii_fits = isascii(name) && ncodeunits(name) <= TAR_NAME
        ascii_fits || write_entry(io, "pax", codeunits(pax_record("path", name)), 'x')
        write_entry(io, ascii_fits ? name : "file", read(file), '0')
    end
    write(io, zeros(UInt8, 2TAR_BLOCK))
    return nothing
end

function files_under(folder::AbstractString)
    found = String[]
    for (place, _, names) in walkdir(folder), name in names
        push!(found, relpath(joinpath(place, name), folder))
    end
    return found
end

function write_entry(io::IO, name::String, data::AbstractVector{UInt8}, kind::Char)
    write(io, tar_header(name, length(data), kind), data)
    write(io, zeros(UInt8, mod(-length(data), TAR_BLOCK)))
end

"A ustar header: without owner and time, which are no part of a version."
function tar_header(name::String, size::Int, kind::Char)
    header = zeros(UInt8, TAR_BLOCK)
    put(at, text) = copyto!(header, at, codeunits(text), 1, ncodeunits(text))
    put(1, name)
    put(101, "0000644\0")
    put(109, "0000000\0")
    put(117, "0000000\0")
    put(125, string(size; base = 8, pad = 11) * "\0")
    put(137, "00000000000\0")
    put(149, " "^8)                     # the checksum counts itself as spaces
    put(157, string(kind))
    put(258, "ustar\x0000")
    put(149, string(sum(Int, header); base = 8, pad = 6) * "\0 ")
    return header
end

"`LENGTH key=value\\n`, where LENGTH counts its own digits too."
function pax_record(key::String, value::String)
    rest = " $key=$value\n"
    size = ncodeunits(rest)
    while ncodeunits(string(size)) + ncodeunits(rest) != size
        size = ncodeunits(string(size)) + ncodeunits(rest)
    end
    return "$size$rest"
end
