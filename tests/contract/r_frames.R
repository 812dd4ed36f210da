# Reads every frame of a folder and writes it again into another; what it refuses it says on a line: name, TAB, why.
arguments <- commandArgs(TRUE)
yard <- new.env()
sys.source(file.path(arguments[1L], "frames.R"), envir = yard)
for (path in list.files(arguments[2L], "[.]frame$", full.names = TRUE)) {
  source <- file(path, "rb")
  frame <- tryCatch(yard$read_frame(source), malformed = conditionMessage)
  close(source)
  if (is.null(frame)) frame <- "no frame"
  if (is.character(frame)) {
    cat(basename(path), "\t", frame, "\n", sep = "")
    next
  }
  copy <- file(file.path(arguments[3L], basename(path)), "wb")
  yard$write_frame(copy, frame$verb, frame$fields, frame$rows, frame$columns)
  close(copy)
}
