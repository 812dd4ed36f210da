# From a fitted model to a version that serves, in one call (man/yard_publish.Rd).
yard_publish <- function(model, ref, example, metrics = list(), alias = NULL, why = "", description = "",
                         code = character(), missing = character(), packages = character(), lineage = list(),
                         wait = TRUE) {
  reference <- parse_model(ref)
  yard_connection() # without a yard to talk to, say so before the work
  dir <- tempfile("bundle")
  on.exit(unlink(c(dir, paste0(dir, ".tar")), recursive = TRUE))
  yard_save(model, dir, example, metrics, description, code, missing, packages, lineage)
  version <- send_bundle(dir, reference, alias, why)
  if (wait) version <- wait_for_check(version, reference)
  message("Published ", version_text(version), ".")
  invisible(version)
}

# Sends a bundle's folder; the value is the version's record.
send_bundle <- function(dir, reference, alias, why) {
  file <- paste0(dir, ".tar")
  write_tar(dir, file)
  body <- list(data = readBin(file, "raw", file.size(file)), type = "application/x-tar")
  query <- list(alias = alias, why = why)
  yard_request("POST", model_path(reference, "versions"), query, body, timeout = 600)
}

write_tar <- function(dir, file) {
  file <- file.path(normalizePath(dirname(file)), basename(file))
  back <- setwd(dir)
  on.exit(setwd(back))
  files <- list.files(".", recursive = TRUE, all.files = TRUE, no.. = TRUE)
  utils::tar(file, files, compression = "none", tar = "internal")
}

# Follows the check of a version, and raises an error where it fails.
wait_for_check <- function(version, reference) {
  shown <- ""
  while (!version$state %in% c("checked", "failed")) {
    progress <- text_of(version$progress)
    if (nzchar(progress) && progress != shown) message(progress)
    shown <- progress
    version <- yard_request("GET", model_path(reference, "versions", version$version), list(wait = "30"))
  }
  if (version$state == "checked") return(version)
  yard_stop(
    paste0(version_text(version), " failed its check: ", text_of(version$reason)),
    paste(c("The version is kept; correct the model and publish again.", log_end(version$log)), collapse = "\n"),
    "yard_check_failed", version = version
  )
}

LOG_LINES <- 20L

log_end <- function(log) {
  lines <- utils::tail(strsplit(text_of(log), "\n", fixed = TRUE)[[1L]], LOG_LINES)
  if (length(lines)) c("The end of its log:", lines)
}

# `finance/fuel-cost/3 (checked, @champion)`
version_text <- function(version) {
  about <- c(version$state, sprintf("@%s", unlist(version$aliases)))
  paste0(version$model, "/", version$version, " (", toString(about), ")")
}

text_of <- function(x) if (is.null(x)) "" else as.character(x)
