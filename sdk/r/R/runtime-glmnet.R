# glmnet::glmnet with one lambda, and cv.glmnet at its own choice of lambda. They take a matrix of numbers: a model
# with factors or steps of its own is published as a function(newdata) that builds the matrix.

yard_answer.cv.glmnet <- function(model, rows) glmnet_answer(model, model$glmnet.fit, rows)

yard_answer.glmnet <- function(model, rows) {
  if (length(model$lambda) > 1L) {
    stop(
      "This glmnet was fitted for ", length(model$lambda), " values of lambda and would answer as many numbers a row. ",
      "Publish cv.glmnet's result, or function(newdata) predict(fit, as.matrix(newdata), s = 0.01)."
    )
  }
  glmnet_answer(model, model, rows)
}

glmnet_answer <- function(model, fit, rows) {
  wrong <- names(rows)[!vapply(rows, function(x) is.numeric(x) || is.logical(x), NA)]
  if (length(wrong)) {
    stop("A glmnet takes numbers; ", toString(wrong), " has none. Publish a function(newdata) that builds its matrix.")
  }
  x <- vapply(rows[glmnet_names(fit)], as.double, double(nrow(rows)))
  x <- matrix(x, nrow(rows), dimnames = list(NULL, glmnet_names(fit)))
  answer <- stats::predict(model, x, type = "response")
  if (inherits(fit, "lognet")) return(classified(cbind(1 - answer[, 1L], answer[, 1L]), fit$classnames))
  if (inherits(fit, "multnet")) {
    return(classified(matrix(answer, nrow(rows)), fit$classnames))
  }
  as_columns(answer)
}

glmnet_names <- function(fit) rownames(if (is.list(fit$beta)) fit$beta[[1L]] else fit$beta)

yard_inputs.glmnet <- function(model) glmnet_names(model)

yard_inputs.cv.glmnet <- function(model) glmnet_names(model$glmnet.fit)
