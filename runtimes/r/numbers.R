# Writes a model's numbers as data (contract/numbers.md), once: a process of its own, in the worker's walls.
#
#     Rscript --vanilla numbers.R FOLDER      (the question: the `load` frame of a worker, on standard input)
#
# FOLDER gets `numbers.frames`, or `refused.txt` with the reason, and then the exit code is 3.

local({
  yard <- new.env(parent = asNamespace("stats"))
  folder <- dirname(sub("^--file=", "", grep("^--file=", commandArgs(FALSE), value = TRUE)[1L]))
  for (file in c("frames.R", "inputs.R", "answers.R", "load.R")) sys.source(file.path(folder, file), envir = yard)
  for (inner in c("families", "numbers")) {
    for (file in list.files(file.path(folder, inner), "[.]R$", full.names = TRUE)) sys.source(file, envir = yard)
  }
  quit("no", status = yard$tell_numbers(commandArgs(TRUE)[1L]))
})
