# Frames: the encoding between the yard and this worker, specified in contract/wire.md.
#
# A frame is list(verb, fields, rows, columns):
#   fields   list of character vectors (key, values ...), all but `rows` and `column`; a key may repeat
#   rows     a whole number, or NULL
#   columns  named list of vectors: double is float64, logical is bool, character is string (NA where a
#            value is missing). int64, which R has no type for, is `int64_bits`: the raw bytes as they are.

MAGIC <- charToRaw("YRD1")
NUL <- as.raw(0)
LINE_END <- as.raw(10)
MAX_HEADER <- 4194304
MAX_BODY <- 2147483647
TYPES <- c("float64", "int64", "bool", "string")

# Ends the reading of a frame that breaks the contract.
malformed <- function(...) {
  stop(structure(class = c("malformed", "error", "condition"), list(message = paste0(...), call = NULL)))
}

# The next frame of a binary connection, or NULL where it ends. Signals `malformed`.
read_frame <- function(con) {
  prefix <- readBin(con, "raw", 12L)
  if (length(prefix) == 0L) return(NULL)
  if (length(prefix) < 12L) malformed("The frame is cut short in its first 12 bytes.")
  if (!identical(prefix[1:4], MAGIC)) malformed("A frame begins with YRD1, this one does not.")
  sizes <- readBin(prefix[5:12], "integer", 2L, endian = "little")
  # R has no unsigned integers: 2^31 and more read as negative, or as NA.
  if (anyNA(sizes) || any(sizes < 0L) || sizes[1L] > MAX_HEADER) {
    malformed("The frame's prefix gives a length over the limit.")
  }
  frame <- parse_header(readBin(con, "raw", sizes[1L]), sizes[1L])
  layout <- frame$layout
  if (layout$body != sizes[2L]) {
    malformed("The frame's columns do not take the ", sizes[2L], " bytes of its body.")
  }
  columns <- vector("list", length(layout$size))
  for (i in seq_along(columns)) {
    columns[[i]] <- read_column(con, layout$type[i], layout$size[i], layout$flag[i] == 1, frame$rows)
  }
  names(columns) <- layout$name
  list(verb = frame$verb, fields = frame$fields, rows = frame$rows, columns = columns)
}

# Verb, fields, rows and the columns' layout out of the header's bytes.
parse_header <- function(bytes, size) {
  if (length(bytes) < size) malformed("The frame is cut short in its header.")
  if (size == 0L || bytes[size] != LINE_END || NUL %in% bytes) {
    malformed("The frame's header does not end with a line end, or has a NUL.")
  }
  text <- rawToChar(bytes)
  if (!validUTF8(text)) malformed("The frame's header is not UTF-8.")
  Encoding(text) <- "UTF-8"
  # Questions to one model differ in their `id` alone, and what follows is read once: half of a one-row frame's cost.
  at <- regexpr("\nrows\t", text, fixed = TRUE)
  head <- if (at > 0L) substr(text, 1L, at) else text
  if (grepl("\ncolumn\t", head, fixed = TRUE)) malformed("A column stands before `rows`.")
  head <- split_lines(head)
  table <- if (at > 0L) parse_table(substr(text, at + 1L, nchar(text))) else list(layout = layout_of(list(), 0))
  list(verb = head[[1L]][1L], fields = c(head[-1L], table$fields), rows = table$rows, layout = table$layout)
}

# The tables read last, in a ring. Not an environment by their text: R keeps such names for ever.
RING <- 64L
recent <- new.env()
recent$texts <- character(RING)
recent$tables <- vector("list", RING)
recent$next_place <- 1L

# `rows` and the columns' layout (name, type, size, flag), and fields between them that we do not know.
parse_table <- function(text) {
  place <- match(text, recent$texts)
  if (!is.na(place)) return(recent$tables[[place]])
  parts <- split_lines(text)
  keys <- vapply(parts, `[`, "", 1L)
  rows <- natural(parts[[1L]][2L])
  table <- list(
    rows = rows,
    fields = parts[!keys %in% c("rows", "column")],
    layout = layout_of(parts[keys == "column"], rows)
  )
  place <- recent$next_place
  recent$texts[place] <- text
  recent$tables[[place]] <- table
  recent$next_place <- place %% RING + 1L
  table
}

# The lines of a piece of a header, each as its unescaped key and values.
split_lines <- function(text) {
  lines <- strsplit(text, "\n", fixed = TRUE)[[1L]]
  # strsplit drops one empty piece at the end: the added TAB is that piece.
  parts <- strsplit(paste0(lines, "\t"), "\t", fixed = TRUE)
  if (grepl("\\", text, fixed = TRUE)) lapply(parts, unescape) else parts
}

# Names, types, byte sizes and validity flags of the column lines.
layout_of <- function(parts, rows) {
  if (any(lengths(parts) != 5L)) malformed("A column line is not name, type, bytes, flag.")
  table <- matrix(as.character(unlist(parts)), nrow = 5L)
  type <- table[3L, ]
  size <- natural(table[4L, ])
  flag <- match(table[5L, ], c("0", "1")) - 1
  if (anyNA(flag) || !all(type %in% TYPES)) malformed("A column's type or validity flag is unknown.")
  width <- c(8, 8, 1, NA)[match(type, TYPES)]
  if (any(size != width * rows, na.rm = TRUE) || any(flag[type == "float64"] == 1)) {
    malformed("A column's data does not fit ", rows, " rows.")
  }
  list(name = table[2L, ], type = type, size = size, flag = flag, body = sum(size, flag * rows))
}

