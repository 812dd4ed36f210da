# ranger::ranger. The seed makes ties between classes fall the same way each time.

yard_answer.ranger <- function(model, rows) {
  answer <- stats::predict(model, rows, num.threads = 1L, verbose = FALSE, seed = 1L)$predictions
  switch(model$treetype,
    Regression = as_columns(answer),
    "Probability estimation" = ranger_chances(answer, model$forest$levels),
    Classification = list(label = as_label(if (is.factor(answer)) answer else as.integer(answer))),
    stop("A ranger forest of the kind ", model$treetype, " has no single answer a row. Publish a function(newdata) instead.")
  )
}

ranger_chances <- function(answer, classes) {
  if (!is.matrix(answer)) answer <- t(answer) # some releases drop the only row
  classified(answer, if (is.null(colnames(answer))) classes else colnames(answer))
}

yard_inputs.ranger <- function(model) model$forest$independent.variable.names
