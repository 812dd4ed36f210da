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
