# stats::glm and its kin (MASS::glm.nb …), and through inheritance mgcv::gam. A binomial model of two classes is a
# classifier; one of proportions, or of counts by cbind(), is a regression of the proportion.

yard_answer.glm <- function(model, rows) {
  answer <- stats::predict(model, rows, type = "response")
  labels <- binomial_labels(model)
  if (is.null(labels)) return(as_columns(answer))
  chance <- as.vector(answer)
  classified(cbind(1 - chance, chance), labels, 1L + (chance > 0.5))
}

# The two classes of a binomial model, in training's own type, the one it gives the probability of last; or NULL.
binomial_labels <- function(model) {
  if (!model$family$family %in% c("binomial", "quasibinomial")) return(NULL)
  response <- if (is.null(model$model)) model$y else model$model[[attr(model$terms, "response")]]
  if (is.factor(response)) return(if (nlevels(response) == 2L) levels(response))
  if (is.logical(response)) return(c(FALSE, TRUE))
  # `y` stays in the file when the rows it was fitted on are left out (the package's slim.R).
  values <- if (is.null(model$y)) response else model$y
  if (is.null(dim(response)) && all(values %in% c(0, 1))) 0:1
}
