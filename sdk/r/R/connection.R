# One HTTP request to the yard: where it is, who we are, and what its errors say.

# Address and token: YARD_URL and YARD_TOKEN, else what `yard login` remembers.
yard_connection <- function() {
  found <- list(url = Sys.getenv("YARD_URL"), token = Sys.getenv("YARD_TOKEN"))
  if (!nzchar(found$url)) found <- read_login(login_file())
  if (is.null(found$url) || !nzchar(found$url)) {
    yard_stop("There is no yard to talk to.", "Run `yard login URL`, or set YARD_URL and YARD_TOKEN.", "yard_no_login")
  }
  if (is.null(found$token) || !nzchar(found$token)) {
    yard_stop(
      paste0("There is no token for ", found$url, "."), "Run `yard login URL`, or set YARD_TOKEN.", "yard_no_login"
    )
  }
  list(url = sub("/+$", "", found$url), token = found$token)
}

login_file <- function() {
  config <- Sys.getenv("XDG_CONFIG_HOME")
  if (!nzchar(config)) config <- file.path(Sys.getenv("HOME"), ".config")
  file.path(config, "modelyard", "login")
}

# The two lines `url = …` and `token = …`, or an empty list.
read_login <- function(path) {
  if (!file.exists(path)) return(list())
  lines <- grep("=", readLines(path, warn = FALSE), fixed = TRUE, value = TRUE)
  values <- as.list(trimws(sub("^[^=]*=", "", lines)))
  names(values) <- trimws(sub("=.*$", "", lines))
  values
}

# Sends one request and gives its answer as an R list (`parse = FALSE`: as JSON text).
#   path   pieces of the address, each encoded
#   query  named list; a NULL is left out
#   body   list(data = raw or one string, type = content type), or NULL
yard_request <- function(method, path, query = list(), body = NULL, timeout = 120, parse = TRUE) {
  connection <- yard_connection()
  pieces <- vapply(path, utils::URLencode, "", reserved = TRUE, USE.NAMES = FALSE)
  request <- httr2::request(paste(c(connection$url, pieces), collapse = "/"))
  request <- httr2::req_method(request, method)
  request <- httr2::req_headers(request, Authorization = paste("Bearer", connection$token), Accept = "application/json")
  request <- do.call(httr2::req_url_query, c(list(request), query[nzchar(unlist(query))]))
  # A redirect would carry the token elsewhere.
  request <- httr2::req_options(httr2::req_timeout(request, timeout), followlocation = FALSE)
  if (!is.null(body)) request <- httr2::req_body_raw(request, body$data, body$type)
  request <- httr2::req_error(request, is_error = function(response) FALSE)
  response <- tryCatch(httr2::req_perform(request), error = function(e) unreachable(connection$url, e))
  text <- response_text(response)
  if (httr2::resp_status(response) >= 300L) refuse(httr2::resp_status(response), text)
  if (parse) jsonlite::fromJSON(text, simplifyVector = FALSE) else text
}

# An empty body is an error to some releases of httr2, and an empty string to others.
response_text <- function(response) {
  text <- tryCatch(httr2::resp_body_string(response, "UTF-8"), error = function(e) "")
  if (nzchar(text)) text else "null"
}

json_body <- function(value) {
  list(data = as.character(jsonlite::toJSON(value, auto_unbox = TRUE)), type = "application/json")
}

unreachable <- function(url, error) {
  # httr2's own message is general; curl's, which says why, is its parent.
  why <- conditionMessage(if (is.null(error$parent)) error else error$parent)
  yard_stop(paste0("The yard at ", url, " does not answer: ", why, "."), "Is it running, and is the address right?", "yard_unreachable")
}

# The error a problem+json answer describes.
refuse <- function(status, text) {
  problem <- tryCatch(jsonlite::fromJSON(text, simplifyVector = FALSE), error = function(e) list())
  detail <- problem$detail
  if (is.null(detail)) detail <- paste0("The yard answered with the HTTP status ", status, ".")
  hint <- if (is.null(problem$hint)) "" else problem$hint
  yard_stop(detail, hint, "yard_refused", status = status, problem = problem)
}
