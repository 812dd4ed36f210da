# ranger::ranger. Ties between classes, which its own predict breaks by chance, go to the first class.

yard_answer.ranger <- function(model, rows) {
  votes <- model$treetype == "Classification"
  answer <- stats::predict(model, rows, num.threads = 1L, verbose = FALSE, seed = 1L, predict.all = votes)$predictions
  switch(model$treetype,
    Regression = as_columns(answer),
    "Probability estimation" = ranger_chances(answer, model$forest$levels),
    Classification = ranger_label(matrix(answer, nrow(rows)), model$forest),
    stop("A ranger forest of the kind ", model$treetype, " has no single answer a row. Publish a function(newdata) instead.")
  )
}

# votes: a row a row, a column a tree; the number of the class each tree votes for.
ranger_label <- function(votes, forest) {
  classes <- sort(forest$class.values)
  counts <- vapply(classes, function(class) rowSums(votes == class), double(nrow(votes)))
  best <- classes[max.col(matrix(counts, nrow(votes)), "first")]
  list(label = as_label(if (is.null(forest$levels)) as.integer(best) else forest$levels[best]))
}

ranger_chances <- function(answer, classes) {
  if (!is.matrix(answer)) answer <- t(answer) # some releases drop the only row
  classified(answer, if (is.null(colnames(answer))) classes else colnames(answer))
}

yard_inputs.ranger <- function(model) model$forest$independent.variable.names