# Whole numbers, as doubles, out of their decimal digits.
natural <- function(text) {
  if (!all(grepl("^[0-9]{1,10}$", text))) malformed("The frame's header has no whole number where one belongs.")
  as.double(text)
}

# One column's values from the connection.
read_column <- function(con, type, size, has_validity, rows) {
  if (type == "float64") {
    values <- readBin(con, "double", rows, endian = "little")
    if (length(values) < rows) malformed("The frame is cut short in its body.")
    return(values)
  }
  data <- readBin(con, "raw", size)
  valid <- if (has_validity) readBin(con, "raw", rows)
  if (length(data) < size || (has_validity && length(valid) < rows)) malformed("The frame is cut short in its body.")
  if (has_validity && any(valid > as.raw(1))) malformed("A validity byte is neither 0 nor 1.")
  if (type == "int64") return(int64_bits(data, valid))
  if (type == "bool" && any(data > as.raw(1))) malformed("A bool is neither 0 nor 1.")
  values <- if (type == "bool") as.logical(data) else strings_of(data, rows)
  if (has_validity) values[valid == NUL] <- NA
  values
}

# The strings of a block of `rows` NUL-terminated UTF-8 strings.
strings_of <- function(block, rows) {
  size <- length(block)
  if (sum(block == NUL) != rows || (size > 0L && block[size] != NUL)) {
    malformed("A string column does not hold ", rows, " strings.")
  }
  values <- readBin(block, "character", rows)
  if (!all(validUTF8(values))) malformed("A string column is not UTF-8.")
  Encoding(values) <- "UTF-8"
  values
}

# A whole int64 column, kept as bytes: R's own integers have 32 bits, its doubles hold 53.
int64_bits <- function(bytes, valid = NULL) structure(bytes, valid = valid, class = "int64_bits")

# An R integer vector as an int64 column.
as_int64_bits <- function(x) {
  missing <- is.na(x)
  x[missing] <- 0L
  words <- rbind(x, ifelse(x < 0L, -1L, 0L), deparse.level = 0L)
  bytes <- writeBin(as.vector(words), raw(), endian = "little")
  int64_bits(bytes, if (any(missing)) as.raw(!missing))
}

# Writes a frame to a binary connection and flushes it.
# `fields` and `columns` as in a frame that was read; the header's order is the contract's.
write_frame <- function(con, verb, fields = list(), rows = NULL, columns = list()) {
  names <- names(columns)
  if (any(grepl(TO_ESCAPE, c(verb, unlist(fields), names)))) {
    verb <- escape(verb)
    fields <- lapply(fields, escape)
    names <- escape(names)
  }
  lines <- c(verb, vapply(fields, paste, "", collapse = "\t"))
  if (!is.null(rows)) lines <- c(lines, paste0("rows\t", whole(rows)))
  body <- 0
  for (i in seq_along(columns)) {
    x <- columns[[i]] <- encode_column(columns[[i]])
    flag <- if (is.null(x$valid)) "\t0" else "\t1"
    lines <- c(lines, paste0("column\t", names[i], "\t", x$type, "\t", whole(x$size), flag))
    body <- body + x$size + length(x$valid)
  }
  header <- charToRaw(enc2utf8(paste0(lines, "\n", collapse = "")))
  if (length(header) > MAX_HEADER || body > MAX_BODY) stop("A frame of ", body, " bytes is over the limit.")
  sizes <- writeBin(c(length(header), as.integer(body)), raw(), endian = "little")
  writeBin(c(MAGIC, sizes, header), con)
  for (x in columns) {
    if (x$size > 0) writeBin(x$data, con, endian = "little")
    if (!is.null(x$valid)) writeBin(x$valid, con)
  }
  flush(con)
}

# A whole number in digits, never as 1e+05.
whole <- function(x) sprintf("%.0f", x)

# A column as it goes out: its type, size in bytes, data for writeBin and validity bytes or NULL.
encode_column <- function(x) {
  if (is.double(x)) return(list(type = "float64", size = 8 * length(x), data = x))
  if (inherits(x, "int64_bits")) {
    data <- as.vector(unclass(x))
    return(list(type = "int64", size = length(data), data = data, valid = attr(x, "valid")))
  }
  missing <- is.na(x)
  valid <- if (any(missing)) as.raw(!missing)
  if (is.logical(x)) {
    return(list(type = "bool", size = length(x), data = as.raw(!missing & x), valid = valid))
  }
  x[missing] <- ""
  x <- enc2utf8(x)
  list(type = "string", size = sum(nchar(x, "bytes") + 1), data = x, valid = valid)
}

TO_ESCAPE <- "[\\\t\n\r]"

escape <- function(x) {
  for (pair in list(c("\\", "\\\\"), c("\t", "\\t"), c("\n", "\\n"), c("\r", "\\r"))) {
    x <- gsub(pair[1L], pair[2L], x, fixed = TRUE)
  }
  x
}

unescape <- function(x) {
  if (!any(grepl("\\", x, fixed = TRUE))) return(x)
  found <- gregexpr("\\\\.", x)
  meaning <- c(`\\\\` = "\\", `\\t` = "\t", `\\n` = "\n", `\\r` = "\r")
  regmatches(x, found) <- lapply(regmatches(x, found), function(code) {
    ifelse(code %in% names(meaning), meaning[code], substring(code, 2L))
  })
  x
}

# The values of the first field with this key; none is character(0).
field <- function(frame, key) {
  for (x in frame$fields) if (x[1L] == key) return(x[-1L])
  character()
}

# The values of every field with this key, a list in their order.
fields_of <- function(frame, key) {
  lapply(Filter(function(x) x[1L] == key, frame$fields), `[`, -1L)
}
