# Predictions from a published model (man/yard_predict.Rd).

ROWS_AT_ONCE <- 10000L

yard_predict <- function(ref, rows) {
  reference <- parse_reference(ref)
  if (!is.data.frame(rows)) {
    yard_stop(paste0("The rows are of class ", class(rows)[1L], "."), "Give a data.frame with the columns the model takes.")
  }
  rows <- as.data.frame(rows)
  starts <- seq(1L, max(1L, nrow(rows)), by = ROWS_AT_ONCE)
  parts <- lapply(starts, function(start) {
    some <- rows[seq_len(min(ROWS_AT_ONCE, nrow(rows) - start + 1L)) + start - 1L, , drop = FALSE]
    predict_some(reference, some)
  })
  if (is.data.frame(parts[[1L]])) do.call(rbind, parts) else unlist(parts)
}

predict_some <- function(reference, rows) {
  path <- c("models", reference$department, reference$name)
  if (!is.null(reference$alias)) path <- c(path, "aliases", reference$alias)
  if (!is.null(reference$version)) path <- c(path, "versions", reference$version)
  body <- list(data = json_records(rows), type = "application/json")
  text <- yard_request("POST", c(path, "predict"), body = body, parse = FALSE)
  as_predictions(jsonlite::fromJSON(text)$predictions)
}

# A numeric vector; or a data.frame: the outputs of a model with several, or `label` and `probability:CLASS` columns.
as_predictions <- function(predictions) {
  if (!is.data.frame(predictions)) return(as.numeric(predictions))
  chances <- predictions$probabilities
  predictions$probabilities <- NULL
  if (is.data.frame(chances)) predictions[paste0("probability:", names(chances))] <- chances
  predictions
}
