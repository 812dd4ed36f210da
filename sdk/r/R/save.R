# A model as a bundle: the folder that contract/bundle.md describes.

EXAMPLE_ROWS <- 100L

# Writes the bundle of a fitted model into a folder (man/yard_save.Rd).
yard_save <- function(model, dir = yard_output(), example, metrics = list(), description = "", code = character(),
                      missing = character(), packages = character(), lineage = list()) {
  if (base::missing(dir)) metrics <- utils::modifyList(last_logged(dir), as.list(metrics))
  example <- model_example(model, example)
  inputs <- infer_inputs(example, missing)
  light <- slim(without_rows(model), names(example))
  refuse_pointers(light) # a pointer that only the function around the fit held is no matter
  packages <- unique(c(packages, needed_packages(light)))
  about <- list(
    versions = package_versions(packages), metrics = check_metrics(metrics), lineage = check_texts(lineage),
    description = description
  )
  dir.create(file.path(dir, "environment"), recursive = TRUE, showWarnings = FALSE)
  about$options <- runtime_options(packages, about$versions, example, copy_code(code, dir))
  rows <- utils::head(example, EXAMPLE_ROWS)
  answers <- save_model(model, light, rows, inputs, file.path(dir, "model.rds"))
  write_lines(csv_lines(as.list(rows)), file.path(dir, "example.csv"))
  write_lines(csv_lines(answers), file.path(dir, "expected.csv"))
  write_lines(lock_text(packages), file.path(dir, "environment", "renv.lock"))
  carry_library(packages, file.path(dir, "environment", "library"))
  write_lines(bundle_lines(about, inputs, infer_outputs(answers)), file.path(dir, "yardbundle.toml"))
  invisible(dir)
}

# Where a training script's results go: the folder a yard's job names, else `yard-output`.
yard_output <- function() Sys.getenv("YARD_OUTPUT", "yard-output")

# The example's columns that the model reads, in its order; all of them where the model does not say.
model_example <- function(model, example) {
  if (is.matrix(example)) example <- as.data.frame(example)
  if (!is.data.frame(example)) {
    yard_stop(paste0("The example is of class ", class(example)[1L], "."), "Give a data.frame of what the model takes, as in head(d, 20).")
  }
  example <- as.data.frame(example)
  wanted <- intersect(yard_inputs(model), names(example))
  if (length(wanted) == 0L) return(example)
  rest <- setdiff(names(example), wanted)
  if (length(rest)) message("The model does not read ", toString(rest), ": left out of what it takes.")
  example[wanted]
}

# Saves the lightest form of the model (`light` if it can) that, read again, answers the rows exactly as the model itself, and gives these
# answers. They come from the code the runtime answers with.
save_model <- function(model, light, rows, inputs, path) {
  ordered <- names(rows)[vapply(rows, is.ordered, NA)]
  asked <- as_rows(wire_columns(rows), input_plan(input_lines(inputs), ordered), nrow(rows))
  answer <- function(model) check_answer(yard_answer(model, asked), nrow(asked))
  wanted <- tryCatch(answer(model), error = function(e) {
    yard_stop(
      paste0("The model cannot answer its example: ", conditionMessage(e)),
      "The example must have every column the model takes, in the types it was fitted on.", "yard_no_answer"
    )
  })
  for (form in list(light, slim(model, names(rows)), model)) {
    if (isTRUE(tryCatch(identical(saved_answer(form, path, answer), wanted), error = function(e) FALSE))) return(wanted)
  }
  # The last form is the model as it is: some answer a little differently each time, on several threads.
  read <- tryCatch(suppressWarnings(answer(readRDS(path))), error = conditionMessage)
  if (isTRUE(all.equal(read, wanted, tolerance = 1e-8))) return(wanted)
  yard_stop(
    paste0("Saved and read again, the model answers its example differently", if (is.character(read)) paste0(": ", read), "."),
    "A model must answer the same rows alike each time, and keep nothing outside what saveRDS() saves.", "yard_unstable"
  )
}

saved_answer <- function(model, path, answer) {
  saveRDS(model, path)
  suppressWarnings(answer(readRDS(path)))
}

# Copies R files into the bundle; their paths in it.
copy_code <- function(code, dir) {
  absent <- code[!file.exists(code)]
  if (length(absent)) yard_stop(paste0("`code` names ", toString(absent), ", which is not there."))
  if (anyDuplicated(basename(code))) yard_stop("Two files of `code` have the same name.", "Rename one of them.")
  if (length(code) == 0L) return(character())
  dir.create(file.path(dir, "code"), showWarnings = FALSE)
  file.copy(code, file.path(dir, "code"), overwrite = TRUE)
  file.path("code", basename(code))
}

# What the runtime is told at `load` (runtimes/r/README.md); several values stand on lines of their own.
runtime_options <- function(packages, versions, example, code) {
  ordered <- names(example)[vapply(example, is.ordered, NA)]
  named <- vapply(packages, function(name) paste(c(name, versions[[name]]), collapse = " "), "")
  lines <- function(x) if (length(x)) paste(x, collapse = "\n")
  list(packages = lines(named), ordered = lines(ordered), source = lines(code), r = as.character(getRversion()))
}

check_metrics <- function(metrics) {
  metrics <- as.list(metrics)
  good <- vapply(metrics, function(x) is.numeric(x) && length(x) == 1L && is.finite(x), NA)
  if (length(metrics) && (is.null(names(metrics)) || !all(nzchar(names(metrics))) || !all(good))) {
    yard_stop("`metrics` must be named finite numbers.", "Write metrics = list(mae = 12.1).")
  }
  lapply(metrics, as.double)
}

check_texts <- function(lineage) {
  lineage <- lapply(as.list(lineage), as.character)
  if (length(lineage) && (is.null(names(lineage)) || !all(nzchar(names(lineage))) || any(lengths(lineage) != 1L))) {
    yard_stop("`lineage` must be named strings.", "Write lineage = list(code = \"4f1c2e\").")
  }
  lineage
}

# The lines of yardbundle.toml.
bundle_lines <- function(about, inputs, outputs) {
  table <- function(name, values) if (length(values)) c("", paste0("[", name, "]"), toml_lines(values))
  columns <- function(name, all) unlist(lapply(all, function(x) c("", paste0("[[signature.", name, "]]"), toml_lines(x))))
  c(
    toml_lines(list(
      format = 1L, language = "r", language_version = as.character(getRversion()), entry = "model.rds",
      description = about$description
    )),
    table("options", Filter(Negate(is.null), about$options)), table("packages", about$versions),
    table("metrics", about$metrics), table("lineage", about$lineage),
    columns("inputs", inputs), columns("outputs", outputs)
  )
}
