# A model without the ballast R sends with it. A formula or function keeps the whole environment it was made in (an lm
# fitted inside a function: the function's data), and lm and glm keep the rows they were fitted on. Nothing here is
# used unless the slimmer model answers exactly as the whole one does (save.R).

# The model with formulas and functions that carry only the variables they name. What they find in the global
# environment comes along, so that it is there in the worker too.
#   columns  names of the data's columns: a formula looks these up in the rows, not in its environment
slim <- function(model, columns) {
  made <- list() # pairs of an environment and its slim twin, so that what was shared stays shared

  twin_of <- function(env, names) {
    top <- topenv(env)
    if (identical(top, env) && !identical(top, globalenv())) return(env) # a package's own: not saved
    at <- Position(function(pair) identical(pair[[1L]], env), made)
    if (is.na(at)) {
      at <- length(made) + 1L
      made[[at]] <<- list(env, new.env(parent = top))
    }
    twin <- made[[at]][[2L]]
    for (name in names) {
      found <- find_value(name, env)
      if (is.null(found) || exists(name, twin, inherits = FALSE)) next
      assign(name, NULL, twin) # a function that names itself would go round for ever
      assign(name, lighten(found$value), twin)
    }
    twin
  }

  lighten <- function(x) {
    if (typeof(x) == "closure") {
      x <- utils::removeSource(x)
      environment(x) <- twin_of(environment(x), function_names(x))
      return(x)
    }
    if (inherits(x, "formula") && is.environment(attr(x, ".Environment"))) {
      attr(x, ".Environment") <- twin_of(attr(x, ".Environment"), formula_names(x, columns))
    } else if (is.list(x)) {
      class <- oldClass(x)
      x <- unclass(x)
      for (i in seq_along(x)) if (may_carry(x[[i]])) x[i] <- list(lighten(x[[i]]))
      oldClass(x) <- class
    }
    for (name in setdiff(names(attributes(x)), c("names", "class", ".Environment"))) {
      if (may_carry(attr(x, name, exact = TRUE))) attr(x, name) <- lighten(attr(x, name, exact = TRUE))
    }
    x
  }
  lighten(model)
}

may_carry <- function(x) is.list(x) || typeof(x) == "closure" || inherits(x, "formula")

# list(value) of a name, from `env` outwards to the global environment, or to a package, which is there anyway; NULL
# where it is not found.
find_value <- function(name, env) {
  top <- topenv(env)
  while (!identical(env, top)) {
    if (exists(name, env, inherits = FALSE)) return(bound_value(name, env))
    env <- parent.env(env)
  }
  if (identical(top, globalenv()) && exists(name, top, inherits = FALSE)) bound_value(name, top)
}

function_names <- function(f) {
  defaults <- Filter(function(x) is.language(x) && !identical(x, quote(expr = )), as.list(formals(f)))
  setdiff(unique(c(all.names(body(f)), unlist(lapply(defaults, all.names)))), names(formals(f)))
}

# The functions a formula calls, and its variables that are no columns.
formula_names <- function(formula, columns) {
  parts <- list(formula, attr(formula, "predvars"))
  called <- unlist(lapply(parts, function(x) setdiff(all.names(x), all.vars(x))))
  response <- if (length(formula) == 3L) all.vars(formula[[2L]])
  unique(c(called, setdiff(unlist(lapply(parts, all.vars)), c(columns, response))))
}

# An lm or glm without the rows it was fitted on. What tells the classes of a binomial model stays: the model frame's
# shape, without rows, and the different values of the response.
without_rows <- function(model) {
  if (!class(model)[1L] %in% c("lm", "mlm", "glm", "negbin")) return(model)
  gone <- c(
    "residuals", "effects", "fitted.values", "linear.predictors", "weights", "prior.weights", "offset", "x", "R", "data"
  )
  model[intersect(gone, names(model))] <- NULL
  if (!is.null(model$y)) model$y <- if (is.null(dim(model$y)) && all(model$y %in% c(0, 1))) unique(unname(model$y))
  if (is.data.frame(model$model)) model$model <- model$model[0L, , drop = FALSE]
  # A fit of less than full rank needs its QR to tell which rows it can answer.
  if (is.list(model$qr) && isTRUE(model$rank == NROW(model$coefficients))) model$qr[c("qr", "qraux")] <- NULL
  # A call made by do.call() holds the data itself, or a formula with all its function's variables.
  small <- vapply(as.list(model$call), is_small, NA)
  model$call[!small] <- list(quote(left_out))
  model
}

is_small <- function(x) {
  if (missing(x)) return(TRUE)
  if (is.language(x)) is.null(attr(x, ".Environment")) else is.atomic(x) && length(x) <= 1L
}
