# Reads each frame of a folder and writes it into another; prints the name and reason of those it refuses.
include(joinpath(ARGS[1], "frames.jl"))

function rewrite(path, into)
    bytes = IOBuffer(read(path))
    frame = read_frame(bytes)
    frame === nothing && error("there is no frame")
    eof(bytes) || error("there is more after the frame")
    write(into, frame_bytes(frame))
end

for name in readdir(ARGS[2])
    endswith(name, ".frame") || continue
    try
        rewrite(joinpath(ARGS[2], name), joinpath(ARGS[3], name))
    catch error
        println(name, '\t', sprint(showerror, error))
    end
end
