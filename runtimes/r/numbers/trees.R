# What the families of trees share: their variables as features, and trees as frames.

MOST_MEMBERS <- 53L # a double has as many bits

# A feature is list(value = function() its value, levels = its levels or NULL, table = function(numbers) a table of them,
# may_miss): of a column, or of a variable of a formula.
column_feature <- function(book, column, levels = NULL) {
  if (!column %in% names(book$type)) not_expressed("it reads ", column, ", which is none of its inputs")
  own <- book$plan$levels[[match(column, book$plan$names)]]
  if (is.null(levels) && length(own)) levels <- own
  if (book$type[column] == "string" && is.null(levels)) {
    not_expressed("it numbers the texts of ", column, " anew with each question; make it a factor")
  }
  table <- function(numbers) string_table(book, column, levels, numbers, "missing")
  list(
    levels = levels, table = table, plain = is.null(levels), may_miss = column %in% book$gaps,
    value = function() if (is.null(levels)) input_value(book, column) else table(seq_along(levels))
  )
}

# The features of a formula's variables, by name. `xlevels`: the levels of those that have some.
formula_features <- function(terms, xlevels, book) {
  terms <- stats::delete.response(terms)
  env <- environment(terms)
  variables <- as.list(attr(terms, "variables"))[-1L]
  predicted <- attr(terms, "predvars")
  predicted <- if (is.null(predicted)) variables else as.list(predicted)[-1L]
  names <- vapply(variables, deparse_name, "")
  features <- lapply(seq_along(variables), function(i) {
    expr <- variables[[i]]
    levels <- xlevels[[names[i]]]
    if (is.character(levels)) {
      table <- levelled(expr, levels, env, book)
      return(list(
        levels = levels, table = table, plain = FALSE, value = function() table(seq_along(levels)),
        may_miss = !is.name(expr) || as.character(expr) %in% book$gaps
      ))
    }
    if (is.name(expr)) return(column_feature(book, as.character(expr)))
    list(levels = NULL, plain = FALSE, may_miss = TRUE, value = function() value_of(predicted[[i]], env, book))
  })
  stats::setNames(features, names)
}

# A forest's frame; the value: the names of its outputs. Its trees follow, by `add_tree`.
add_forest <- function(book, features, outputs, compare, average = FALSE) {
  fields <- c(lapply(features, function(f) c("feature", f)), list(c("compare", compare)), if (average) list(c("average", "yes")))
  add(book, "forest", fields, count = outputs)
}

# One tree: all counted from 0, `feature` -1 at a leaf; `values` a matrix, a row a node.
#   members  at nodes that ask for these: the bits of the values that go left; else -1
add_tree <- function(book, feature, threshold, left, right, values, missing_left = NULL, members = NULL) {
  values <- as.matrix(values)
  columns <- list(feature = feature, threshold = threshold, left = left, right = right)
  for (i in seq_len(ncol(values))) columns[[paste0("value", i)]] <- values[, i]
  if (!is.null(missing_left)) columns$missing_left <- missing_left
  if (!is.null(members) && any(members >= 0)) columns$members <- members
  frame <- list(verb = "tree", fields = list(), rows = length(feature), columns = columns)
  book$frames[[length(book$frames) + 1L]] <- frame
}
