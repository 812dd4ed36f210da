# ranger::ranger. It takes no missing value, and a factor's level as its number.

yard_numbers.ranger <- function(model, book) {
  forest <- model$forest
  if (is.null(forest)) not_expressed("it was fitted without its forest (write.forest = FALSE)")
  names <- forest$independent.variable.names
  features <- lapply(names, function(name) column_feature(book, name, forest$covariate.levels[[name]]))
  book$refuses <- names
  values <- vapply(features, function(f) f$value(), "")
  sizes <- vapply(features, function(f) length(f$levels), 1L)
  unordered <- !forest$is.ordered
  if (any(sizes[unordered] > MOST_MEMBERS)) not_expressed("it splits a factor of more than ", MOST_MEMBERS, " levels")
  kind <- forest$treetype
  classes <- sort(forest$class.values)
  outputs <- if (kind == "Regression") 1L else length(classes)
  if (!kind %in% c("Regression", "Classification", "Probability estimation")) not_expressed("it is a forest of the kind ", kind)
  out <- add_forest(book, values, outputs, "less_or_equal", kind != "Classification")
  for (tree in seq_len(forest$num.trees)) {
    left <- forest$child.nodeIDs[[tree]][[1L]]
    is_leaf <- left == 0
    variable <- forest$split.varIDs[[tree]]
    split <- forest$split.values[[tree]]
    members <- ifelse(is_leaf | !unordered[variable + 1L], -1, 2^sizes[variable + 1L] - 1 - split)
    leaf_values <- switch(kind,
      Regression = ifelse(is_leaf, split, 0),
      Classification = outer(split, classes, "==") * is_leaf,
      "Probability estimation" = leaf_chances(forest$terminal.class.counts[[tree]], forest$class.values)
    )
    add_tree(book, ifelse(is_leaf, -1, variable), ifelse(is_leaf, 0, split), left, forest$child.nodeIDs[[tree]][[2L]], leaf_values, members = members)
  }
  if (kind == "Regression") return(regression(book, out))
  labels <- if (is.null(forest$levels)) as.integer(classes) else forest$levels[classes]
  if (kind == "Classification") classification(book, labels, scores = out) else classification(book, labels, out)
}

# A row a node, a column a class in the order of the answer.
leaf_chances <- function(counts, class_values) {
  of_none <- double(length(class_values))
  chances <- t(vapply(counts, function(x) if (length(x)) x else of_none, of_none))
  if (nrow(chances) != length(counts)) chances <- t(chances) # of one class alone
  chances[, order(class_values), drop = FALSE]
}
