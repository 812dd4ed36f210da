# stats::lm and glm: the coefficients times the columns of the model's matrix, which are products of its variables.

yard_numbers <- function(model, book) UseMethod("yard_numbers")

yard_numbers.default <- function(model, book) not_expressed("it is a model of class ", class(model)[1L], ", whose numbers are not known here")

yard_numbers.function <- function(model, book) not_expressed("it is a function, which only R can run")

yard_numbers.lm <- function(model, book) {
  if (!class(model)[1L] %in% c("lm", "mlm", "aov")) return(yard_numbers.default(model, book))
  coefficients <- as.matrix(stats::coef(model))
  names <- if (ncol(coefficients) == 1L) "prediction" else colnames(coefficients)
  if (is.null(names)) names <- paste0("prediction", seq_len(ncol(coefficients)))
  regression(book, linear_values(model, coefficients, book), names)
}

yard_numbers.glm <- function(model, book) {
  if (!class(model)[1L] %in% c("glm", "negbin")) return(yard_numbers.default(model, book))
  value <- linear_values(model, as.matrix(stats::coef(model)), book)
  link <- model$family$link
  if (!link %in% c("identity", "log", "logit", "probit", "cloglog", "sqrt", "inverse", "1/mu^2")) {
    not_expressed("its link is ", link)
  }
  labels <- binomial_labels(model)
  if (is.null(labels)) regression(book, value, link = link) else classification(book, labels, value, link = link)
}

# One value a column of the coefficients, offsets added.
linear_values <- function(model, coefficients, book) {
  terms <- stats::delete.response(stats::terms(model))
  env <- environment(terms)
  columns <- matrix_columns_of(model, terms, env, book)
  if (length(columns) != nrow(coefficients)) {
    not_expressed("its matrix has ", length(columns), " columns and ", nrow(coefficients), " coefficients")
  }
  offsets <- offset_values(model, terms, env, book)
  apply(coefficients, 2L, function(weights) {
    used <- !is.na(weights) # a column that others make up has no coefficient, and R leaves it out
    weighed_sum(book, c(columns[used], offsets), c(weights[used], rep(1, length(offsets))))
  })
}

offset_values <- function(model, terms, env, book) {
  variables <- as.list(attr(terms, "variables"))[-1L]
  beside <- model$call$offset
  inside <- lapply(variables[attr(terms, "offset")], function(call) call[[2L]])
  found <- c(inside, if (!is.null(beside)) list(beside))
  vapply(found, value_of, "", env, book)
}

# The values of the model matrix's columns, in its order; "" is the intercept.
matrix_columns_of <- function(model, terms, env, book) {
  codes <- attr(terms, "factors")
  variables <- variables_of(model, terms, env, book)
  intercept <- attr(terms, "intercept") == 1L
  columns <- if (intercept) "" else character()
  if (length(codes) == 0L) return(columns)
  if (!intercept) codes <- first_in_full(codes, variables)
  for (term in seq_len(ncol(codes))) {
    products <- NULL
    for (i in which(codes[, term] > 0L)) {
      own <- variables[[i]](full = codes[i, term] == 2L)
      # The first variable's columns vary fastest.
      products <- if (is.null(products)) own else as.vector(outer(products, own, Vectorize(function(a, b) applied(book, "multiply", a, b))))
    }
    columns <- c(columns, products)
  }
  columns
}

# Each variable as function(full): the values of its columns, in full or by its contrasts where it has levels.
variables_of <- function(model, terms, env, book) {
  variables <- as.list(attr(terms, "variables"))[-1L]
  predicted <- attr(terms, "predvars")
  predicted <- if (is.null(predicted)) variables else as.list(predicted)[-1L]
  classes <- attr(terms, "dataClasses")
  lapply(seq_along(variables), function(i) {
    name <- deparse_name(variables[[i]])
    levels <- model$xlevels[[name]]
    if (is.null(levels) && identical(unname(classes[name]), "logical")) levels <- c("FALSE", "TRUE")
    if (i %in% attr(terms, "offset")) return(NULL)
    if (is.null(levels)) {
      return(structure(function(full) numeric_values(predicted[[i]], env, book), has_levels = FALSE))
    }
    table <- levelled(variables[[i]], levels, env, book)
    contrasts <- contrasts_of(levels, model$contrasts[[name]])
    structure(function(full) {
      codes <- if (full) diag(length(levels)) else contrasts
      vapply(seq_len(ncol(codes)), function(j) table(codes[, j]), "")
    }, has_levels = TRUE)
  })
}

# As model.frame names a variable.
deparse_name <- function(expr) paste(deparse(expr, width.cutoff = 500L, backtick = !is.symbol(expr) && is.language(expr)), collapse = " ")

contrasts_of <- function(levels, contrasts) {
  if (is.null(contrasts)) contrasts <- "contr.treatment"
  f <- factor(levels, levels)
  stats::contrasts(f) <- contrasts
  unname(stats::contrasts(f))
}

# Without an intercept the first variable with levels has a column a level.
first_in_full <- function(codes, variables) {
  for (term in seq_len(ncol(codes))) {
    for (i in seq_len(nrow(codes))) {
      if (codes[i, term] > 0L && isTRUE(attr(variables[[i]], "has_levels"))) {
        codes[i, term] <- 2L
        return(codes)
      }
    }
  }
  codes
}
