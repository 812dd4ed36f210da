# What a family of models says of itself: two verbs, each a generic. A family needs a method only where it
# differs from `predict(model, rows)`. The R package carries a copy of this folder (sdk/r/R/family-*.R).

# The model's answers to a data.frame of rows: a named list of columns as contract/wire.md wants them, one
# value a row. A regression answers doubles (`prediction`, or several of any name); a classification `label`
# (character, logical or integer) and, where the model knows them, `probability:CLASS` columns.
yard_answer <- function(model, rows) UseMethod("yard_answer")

# The names of the columns the model reads, or NULL where it does not say.
yard_inputs <- function(model) UseMethod("yard_inputs")

yard_answer.default <- function(model, rows) {
  # An S4 model's predict is the generic of its own package, which `load` has attached.
  predict <- if (isS4(model)) get("predict", globalenv(), mode = "function") else stats::predict
  as_columns(predict(model, rows))
}

yard_answer.function <- function(model, rows) as_columns(model(rows))

yard_inputs.default <- function(model) {
  if (!is.list(model) || !inherits(model$terms, "terms")) return(NULL)
  # An offset given beside the formula is looked up in the new rows too.
  unique(c(all.vars(stats::delete.response(model$terms)), all.vars(model$call$offset)))
}

yard_inputs.function <- function(model) NULL
