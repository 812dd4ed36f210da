# randomForest::randomForest. Its own labels break ties by chance: here they come from the votes, the first class first.

yard_answer.randomForest <- function(model, rows) {
  if (model$type != "classification") return(as_columns(stats::predict(model, rows)))
  votes <- unclass(stats::predict(model, rows, type = "prob"))
  weighed <- sweep(votes, 2L, model$forest$cutoff, "/")
  classified(votes, model$classes, max.col(weighed, "first"))
}

yard_inputs.randomForest <- function(model) {
  if (is.null(model$terms)) rownames(model$importance) else yard_inputs.default(model)
}
