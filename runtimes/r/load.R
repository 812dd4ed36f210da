# The verb `load`: packages, code files, then the model itself. Only here is a model's file opened.

# What `infer` needs: list(model, plan, takes …). Errors are sentences for the publisher.
load_model <- function(frame) {
  options <- options_of(frame)
  bundle <- field(frame, "bundle")
  entry <- field(frame, "entry")
  if (length(bundle) != 1L || length(entry) != 1L) stop("`load` names no bundle or no entry.")
  compare_r(options$r)
  use_library(file.path(bundle, "environment", "library"))
  attach_packages(options$packages)
  for (file in options$source) sys.source(inside(bundle, file), envir = globalenv())
  inputs <- fields_of(frame, "input")
  list(model = read_model(inside(bundle, entry)), plan = input_plan(inputs, options$ordered))
}

# Packages that came with the model go before the server's.
use_library <- function(folder) if (dir.exists(folder)) .libPaths(c(folder, .libPaths()))

# The `option` fields as a named list; several values of one option stand on lines of their own.
options_of <- function(frame) {
  pairs <- fields_of(frame, "option")
  values <- lapply(pairs, function(x) strsplit(x[2L], "\n", fixed = TRUE)[[1L]])
  names(values) <- vapply(pairs, `[`, "", 1L)
  values
}

# A file of the bundle, never one outside it.
inside <- function(bundle, file) {
  if (startsWith(file, "/") || ".." %in% strsplit(file, "/", fixed = TRUE)[[1L]]) {
    stop("The bundle names a file outside itself: ", file)
  }
  path <- file.path(bundle, file)
  if (!file.exists(path)) stop("The bundle has no file ", file, ".")
  path
}

read_model <- function(path) {
  tryCatch(readRDS(path), error = function(e) {
    stop("The model's file cannot be read by readRDS: ", conditionMessage(e), ". Save it with saveRDS().")
  })
}

# Attached as in the session that made the model: its formulas and functions may name theirs without `pkg::`.
attach_packages <- function(wanted) {
  for (one in strsplit(as.character(wanted), " ", fixed = TRUE)) {
    package <- one[1L]
    version <- one[2L]
    found <- suppressWarnings(suppressPackageStartupMessages(require(package, character.only = TRUE, quietly = TRUE)))
    if (!found) {
      stop(
        "The model needs the R package ", toString(c(package, version[!is.na(version)])), ", which cannot be loaded here",
        package_trouble(package), ". Install it where the yard runs: install.packages(\"", package,
        "\"), or on Debian apt-get install r-cran-", tolower(package), "."
      )
    }
    here <- utils::packageDescription(package, fields = "Version")
    if (!is.na(version) && here != version) {
      say("The model was made with ", package, " ", version, "; here it is ", here, ".")
    }
  }
}

# Why a package that is there cannot be loaded; "" where it is not there at all.
package_trouble <- function(package) {
  if (!nzchar(system.file(package = package))) return("")
  paste0(" (", tryCatch(as.character(loadNamespace(package)), error = conditionMessage), ")")
}

compare_r <- function(version) {
  here <- as.character(getRversion())
  if (length(version) && version != here) say("The model was made with R ", version, "; here it is ", here, ".")
}

say <- function(...) cat(..., "\n", sep = "", file = stderr())
