# rpart::rpart. Where the variable of a split is missing, or its level was not there when the split was made, it asks
# surrogates; after these it goes with the majority, or stops where it is, as `usesurrogate` says.

yard_numbers.rpart <- function(model, book) {
  features <- formula_features(model$terms, attr(model, "xlevels"), book)
  for (f in features) if (length(f$levels)) f$value() # a level that is new is refused, whether the tree asks for it or not
  tree <- rpart_nodes(model)
  values <- rpart_values(model)
  used <- unique(unlist(lapply(tree$candidates, function(x) x$variable)))
  simple <- all(vapply(features[used], function(f) f$plain && !f$may_miss, NA))
  out <- if (simple) plain_rpart(book, tree, values, features) else surrogate_rpart(book, tree, values, features)
  if (model$method != "class") return(regression(book, out))
  classes <- attr(model, "ylevels")
  count <- length(classes)
  classification(book, classes, out[seq_len(count)], out[count + seq_len(count)])
}

# A row a node: what is answered there. Of a classifier the chances, then 1 for the class that is the label.
rpart_values <- function(model) {
  if (model$method != "class") {
    if (!is.null(dim(model$frame$yval))) not_expressed("it answers several numbers")
    return(as.matrix(as.double(model$frame$yval)))
  }
  count <- length(attr(model, "ylevels"))
  cbind(model$frame$yval2[, 1L + count + seq_len(count), drop = FALSE], outer(model$frame$yval, seq_len(count), "=="))
}

# The nodes in the frame's order: left and right (0 at a leaf, else places from 1), and the candidates of each split.
rpart_nodes <- function(model) {
  frame <- model$frame
  number <- as.numeric(row.names(frame))
  is_leaf <- frame$var == "<leaf>"
  left <- ifelse(is_leaf, 0L, match(2 * number, number))
  right <- ifelse(is_leaf, 0L, match(2 * number + 1, number))
  begin <- cumsum(c(1L, frame$ncompete + frame$nsurrogate + !is_leaf))
  surrogates <- model$control$usesurrogate
  candidates <- lapply(which(!is_leaf), function(node) {
    rows <- begin[node]
    if (surrogates > 0L) rows <- c(rows, begin[node] + frame$ncompete[node] + seq_len(frame$nsurrogate[node]))
    majority <- if (surrogates > 1L) sign(frame$n[right[node]] - frame$n[left[node]]) else 0
    split <- model$splits[rows, , drop = FALSE]
    list(
      node = node, variable = rownames(split), ncat = split[, "ncat"], index = split[, "index"], majority = majority,
      csplit = model$csplit
    )
  })
  list(left = left, right = right, is_leaf = is_leaf, candidates = candidates)
}

# Without anything that can be missing: the primary splits are the tree.
plain_rpart <- function(book, tree, values, features) {
  used <- unique(unlist(lapply(tree$candidates, function(x) x$variable[1L])))
  if (length(used) == 0L) not_expressed("it is a single leaf")
  out <- add_forest(book, vapply(features[used], function(f) f$value(), ""), ncol(values), "less")
  feature <- threshold <- left <- right <- double(length(tree$left))
  feature[] <- -1
  for (x in tree$candidates) {
    node <- x$node
    feature[node] <- match(x$variable[1L], used) - 1
    threshold[node] <- x$index[1L]
    sides <- c(tree$left[node], tree$right[node]) - 1
    if (x$ncat[1L] > 0) sides <- rev(sides) # what is less goes right
    left[node] <- sides[1L]
    right[node] <- sides[2L]
  }
  add_tree(book, feature, threshold, left, right, values)
  out
}

# With it: the direction at each split, by the first of its candidates that is there, and a tree over the directions.
surrogate_rpart <- function(book, tree, values, features) {
  rows <- NULL
  asked <- character()
  for (i in seq_along(tree$candidates)) {
    x <- tree$candidates[[i]]
    for (j in seq_along(x$variable)) {
      by_level <- abs(x$ncat[j]) > 1
      f <- features[[x$variable[j]]]
      value <- if (by_level) f$table(c(-1, NaN, 1)[x$csplit[x$index[j], seq_along(f$levels)]]) else f$value()
      if (!value %in% asked) asked <- c(asked, value)
      rows <- rbind(rows, c(i - 1, match(value, asked) - 1, if (by_level) 0 else x$index[j], by_level || x$ncat[j] < 0))
    }
    if (x$majority != 0) rows <- rbind(rows, c(i - 1, -1, 0, x$majority < 0))
  }
  columns <- list(node = rows[, 1L], feature = rows[, 2L], threshold = rows[, 3L], less_is_left = rows[, 4L])
  named <- lapply(asked, function(value) c("feature", value))
  directions <- add(book, "directions", named, nrow(rows), columns, count = length(tree$candidates))
  out <- add_forest(book, directions, ncol(values), "less")
  add_direction_tree(book, tree, values)
  out
}

# Each split is two nodes: whether there is a direction (else it stops), then which.
add_direction_tree <- function(book, tree, values) {
  of <- vapply(tree$candidates, function(x) x$node, 1L)
  made <- list()
  new <- function(feature, threshold, value) {
    made[[length(made) + 1L]] <<- list(feature = feature, threshold = threshold, left = 0, right = 0, value = value)
    length(made)
  }
  grow <- function(node) {
    if (tree$is_leaf[node]) return(new(-1, 0, values[node, ]))
    split <- match(node, of) - 1
    first <- new(split, 2, values[node, ])
    second <- new(split, 0, values[node, ])
    stop_here <- new(-1, 0, values[node, ])
    made[[first]]$left <<- second - 1
    made[[first]]$right <<- stop_here - 1
    left <- grow(tree$left[node])
    made[[second]]$left <<- left - 1
    right <- grow(tree$right[node])
    made[[second]]$right <<- right - 1
    first
  }
  grow(1L)
  column <- function(name) vapply(made, function(x) as.double(x[[name]]), 0)
  add_tree(book, column("feature"), column("threshold"), column("left"), column("right"), do.call(rbind, lapply(made, function(x) x$value)))
}
