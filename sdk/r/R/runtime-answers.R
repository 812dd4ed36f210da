# From what a model's predict gave to the columns of an answer.

# The answer as named columns: a vector, factor, matrix or data.frame, in any of the forms predict methods use.
as_columns <- function(answer) {
  if (length(dim(answer)) == 3L && dim(answer)[3L] == 1L) {
    answer <- matrix(answer, dim(answer)[1L], dimnames = dimnames(answer)[1:2])
  }
  if (length(dim(answer)) == 1L) answer <- as.vector(answer)
  if (is.matrix(answer) && is.numeric(answer)) answer <- matrix_columns(answer)
  if (!is.list(answer)) return(vector_columns(answer))
  if (!is.data.frame(answer) && is.null(names(answer))) stop(not_an_answer(answer))
  if ("label" %in% names(answer)) return(label_columns(answer))
  if (length(answer) == 1L) return(vector_columns(answer[[1L]]))
  lapply(as.list(answer), as_numbers)
}

vector_columns <- function(x) {
  if (is.numeric(x)) list(prediction = as_numbers(x)) else list(label = as_label(x))
}

matrix_columns <- function(x) {
  names <- colnames(x)
  if (is.null(names)) names <- paste0("prediction", seq_len(ncol(x)))
  columns <- lapply(seq_len(ncol(x)), function(i) unname(x[, i]))
  names(columns) <- names
  columns
}

# A data.frame with a `label`, and perhaps a column of probability a class.
label_columns <- function(answer) {
  others <- setdiff(names(answer), "label")
  if (!all(startsWith(others, "probability:"))) {
    stop("Beside `label` an answer has columns named `probability:CLASS`; this one has ", toString(others), ".")
  }
  c(list(label = as_label(answer$label)), lapply(as.list(answer)[others], as_numbers))
}

# Label and probabilities of a classifier.
#   probabilities  matrix, one row a row, one column a class
#   labels         the classes, in their own type
#   best           the number of each row's class; the most probable unless the family knows better
classified <- function(probabilities, labels, best = max.col(probabilities, "first")) {
  text <- if (is.logical(labels)) tolower(labels) else as.character(labels)
  columns <- c(list(as_label(labels[best])), unname(matrix_columns(probabilities)))
  names(columns) <- c("label", paste0("probability:", text))
  columns
}

as_numbers <- function(x) {
  if (!is.numeric(x) || !is.null(dim(x))) stop(not_an_answer(x))
  as.vector(as.double(x))
}

as_label <- function(x) {
  if (is.logical(x) || is.integer(x) && !is.factor(x)) return(as.vector(x))
  if (!is.factor(x) && !is.character(x)) stop(not_an_answer(x))
  text <- enc2utf8(as.character(x))
  if (!all(validUTF8(text))) stop("A label the model answered is not UTF-8 text.")
  text
}

not_an_answer <- function(x) {
  paste0(
    "The model answered an object of class ", class(x)[1L], ". It must answer numbers, a factor, text, TRUE and FALSE, ",
    "a matrix or data.frame of numbers, or a data.frame with `label` and `probability:CLASS` columns."
  )
}

# The answer itself if it has one value a row and no column twice.
check_answer <- function(columns, rows) {
  given <- if (length(columns)) unique(lengths(columns, use.names = FALSE)) else 0L
  if (!identical(given, rows)) {
    stop("The model answered ", toString(given), " rows to ", rows, ". It must answer one row to each row it is given.")
  }
  if (anyDuplicated(names(columns)) || !all(nzchar(names(columns)))) {
    stop("The model's answer has two columns of one name, or one without a name: ", toString(names(columns)), ".")
  }
  columns
}
