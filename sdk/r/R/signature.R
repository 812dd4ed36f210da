# The signature: what a model takes, as its example shows it.

CATEGORIES <- 100L # more different strings than this are not listed

# One list(name, type, missing, levels, categories, low, high, example) a column of the example.
#   may_miss  names of the columns whose values may be missing though the example has them all; TRUE for all
infer_inputs <- function(example, may_miss = character()) {
  if (nrow(example) == 0L || ncol(example) == 0L) {
    yard_stop("The example has no rows or no columns.", "Give a few rows of what the model takes, as in example = head(d, 20).")
  }
  if (anyDuplicated(names(example))) {
    yard_stop(paste0("The example has the column ", names(example)[anyDuplicated(names(example))], " twice."), "Rename one of them.")
  }
  unknown <- if (is.character(may_miss)) setdiff(may_miss, names(example))
  if (length(unknown)) yard_stop(paste0("`missing` names ", toString(unknown), ", which the model does not take."))
  Map(function(x, name) {
    infer_column(x, name, anyNA(x) || isTRUE(may_miss) || name %in% may_miss)
  }, unname(as.list(example)), names(example))
}

infer_column <- function(x, name, missing) {
  x <- check_column(x, name)
  there <- x[!is.na(x)]
  seen <- if (is.character(x)) sort(unique(as_text(there, name)), method = "radix")
  finite <- if (is.numeric(there)) there[is.finite(there)]
  list(
    name = enc2utf8(name),
    type = type_name(x),
    missing = if (missing) TRUE,
    levels = if (is.factor(x)) toml_array(as_text(levels(x), name)),
    categories = if (length(seen) && length(seen) <= CATEGORIES) toml_array(seen),
    low = if (length(finite)) as.double(min(finite)),
    high = if (length(finite)) as.double(max(finite)),
    example = if (length(there)) csv_example(there[1L])
  )
}

# The column itself if a yard can carry it.
check_column <- function(x, name) {
  if (is.factor(x)) {
    if (nlevels(x) == 0L) yard_stop(paste0("The factor ", name, " has no levels."), "Give an example with its levels.")
    return(x)
  }
  if (inherits(x, c("Date", "POSIXt", "difftime"))) {
    yard_stop(
      paste0("The column ", name, " is a ", class(x)[1L], ", which a yard does not carry."),
      paste0("Give the model numbers instead, as in as.integer(format(", name, ", \"%j\")) or as.numeric(", name, "), and publish that.")
    )
  }
  if (is.object(x) || !is.null(dim(x)) || !(is.numeric(x) || is.logical(x) || is.character(x))) {
    yard_stop(
      paste0("The column ", name, " is of class ", class(x)[1L], ", which a yard does not carry."),
      "A column holds numbers, text, TRUE and FALSE, or a factor."
    )
  }
  x
}

as_text <- function(x, name) {
  text <- enc2utf8(as.character(x))
  if (!all(validUTF8(text))) {
    yard_stop(paste0("The column ", name, " has text that is not valid UTF-8."), "Convert it with iconv() before publishing.")
  }
  text
}

# One value as text, to fill forms with.
csv_example <- function(x) {
  if (is.character(x) || is.factor(x)) return(as_text(x, ""))
  csv_fields(x, alone = TRUE)
}

# What the runtime is told of the inputs: name, type, flag, levels.
input_lines <- function(inputs) {
  lapply(inputs, function(x) c(x$name, x$type, if (isTRUE(x$missing)) "1" else "0", x$levels))
}

# The example's columns as the worker gets them: text for factors, doubles for integers.
wire_columns <- function(example) {
  lapply(as.list(example), function(x) {
    if (is.integer(x) && !is.factor(x)) as.double(x) else if (is.factor(x)) enc2utf8(as.character(x)) else x
  })
}

# One list(name, type) a column of the answers.
infer_outputs <- function(answers) {
  Map(function(x, name) list(name = name, type = type_name(x)), unname(answers), names(answers))
}

type_name <- function(x) {
  if (is.factor(x) || is.character(x)) return("string")
  if (is.logical(x)) "bool" else if (is.integer(x)) "int64" else "float64"
}
