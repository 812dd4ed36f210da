# Numbers, strings and tables as text: CSV, TOML and JSON as contract/bundle.md wants them.

# Doubles in the fewest of 15 or 17 digits that read back as the same double. NA and NaN are "NaN".
number_text <- function(x) {
  text <- sprintf("%.15g", x)
  size <- abs(x)
  # Outside this range R's own reading is not exact enough to be the judge.
  short <- !is.na(x) & (x == 0 | size > 1e-5 & size < 1e15) & suppressWarnings(as.double(text)) == x
  long <- is.finite(x) & !short
  text[long] <- sprintf("%.17g", x[long])
  text[is.na(x)] <- "NaN"
  text
}

# Strings in the double quotes of JSON and of TOML's basic strings.
quoted <- function(x) {
  x <- enc2utf8(as.character(x))
  if (!all(validUTF8(x))) yard_stop("A text is not valid UTF-8.", "Convert it with iconv() before publishing.")
  x <- gsub("\\", "\\\\", x, fixed = TRUE)
  x <- gsub("\"", "\\\"", x, fixed = TRUE)
  if (any(grepl("[\001-\037\177]", x))) {
    for (code in c(1:31, 127L)) x <- gsub(intToUtf8(code), sprintf("\\u%04x", code), x, fixed = TRUE)
  }
  paste0("\"", x, "\"")
}

# A value as TOML: a string, number or logical of length one, or several strings.
toml_value <- function(x) {
  if (is.character(x)) {
    return(if (length(x) == 1L && is.null(attr(x, "array"))) quoted(x) else paste0("[", toString(quoted(x)), "]"))
  }
  if (is.logical(x)) return(if (x) "true" else "false")
  if (is.integer(x)) return(sprintf("%d", x))
  text <- number_text(x)
  if (grepl("[.e]", text)) text else paste0(text, ".0")
}

# `key = value` lines of a named list; a NULL is left out.
toml_lines <- function(values) {
  values <- Filter(Negate(is.null), values)
  keys <- names(values)
  bare <- grepl("^[A-Za-z0-9_-]+$", keys)
  keys[!bare] <- quoted(keys[!bare])
  paste(keys, "=", vapply(values, toml_value, ""), recycle0 = TRUE)
}

# A strings-only array, also where it has one element.
toml_array <- function(x) structure(x, array = TRUE)

# One column as CSV fields.
csv_fields <- function(x, alone) {
  if (is.factor(x)) x <- as.character(x)
  if (is.integer(x)) return(ifelse(is.na(x), "", sprintf("%d", x)))
  # A row of one empty field is an empty line, which readers pass over; NaN is the same there.
  if (is.double(x)) return(ifelse(is.na(x) & !alone, "", number_text(x)))
  if (is.logical(x)) return(ifelse(is.na(x), "", ifelse(x, "true", "false")))
  text <- paste0("\"", gsub("\"", "\"\"", enc2utf8(as.character(x)), fixed = TRUE), "\"")
  ifelse(is.na(x), "", text)
}

# A named list of columns as a CSV file's lines.
csv_lines <- function(columns) {
  fields <- lapply(columns, csv_fields, alone = length(columns) == 1L)
  c(
    paste(csv_fields(names(columns), FALSE), collapse = ","),
    if (length(columns[[1L]])) do.call(paste, c(unname(fields), sep = ","))
  )
}

# A data.frame as a JSON array of records.
json_records <- function(rows) {
  columns <- Map(json_values, rows, names(rows))
  pairs <- Map(function(name, values) paste0(quoted(name), ":", values, recycle0 = TRUE), names(rows), columns)
  records <- paste0("{", do.call(paste, c(unname(pairs), sep = ",")), "}", recycle0 = TRUE)
  paste0("[", paste(records, collapse = ","), "]")
}

json_values <- function(x, name) {
  if (inherits(x, "POSIXt")) x <- format(x, "%Y-%m-%dT%H:%M:%SZ", tz = "UTC")
  if (is.factor(x) || inherits(x, "Date")) x <- as.character(x)
  if (is.object(x) || !is.null(dim(x)) || !(is.numeric(x) || is.logical(x) || is.character(x))) {
    yard_stop(paste0("The column ", name, " is of class ", class(x)[1L], "."), "Send numbers, text, factors or TRUE and FALSE.")
  }
  if (any(is.infinite(x))) {
    yard_stop(paste0("The column ", name, " has an infinite number, which JSON cannot carry."), "Replace it, or send NA.")
  }
  text <- if (is.character(x)) quoted(x) else if (is.logical(x)) tolower(x) else if (is.integer(x)) sprintf("%d", x) else number_text(x)
  ifelse(is.na(x), "null", text)
}

# Lines into a file, as UTF-8 on every system.
write_lines <- function(lines, path) {
  file <- file(path, "wb")
  on.exit(close(file))
  writeBin(charToRaw(enc2utf8(paste0(lines, "\n", collapse = ""))), file)
}
