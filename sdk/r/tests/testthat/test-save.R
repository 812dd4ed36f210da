save_quietly <- function(...) suppressMessages(yard_save(...))

test_that("a bundle has what its contract says, and only the columns the model reads", {
  dir <- tempfile()
  expect_message(
    yard_save(lm(mpg ~ wt + hp, mtcars), dir, example = head(mtcars, 5), metrics = list(mae = 2), lineage = list(code = "4f1c")),
    "does not read mpg, cyl"
  )
  files <- c("environment/renv.lock", "example.csv", "expected.csv", "model.rds", "yardbundle.toml")
  expect_setequal(list.files(dir, recursive = TRUE), files)
  expect_identical(readLines(file.path(dir, "example.csv"))[1:2], c("\"wt\",\"hp\"", "2.62,110"))
  expected <- read.csv(file.path(dir, "expected.csv"))$prediction
  expect_equal(expected, unname(predict(lm(mpg ~ wt + hp, mtcars), head(mtcars, 5))), tolerance = 1e-14)
  toml <- readLines(file.path(dir, "yardbundle.toml"))
  expect_true(all(c("format = 1", "language = \"r\"", "mae = 2.0", "code = \"4f1c\"") %in% toml))
})

test_that("at most 100 rows are kept as the example", {
  dir <- tempfile()
  save_quietly(function(newdata) newdata$x, dir, example = data.frame(x = as.double(1:250)))
  expect_length(readLines(file.path(dir, "expected.csv")), 101)
  expect_match(readLines(file.path(dir, "yardbundle.toml")), "high = 250.0", fixed = TRUE, all = FALSE)
})

test_that("code files are carried and named", {
  code <- file.path(tempdir(), "helpers.R")
  writeLines("twice <- function(x) 2 * x", code)
  dir <- tempfile()
  save_quietly(function(newdata) newdata$x, dir, example = data.frame(x = 1), code = code)
  expect_true(file.exists(file.path(dir, "code", "helpers.R")))
  expect_true("source = \"code/helpers.R\"" %in% readLines(file.path(dir, "yardbundle.toml")))
  expect_error(save_quietly(mean, dir, data.frame(x = 1), code = "absent.R"), "absent.R", class = "yard_error")
})

test_that("a model that cannot answer, or answers differently each time, is refused", {
  dir <- tempfile()
  expect_error(save_quietly(lm(mpg ~ wt, mtcars), dir, mtcars["hp"]), "object 'wt' not found", class = "yard_no_answer")
  chance <- function(newdata) newdata$x + runif(nrow(newdata))
  expect_error(save_quietly(chance, dir, data.frame(x = 1)), "answers its example differently", class = "yard_unstable")
  short <- function(newdata) 1
  expect_error(save_quietly(short, dir, data.frame(x = 1:2)), "answered 1 rows to 2", class = "yard_no_answer")
  expect_error(save_quietly(mean, dir, "x"), "class character", class = "yard_error")
})

test_that("metrics and lineage that a bundle cannot carry are refused", {
  for (metrics in list(list(1), list(mae = "a"), list(mae = NaN), list(mae = 1:2))) {
    expect_error(check_metrics(metrics), "named finite numbers", class = "yard_error")
  }
  expect_identical(check_metrics(c(mae = 1L)), list(mae = 1))
  expect_error(check_texts(list("a")), "named strings", class = "yard_error")
})

test_that("metrics are logged a line a call", {
  dir <- tempfile()
  Sys.setenv(YARD_OUTPUT = dir)
  on.exit(Sys.unsetenv("YARD_OUTPUT"))
  yard_log(mae = 12.1, epoch = 1L)
  yard_log(mae = Inf)
  expect_identical(readLines(file.path(dir, "metrics.jsonl")), c("{\"mae\": 12.1, \"epoch\": 1}", "{\"mae\": null}"))
  expect_error(yard_log(12), "named numbers", class = "yard_error")
  expect_error(yard_log(mae = "low"), "named numbers", class = "yard_error")
})

test_that("what was logged is among the metrics of the default folder, and parameters come from the yard", {
  dir <- tempfile()
  dir.create(dir)
  old <- setwd(dir)
  on.exit(setwd(old))
  yard_log(mae = 3, rounds = 1)
  yard_log(mae = 2)
  save_quietly(function(newdata) newdata$x, example = data.frame(x = 1), metrics = list(rounds = 7))
  toml <- readLines(file.path("yard-output", "yardbundle.toml"))
  expect_true(all(c("mae = 2.0", "rounds = 7.0") %in% toml))
  expect_identical(yard_parameter("trees", 40), 40)
  expect_error(yard_parameter("trees"), "There is no parameter trees")
  Sys.setenv(YARD_PARAMETERS = '{"trees": 80, "kind": "b"}')
  on.exit(Sys.unsetenv("YARD_PARAMETERS"), add = TRUE)
  expect_equal(yard_parameter("trees", 40), 80)
  expect_identical(yard_parameter("kind"), "b")
})
