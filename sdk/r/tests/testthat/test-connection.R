with_environment <- function(values, code) {
  before <- Sys.getenv(names(values), NA)
  do.call(Sys.setenv, as.list(values))
  on.exit({
    Sys.unsetenv(names(before)[is.na(before)])
    if (any(!is.na(before))) do.call(Sys.setenv, as.list(before[!is.na(before)]))
  })
  force(code)
}

test_that("the environment comes first, then what yard login wrote", {
  config <- tempfile()
  dir.create(file.path(config, "modelyard"), recursive = TRUE)
  nowhere <- c(YARD_URL = "", YARD_TOKEN = "", XDG_CONFIG_HOME = config)
  with_environment(nowhere, expect_error(yard_connection(), "yard login URL", class = "yard_no_login"))
  writeLines(c("url = http://yard.example/", "token = abc=="), file.path(config, "modelyard", "login"))
  with_environment(nowhere, expect_identical(yard_connection(), list(url = "http://yard.example", token = "abc==")))
  both <- c(YARD_URL = "http://other", YARD_TOKEN = "t", XDG_CONFIG_HOME = config)
  with_environment(both, expect_identical(yard_connection(), list(url = "http://other", token = "t")))
  half <- c(YARD_URL = "http://other", YARD_TOKEN = "", XDG_CONFIG_HOME = config)
  with_environment(half, expect_error(yard_connection(), "no token for http://other", class = "yard_no_login"))
})

test_that("a yard that does not answer is named, its token is not", {
  with_environment(c(YARD_URL = "http://127.0.0.1:1", YARD_TOKEN = "very-secret"), {
    error <- expect_error(yard_models(), "127.0.0.1:1 does not answer", class = "yard_unreachable")
    expect_false(grepl("very-secret", conditionMessage(error), fixed = TRUE))
  })
})

test_that("an error carries the yard's detail and hint", {
  problem <- "{\"status\":409,\"detail\":\"Version 2 failed its check.\",\"hint\":\"Publish again.\",\"version\":2}"
  error <- expect_error(refuse(409L, problem), "^Version 2 failed its check. Publish again.$", class = "yard_refused")
  expect_identical(error[c("status", "hint")], list(status = 409L, hint = "Publish again."))
  expect_error(refuse(502L, "<html>"), "HTTP status 502", class = "yard_refused")
})
