# What a person can meet: what happened and why, then what to do next.

# Raises a condition of the classes `class`, `yard_error` and `error`, with `detail`, `hint` and `...` as its fields.
yard_stop <- function(detail, hint = "", class = NULL, ...) {
  message <- trimws(paste(detail, hint))
  fields <- list(message = message, call = NULL, detail = detail, hint = hint, ...)
  stop(structure(class = c(class, "yard_error", "error", "condition"), fields))
}
