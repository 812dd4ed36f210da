# A model's numbers as data (contract/numbers.md): named values, each a column of doubles with one value a row, made of
# the inputs and of values before it. A book collects them; `write_book` writes their frames.

# The model stays with R; the words say what of it has no place in the format.
not_expressed <- function(...) {
  stop(structure(class = c("not_expressed", "error", "condition"), list(message = paste0(...), call = NULL)))
}

# An empty book. `plan`: the inputs as `input_plan` gives them, `type` the type of each.
new_book <- function(plan, type) {
  book <- new.env()
  book$plan <- plan
  book$type <- stats::setNames(type, plan$names)
  book$frames <- list()
  book$known <- list() # what a value was made of -> its name, so that nothing is written twice
  book$count <- 0L
  book
}

# Adds a frame that defines one value, or as many as `count`; the value: their names.
add <- function(book, verb, fields, rows = NULL, columns = list(), count = 1L) {
  made <- list(verb, fields, columns, count)
  for (each in book$known) if (identical(each$made, made)) return(each$names)
  names <- paste0("v", book$count + seq_len(count))
  book$count <- book$count + count
  named <- lapply(names, function(name) c("name", name))
  book$frames[[length(book$frames) + 1L]] <- list(verb = verb, fields = c(named, fields), rows = rows, columns = columns)
  if (verb != "forest" && (length(columns) == 0L || rows < 100)) book$known[[length(book$known) + 1L]] <- list(made = made, names = names)
  names
}

# An input column that is numbers, whole numbers or booleans; a missing value is missing.
input_value <- function(book, column) add(book, "input", list(c("input", column)))

number_value <- function(book, number) add(book, "number", list(), 1, list(number = as.double(number)))

# op of values: see contract/numbers.md for the operations there are.
applied <- function(book, op, ...) add(book, "apply", list(c("op", op), c("of", ...)))

# The value itself; where it is missing, an error that names `words`.
present <- function(book, value, words) add(book, "apply", list(c("op", "present"), c("of", value), c("words", words)))

# The same of an infinite one.
finite <- function(book, value, words) add(book, "apply", list(c("op", "finite"), c("of", value), c("words", words)))

# The numbers that a level, or a number within a range, stands for.
#   levels  text for a column of strings; else list(low, high), and `of` is a value
#   other   what any other value is: "refuse" (an error) or "missing"
string_table <- function(book, column, levels, numbers, other) {
  add(book, "table", list(c("input", column), c("other", other)), length(levels), list(level = levels, number = as.double(numbers)))
}

range_table <- function(book, of, ranges, numbers, other, column = NULL) {
  fields <- c(list(c("of", of), c("other", other)), if (!is.null(column)) list(c("words", column)))
  add(book, "table", fields, length(numbers), list(low = ranges$low, high = ranges$high, number = as.double(numbers)))
}

# The sum of values, each times its weight; the value "" stands for 1.
weighed_sum <- function(book, values, weights) {
  add(book, "sum", list(), length(values), list(value = values, weight = as.double(weights)))
}

regression <- function(book, values, names = "prediction", link = "identity") {
  value <- lapply(values, function(value) c("value", value))
  book$answer <- list(
    verb = "answer", fields = c(list(c("task", "regression"), c("link", link)), value, lapply(names, function(n) c("output", n)))
  )
}

# A classifier: the chances of its classes, or nothing, and the scores whose largest is the label, where that is not
# the chances themselves.
classification <- function(book, labels, chances = character(), scores = character(), link = "identity") {
  kind <- if (is.logical(labels)) "bool" else if (is.integer(labels)) "int64" else "string"
  text <- if (is.logical(labels)) tolower(labels) else as.character(labels)
  several <- function(key, values) lapply(values, function(value) c(key, value))
  fields <- c(list(c("task", "classification"), c("link", link), c("kind", kind)), several("class", text))
  book$answer <- list(verb = "answer", fields = c(fields, several("chance", chances), several("score", scores)))
}

write_book <- function(book, path) {
  con <- file(path, "wb")
  on.exit(close(con))
  write_frame(con, "numbers", list(c("format", "1")))
  for (frame in c(book$frames, list(book$answer))) {
    if (frame$verb %in% c("input", "table") && any(field(frame, "input") %in% book$refuses)) {
      frame$fields <- c(frame$fields, list(c("missing", "refuse")))
    }
    if (frame$verb == "input" && any(field(frame, "input") %in% book$finite)) {
      frame$fields <- c(frame$fields, list(c("infinite", "refuse")))
    }
    columns <- lapply(frame$columns, function(x) if (is.numeric(x)) as.double(x) else as.character(x))
    write_frame(con, frame$verb, frame$fields, frame$rows, columns)
  }
}
