# The R worker: questions come on file descriptor 3, answers leave on 4 (contract/wire.md). Standard output and
# standard error are logs, so a model may print what it likes.

local({
  # Started by hand, 4 may be any file R has open, this one too: it would be overwritten.
  ends <- Sys.readlink(c("/dev/fd/3", "/dev/fd/4"))
  if (any(nzchar(ends) & !startsWith(ends, "pipe:"))) {
    cat("The R worker is started by the yard, with pipes as its file descriptors 3 and 4.\n", file = stderr())
    quit("no", status = 64L)
  }
  # The worker's own functions live apart from the model's: a model's code sees, and may change, the global
  # environment only.
  yard <- new.env(parent = asNamespace("stats"))
  folder <- dirname(sub("^--file=", "", grep("^--file=", commandArgs(FALSE), value = TRUE)[1L]))
  files <- c("frames.R", "inputs.R", "answers.R", "load.R", "serve.R")
  families <- list.files(file.path(folder, "families"), "[.]R$")
  for (file in c(files, file.path("families", families))) sys.source(file.path(folder, file), envir = yard)
  quit("no", status = yard$serve(file("/dev/fd/3", "rb", raw = TRUE), file("/dev/fd/4", "wb", raw = TRUE)))
})
