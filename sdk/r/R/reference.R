# Names and references: `department/name`, `department/name@alias`, `department/name/7`.

# list(department, name, model, alias, version), alias and version NULL where the text has none.
parse_reference <- function(text) {
  if (!is.character(text) || length(text) != 1L || is.na(text)) {
    yard_stop("A reference to a model is one string.", "Write department/name, department/name@alias or department/name/7.")
  }
  name <- "([a-z][a-z0-9-]{0,62})"
  pattern <- paste0("^", name, "/", name, "(@", name, "|/([1-9][0-9]{0,8}))?$")
  parts <- regmatches(text, regexec(pattern, text))[[1L]]
  if (length(parts) == 0L) {
    yard_stop(
      paste0(encodeString(substr(text, 1L, 80L), quote = "'"), " is not a reference to a model."),
      paste(
        "Write department/name, department/name@alias or department/name/7. Names have 1 to 63 characters:",
        "small letters a to z, digits and '-', beginning with a letter."
      )
    )
  }
  list(
    department = parts[2L], name = parts[3L], model = paste0(parts[2L], "/", parts[3L]),
    alias = if (nzchar(parts[5L])) parts[5L], version = if (nzchar(parts[6L])) as.integer(parts[6L])
  )
}

# The model alone, where a version or alias makes no sense.
parse_model <- function(text) {
  reference <- parse_reference(text)
  if (!is.null(reference$alias) || !is.null(reference$version)) {
    yard_stop(paste0("'", text, "' names a version."), paste0("Write ", reference$model, "."))
  }
  reference
}

# The pieces of an address under /api/v1/models.
model_path <- function(reference, ...) c("api", "v1", "models", reference$department, reference$name, ...)
