# The yard's peer in R: plumber, with the same model, at its best.
#     Rscript plumber.R MODEL (PORT | SOCKET)
# The answer has all its digits, as the yard's has (plumber itself rounds to four).
suppressPackageStartupMessages(library(plumber))
words <- commandArgs(TRUE)
fit <- readRDS(words[1])
answer <- function(rows) predict(fit, rows)
if (inherits(fit, "ranger")) {
  suppressPackageStartupMessages(library(ranger))
  answer <- function(rows) predict(fit, rows, num.threads = 1, verbose = FALSE)$predictions
}
api <- pr()
api <- pr_post(
  api, "/predict",
  function(req) list(predictions = unname(answer(req$body))),
  serializer = serializer_unboxed_json(digits = NA),
  parsers = "json"
)
if (startsWith(words[2], "/")) {
  httpuv::startPipeServer(words[2], 384L, api)
  repeat httpuv::service(1000)
}
pr_run(api, host = "127.0.0.1", port = as.integer(words[2]), quiet = TRUE, docs = FALSE)
