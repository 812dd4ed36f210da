# A look at everything inside a model: which parts cannot be saved, and which packages it needs.

# Calls `visit(value, path)` for x and all it holds: elements, attributes, and what its functions and formulas carry.
walk <- function(x, visit) {
  seen <- list()
  step <- function(x, path) {
    visit(x, path)
    if (is.environment(x)) {
      if (is_shared(x) || any(vapply(seen, identical, NA, x))) return()
      seen[[length(seen) + 1L]] <<- x
      for (name in ls(x, all.names = TRUE)) {
        held <- bound_value(name, x)
        if (!is.null(held)) step(held$value, paste0(path, "$", name))
      }
      return(step(parent.env(x), path))
    }
    if (typeof(x) == "closure") step(environment(x), path)
    if (is.list(x)) {
      inside <- unclass(x)
      names <- if (is.null(names(inside))) seq_along(inside) else names(inside)
      for (i in seq_along(inside)) step(inside[[i]], paste0(path, "$", names[i]))
    }
    for (name in names(attributes(x))) {
      value <- attr(x, name, exact = TRUE)
      # data.table marks its tables with a pointer that it makes anew by itself.
      if (!is.atomic(value) && name != ".internal.selfref") step(value, paste0(path, "@", name))
    }
  }
  step(x, "model")
}

# list(value) of a name in an environment; NULL for an argument that was not given and for a promise that fails.
bound_value <- function(name, env) {
  held <- tryCatch(list(value = get(name, envir = env, inherits = FALSE)), error = function(e) NULL)
  if (!identical(held$value, quote(expr = ))) held
}

# The global environment, and those of packages: they are not saved with a model.
is_shared <- function(env) {
  identical(env, globalenv()) || identical(env, baseenv()) || identical(env, emptyenv()) || isNamespace(env) ||
    startsWith(environmentName(env), "package:") || startsWith(environmentName(env), "imports:")
}

# Refuses a model with a part that lives outside R: it would be an empty shell once saved and read.
refuse_pointers <- function(model) {
  walk(model, function(x, path) {
    if (typeof(x) %in% c("externalptr", "weakref")) {
      yard_stop(
        paste0(
          "The model holds a pointer to memory outside R (", path, "), which saveRDS() cannot save: ",
          "read again, the model could not answer."
        ),
        paste(
          "Publish a function that makes it anew from its raw form, as in",
          "raw <- xgboost::xgb.save.raw(fit);",
          "function(newdata) predict(xgboost::xgb.load.raw(raw), as.matrix(newdata))."
        ),
        "yard_pointer"
      )
    }
  })
}

DEFAULT_PACKAGES <- c("base", "stats", "graphics", "grDevices", "utils", "datasets", "methods", "modelyard")

# The packages a model needs to answer: those its predict methods come from, and those its functions and formulas use.
needed_packages <- function(model) {
  found <- character()
  walk(model, function(x, path) {
    found <<- c(found, class_packages(x))
    if (typeof(x) == "closure") {
      home <- topenv(environment(x))
      found <<- c(found, if (isNamespace(home)) getNamespaceName(home) else code_packages(body(x)))
    } else if (inherits(x, "formula")) {
      found <<- c(found, code_packages(x), code_packages(attr(x, "predvars")))
    }
  })
  sort(setdiff(unique(unname(found)), DEFAULT_PACKAGES), method = "radix")
}

class_packages <- function(x) {
  if (isS4(x)) return(attr(class(x), "package"))
  unlist(lapply(oldClass(x), function(class) {
    method <- utils::getS3method("predict", class, optional = TRUE)
    home <- if (!is.null(method)) topenv(environment(method))
    if (isNamespace(home)) getNamespaceName(home)
  }))
}

# The packages a piece of code names with `::`, and the attached ones it takes names from.
code_packages <- function(code) {
  attached <- search()
  own <- unlist(lapply(unique(all.names(code)), function(name) {
    place <- Find(function(place) exists(name, as.environment(place), inherits = FALSE), attached)
    if (!is.null(place) && startsWith(place, "package:")) sub("^package:", "", place)
  }))
  c(own, named_packages(code))
}

named_packages <- function(code) {
  if (!is.call(code)) return(NULL)
  if (is.name(code[[1L]]) && as.character(code[[1L]]) %in% c("::", ":::")) return(as.character(code[[2L]]))
  found <- character()
  for (i in seq_along(code)) if (is.call(code[[i]])) found <- c(found, named_packages(code[[i]]))
  found
}
