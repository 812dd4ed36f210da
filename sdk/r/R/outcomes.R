# What really happened, for predictions that were recorded (man/yard_outcomes.Rd).

yard_outcomes <- function(model, rows) {
  reference <- parse_reference(model)
  if (!is.data.frame(rows) || !"actual" %in% names(rows)) {
    yard_stop("The outcomes are no data.frame with a column actual.", "Give one with actual, and request_id or key columns.")
  }
  rows <- as.data.frame(rows)
  starts <- seq(1L, max(1L, nrow(rows)), by = ROWS_AT_ONCE)
  counts <- vapply(starts, function(start) {
    some <- rows[seq_len(min(ROWS_AT_ONCE, nrow(rows) - start + 1L)) + start - 1L, , drop = FALSE]
    body <- list(data = json_records(some), type = "application/json")
    path <- c("models", reference$department, reference$name, "outcomes")
    as.integer(jsonlite::fromJSON(yard_request("POST", path, body = body, parse = FALSE))$accepted)
  }, integer(1L))
  sum(counts)
}
