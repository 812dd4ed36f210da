# What the yard holds, and which version answers. One help page each in man/.

yard_models <- function() {
  records_table(yard_request("GET", c("api", "v1", "models")), c("model", "language", "latest", "champion", "aliases", "created_by", "created_at"))
}

yard_show <- function(ref) {
  reference <- parse_reference(ref)
  if (is.null(reference$alias) && is.null(reference$version)) return(yard_request("GET", model_path(reference)))
  yard_request("GET", model_path(reference, "versions", version_number(reference)))
}

yard_versions <- function(model) {
  answer <- yard_request("GET", model_path(parse_model(model), "versions"))
  records_table(answer, c("version", "state", "aliases", "form", "size", "created_by", "created_at", "reason"))
}

yard_promote <- function(ref, why = "") {
  reference <- parse_reference(ref)
  number <- version_number(reference)
  body <- json_body(list(version = number, why = why))
  answer <- yard_request("PUT", model_path(reference, "aliases", "champion"), body = body)
  message(reference$model, "/", number, " is @champion now.")
  invisible(answer)
}

yard_rollback <- function(model, why = "") {
  reference <- parse_model(model)
  answer <- yard_request("POST", model_path(reference, "rollback"), body = json_body(list(why = why)))
  champion <- yard_request("GET", model_path(reference))$champion
  message(reference$model, "/", champion, " is @champion again.")
  invisible(answer)
}

yard_history <- function(model) {
  answer <- yard_request("GET", model_path(parse_model(model), "history"))
  records_table(answer, c("at", "alias", "before", "after", "by", "why"))
}

yard_whoami <- function() yard_request("GET", c("api", "v1", "whoami"))

# The number of the version a reference names, looking an alias up.
version_number <- function(reference) {
  if (!is.null(reference$version)) return(reference$version)
  if (is.null(reference$alias)) {
    yard_stop(paste0("'", reference$model, "' names no version."), paste0("Write ", reference$model, "/7 or ", reference$model, "@alias."))
  }
  number <- yard_request("GET", model_path(reference))$aliases[[reference$alias]]
  if (is.null(number)) {
    yard_stop(paste0(reference$model, " has no alias ", reference$alias, "."), "yard_show() lists its aliases.")
  }
  number
}

# Records as a data.frame with these columns; a list inside one becomes text.
records_table <- function(records, columns) {
  values <- lapply(columns, function(name) simplify(lapply(records, `[[`, name)))
  names(values) <- columns
  as.data.frame(values, stringsAsFactors = FALSE)
}

simplify <- function(values) {
  cells <- lapply(values, function(x) {
    if (is.null(x)) return(NA)
    if (!is.list(x)) return(x)
    toString(if (is.null(names(x))) unlist(x) else paste0(names(x), "=", unlist(x), recycle0 = TRUE))
  })
  if (length(cells)) unlist(cells) else character()
}
