# randomForest::randomForest. By its formula a row with a missing value has no answer; without one it is refused. An
# infinite value always is.

yard_numbers.randomForest <- function(model, book) {
  forest <- model$forest
  if (is.null(forest)) not_expressed("it was fitted without its forest (keep.forest = FALSE)")
  if (!is.null(model$coefs)) not_expressed("it corrects a bias (corr.bias)")
  if (!model$type %in% c("regression", "classification")) not_expressed("it is a forest of the kind ", model$type)
  names <- rownames(model$importance)
  if (is.null(model$terms)) {
    features <- lapply(names, function(name) column_feature(book, name))
    book$refuses <- book$finite <- names
  } else {
    features <- formula_features(model$terms, list(), book)[names]
    if (anyNA(match(names, names(features)))) not_expressed("its variables are not those of its formula")
  }
  sizes <- vapply(features, function(f) length(f$levels), 1L)
  unordered <- forest$ncat > 1L
  if (any(sizes[unordered] != forest$ncat[unordered])) not_expressed("its factors have other levels than its forest")
  if (any(sizes[unordered] > MOST_MEMBERS)) not_expressed("it splits a factor of more than ", MOST_MEMBERS, " levels")
  values <- vapply(features, function(f) f$value(), "")
  is_class <- model$type == "classification"
  out <- add_forest(book, values, if (is_class) forest$nclass else 1L, "less_or_equal", TRUE)
  for (tree in seq_len(forest$ntree)) add_random_tree(book, forest, tree, unordered, is_class)
  by_row <- !is.null(model$terms) && any(vapply(features, function(f) f$may_miss, NA))
  if (by_row) out <- where_complete(book, values, out) else book$finite <- names
  if (!is_class) return(regression(book, out))
  scores <- vapply(seq_along(out), function(i) applied(book, "divide", out[i], number_value(book, forest$cutoff[[i]])), "")
  classification(book, model$classes, out, scores)
}

add_random_tree <- function(book, forest, tree, unordered, is_class) {
  nodes <- seq_len(forest$ndbigtree[tree])
  sides <- if (is_class) forest$treemap[nodes, , tree] else cbind(forest$leftDaughter[nodes, tree], forest$rightDaughter[nodes, tree])
  sides <- matrix(sides, length(nodes))
  is_leaf <- forest$nodestatus[nodes, tree] == -1L
  variable <- forest$bestvar[nodes, tree]
  split <- forest$xbestsplit[nodes, tree]
  predicted <- forest$nodepred[nodes, tree]
  members <- double(length(nodes)) - 1
  by_set <- !is_leaf & unordered[pmax(variable, 1L)]
  members[by_set] <- split[by_set]
  values <- if (is_class) outer(predicted, seq_len(forest$nclass), "==") * is_leaf else ifelse(is_leaf, predicted, 0)
  add_tree(book, ifelse(is_leaf, -1, variable - 1), ifelse(is_leaf, 0, split), sides[, 1L] - 1, sides[, 2L] - 1, values, members = members)
}

# The outputs where no feature is missing, and missing otherwise; an infinite feature beside none that is missing is refused.
where_complete <- function(book, values, outputs) {
  sizes <- vapply(values, function(value) applied(book, "abs", value), "")
  total <- finite(book, weighed_sum(book, unname(sizes), rep(1e-16, length(sizes))), "its variables")
  none <- applied(book, "multiply", total, number_value(book, 0))
  vapply(outputs, function(output) applied(book, "add", output, none), "")
}
