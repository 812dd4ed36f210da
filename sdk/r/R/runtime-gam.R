# mgcv::gam and bam: as glm, but they know which columns they need, and some families answer a class a column.

yard_answer.gam <- function(model, rows) {
  family <- model$family$family
  if (startsWith(family, "multinom")) {
    chances <- stats::predict(model, rows, type = "response")
    return(classified(chances, seq_len(ncol(chances)) - 1L)) # mgcv numbers these classes from 0
  }
  if (startsWith(family, "Ordered Categorical")) {
    chances <- stats::predict(model, rows, type = "response")
    return(classified(chances, seq_len(ncol(chances)))) # and these from 1
  }
  yard_answer.glm(model, rows)
}

yard_inputs.gam <- function(model) all.vars(model$pred.formula)
