# From the columns of a question to the data.frame a model was trained on.

# What is known of the inputs once, at load: `inputs` is the list of `input` values (name, type, flag, levels ...),
# `ordered` the names of those that were ordered factors.
input_plan <- function(inputs, ordered = character()) {
  names <- vapply(inputs, `[`, "", 1L)
  type <- vapply(inputs, `[`, "", 2L)
  levels <- lapply(inputs, function(x) x[-(1:3)])
  factors <- lengths(levels) > 0L
  list(
    names = names,
    levels = levels,
    factors = which(factors),
    integers = which(type == "int64"), # they come as float64 (wire.md); the model was trained on R's integers
    class = ifelse(names %in% ordered, "ordered,factor", "factor")
  )
}

# The data.frame. `columns`: named list of vectors in the order of the plan; `rows`: how many rows.
as_rows <- function(columns, plan, rows) {
  for (i in plan$factors) columns[[i]] <- as_factor(columns[[i]], plan$levels[[i]], plan$class[i], plan$names[i])
  for (i in plan$integers) columns[[i]] <- as_integers(columns[[i]])
  attr(columns, "row.names") <- .set_row_names(rows)
  class(columns) <- "data.frame"
  columns
}

# One row that stands for none: 0, FALSE and the first level; text is missing, for any text may be a new one.
made_up_row <- function(columns, plan) {
  columns <- lapply(columns, function(x) if (is.character(x)) NA_character_ else vector(mode(x), 1L))
  for (i in plan$factors) columns[[i]] <- plan$levels[[i]][1L]
  as_rows(columns, plan, 1L)
}

as_factor <- function(values, levels, class, name) {
  codes <- match(values, levels)
  unseen <- is.na(codes) & !is.na(values)
  if (any(unseen)) {
    stop("The column ", name, " has the value ", dQuote(values[unseen][1L], FALSE), ", which is none of its levels.")
  }
  structure(codes, levels = levels, class = strsplit(class, ",", fixed = TRUE)[[1L]])
}

# R's integers end at 2^31: a column with a larger one stays as doubles, which every predict accepts as well.
as_integers <- function(values) {
  if (any(abs(values) > .Machine$integer.max, na.rm = TRUE)) values else as.integer(values)
}
