# glmnet::glmnet and cv.glmnet: the coefficients that are not 0, at the lambda that the family file answers with.

yard_numbers.glmnet <- function(model, book) {
  if (length(model$lambda) > 1L) not_expressed("it was fitted for ", length(model$lambda), " values of lambda")
  glmnet_numbers(stats::coef(model), model, book)
}

yard_numbers.cv.glmnet <- function(model, book) glmnet_numbers(stats::coef(model), model$glmnet.fit, book)

glmnet_numbers <- function(coefficients, fit, book) {
  links <- c(elnet = "identity", mrelnet = "identity", lognet = "logit", multnet = "share", fishnet = "log")
  link <- links[class(fit)[1L]]
  if (is.na(link)) not_expressed("it is a glmnet of the kind ", class(fit)[1L])
  if (isTRUE(fit$offset)) not_expressed("it was fitted with an offset")
  each <- if (is.list(coefficients)) coefficients else list(coefficients)
  values <- vapply(each, function(own) {
    own <- as.matrix(own)[, 1L]
    if (!nzchar(names(own)[1L])) names(own)[1L] <- "(Intercept)"
    used <- own != 0
    terms <- vapply(names(own)[used], function(name) if (name == "(Intercept)") "" else glmnet_input(name, book), "")
    weighed_sum(book, unname(terms), own[used])
  }, "")
  if (link %in% c("logit", "share")) return(classification(book, fit$classnames, unname(values), link = link))
  regression(book, unname(values), if (length(values) == 1L) "prediction" else names(values), link)
}

glmnet_input <- function(name, book) {
  if (!name %in% names(book$type) || book$type[name] == "string") not_expressed("it reads ", name, ", which is no input of numbers")
  input_value(book, name)
}
