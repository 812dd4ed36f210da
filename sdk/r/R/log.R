# A parameter of this training (man/yard_parameter.Rd).
yard_parameter <- function(name, default = NULL) {
  text <- Sys.getenv("YARD_PARAMETERS", "{}")
  value <- jsonlite::fromJSON(text, simplifyVector = FALSE)[[name]]
  if (is.null(value)) value <- default
  if (is.null(value)) yard_stop(paste0("There is no parameter ", name, "."), "Name it in [parameters] of yard.toml.")
  value
}

# The last value of each metric that yard_log() noted in a folder; one that was not finite is left out.
last_logged <- function(dir) {
  path <- file.path(dir, "metrics.jsonl")
  lines <- if (file.exists(path)) readLines(path, encoding = "UTF-8") else character()
  found <- list()
  for (line in lines) {
    values <- Filter(Negate(is.null), jsonlite::fromJSON(line, simplifyVector = FALSE))
    found[names(values)] <- values
  }
  found$time <- NULL
  found
}

# Metrics on the way: one line of JSON a call, beside the bundle (man/yard_log.Rd).
yard_log <- function(...) {
  values <- list(...)
  good <- vapply(values, function(x) is.numeric(x) && length(x) == 1L, NA)
  if (length(values) == 0L || is.null(names(values)) || !all(nzchar(names(values))) || !all(good)) {
    yard_stop("yard_log() takes named numbers.", "Write yard_log(mae = 12.1, epoch = 3).")
  }
  text <- vapply(values, function(x) if (is.finite(x)) number_text(as.double(x)) else "null", "")
  dir.create(yard_output(), recursive = TRUE, showWarnings = FALSE)
  line <- paste0("{", paste0(quoted(names(values)), ": ", text, collapse = ", "), "}\n")
  cat(line, file = file.path(yard_output(), "metrics.jsonl"), append = TRUE)
  invisible(values)
}
