# Datasets: pushed, pulled and listed (man/yard_push_data.Rd).

yard_push_data <- function(data, ref, why = "", marks = list()) {
  path <- dataset_path(ref, "versions")
  query <- c(list(why = why), lapply(seq_along(marks), function(i) paste0(names(marks)[i], ":", marks[[i]])))
  names(query) <- c("why", rep("mark", length(marks)))
  version <- yard_request("POST", path, query, data_body(data), timeout = 3600)
  message(version$dataset, "/", version$version, " holds ", version$rows, " rows.")
  invisible(version)
}

yard_pull_data <- function(ref) {
  version <- dataset_version(ref)
  path <- dataset_path(version$dataset, "versions", version$version, "content")
  text <- yard_request("GET", path, list(form = "csv", formulas = "kept"), timeout = 3600, parse = FALSE)
  types <- vapply(version$columns, `[[`, "", "type")
  names(types) <- vapply(version$columns, `[[`, "", "name")
  read_data(text, types)
}

yard_datasets <- function() {
  found <- yard_request("GET", c("api", "v1", "datasets"))
  records_table(found, c("dataset", "latest", "rows", "columns", "size", "marks", "created_by", "changed_at"))
}

# The newest version of a dataset, or the one that "department/name/7" names.
dataset_version <- function(ref) {
  pieces <- strsplit(ref, "/", fixed = TRUE)[[1L]]
  if (length(pieces) != 3L) {
    version <- yard_request("GET", dataset_path(ref))$latest
  } else {
    if (!grepl("^[1-9][0-9]{0,8}$", pieces[3L])) yard_stop(paste0("'", ref, "' names no version."), "Write department/name/7.")
    version <- pieces[3L]
    ref <- paste(pieces[1:2], collapse = "/")
  }
  yard_request("GET", dataset_path(ref, "versions", version))
}

dataset_path <- function(ref, ...) {
  reference <- parse_model(ref)
  c("api", "v1", "datasets", reference$department, reference$name, ...)
}

# What is sent: a file's bytes, or a data.frame as CSV.
data_body <- function(data) {
  if (is.character(data) && length(data) == 1L) {
    type <- switch(tolower(tools::file_ext(data)), csv = , txt = "text/csv", parquet = "application/vnd.apache.parquet", NULL)
    if (is.null(type)) yard_stop(paste0("The file ", data, " has no ending that says its form."), "Name it .csv or .parquet.")
    return(list(data = readBin(data, "raw", file.size(data)), type = type))
  }
  if (!is.data.frame(data)) yard_stop(paste0("The data is of class ", class(data)[1L], "."), "Give a data.frame, or a file's path.")
  columns <- lapply(data, function(x) {
    if (inherits(x, "POSIXt")) return(ifelse(is.na(x), NA, format(x, "%Y-%m-%dT%H:%M:%OS6Z", tz = "UTC")))
    if (inherits(x, "Date")) as.character(x) else x
  })
  list(data = charToRaw(paste0(csv_lines(columns), "\n", collapse = "")), type = "text/csv")
}

# CSV as a data.frame whose columns have the types that the version says.
read_data <- function(text, types) {
  table <- utils::read.csv(
    text = text, colClasses = "character", na.strings = "", check.names = FALSE, encoding = "UTF-8", strip.white = FALSE
  )
  for (name in names(table)) table[[name]] <- as_type(table[[name]], types[[name]])
  table
}

as_type <- function(x, type) {
  switch(type,
    bool = x == "true",
    int64 = whole_numbers(as.numeric(x)),
    float64 = as.numeric(sub("^([+-]?)inf$", "\\1Inf", x)),
    date = as.Date(x),
    datetime = as.POSIXct(sub("Z$", "", x), format = "%Y-%m-%dT%H:%M:%OS", tz = "UTC"),
    x
  )
}

# Integers where they fit, for R's have 32 bits.
whole_numbers <- function(x) {
  if (all(is.na(x) | abs(x) <= .Machine$integer.max)) as.integer(x) else x
}
