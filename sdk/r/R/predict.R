# Predictions from a published model (man/yard_predict.Rd).

ROWS_AT_ONCE <- 10000L

yard_predict <- function(ref, rows, ids = FALSE) {
  reference <- parse_reference(ref)
  if (!is.data.frame(rows)) {
    yard_stop(paste0("The rows are of class ", class(rows)[1L], "."), "Give a data.frame with the columns the model takes.")
  }
  rows <- as.data.frame(rows)
  starts <- seq(1L, max(1L, nrow(rows)), by = ROWS_AT_ONCE)
  parts <- lapply(starts, function(start) {
    some <- rows[seq_len(min(ROWS_AT_ONCE, nrow(rows) - start + 1L)) + start - 1L, , drop = FALSE]
    predict_some(reference, some, ids)
  })
  if (is.data.frame(parts[[1L]])) do.call(rbind, parts) else unlist(parts)
}

predict_some <- function(reference, rows, ids) {
  path <- c("models", reference$department, reference$name)
  if (!is.null(reference$alias)) path <- c(path, "aliases", reference$alias)
  if (!is.null(reference$version)) path <- c(path, "versions", reference$version)
  body <- list(data = json_records(rows), type = "application/json")
  text <- yard_request("POST", c(path, "predict"), body = body, parse = FALSE)
  answer <- jsonlite::fromJSON(text)
  predictions <- as_predictions(answer$predictions)
  if (!ids) return(predictions)
  if (!is.data.frame(predictions)) predictions <- data.frame(prediction = predictions)
  # What outcomes are sent with: each request's rows are counted from 0 on.
  data.frame(request_id = answer$request_id, row = seq_len(nrow(predictions)) - 1L, predictions, check.names = FALSE)
}

# A numeric vector; or a data.frame: the outputs of a model with several, or `label` and `probability:CLASS` columns.
as_predictions <- function(predictions) {
  if (!is.data.frame(predictions)) return(as.numeric(predictions))
  chances <- predictions$probabilities
  predictions$probabilities <- NULL
  if (is.data.frame(chances)) predictions[paste0("probability:", names(chances))] <- chances
  predictions
}
