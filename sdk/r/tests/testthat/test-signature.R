test_that("types, levels, categories, ranges and missing values come from the example", {
  example <- data.frame(x = c(2, NA, Inf), n = 3:1, l = c(TRUE, FALSE, NA), s = c("b", "a", "b"), stringsAsFactors = FALSE)
  example$f <- factor(c("u", "u", "w"), levels = c("w", "v", "u"))
  columns <- infer_inputs(example)
  names(columns) <- names(example)
  expect_identical(vapply(columns, `[[`, "", "type"), c(x = "float64", n = "int64", l = "bool", s = "string", f = "string"))
  expect_identical(columns$x[c("missing", "low", "high", "example")], list(missing = TRUE, low = 2, high = 2, example = "2"))
  expect_identical(columns$n[c("missing", "low", "high", "example")], list(missing = NULL, low = 1, high = 3, example = "3"))
  expect_true(columns$l$missing)
  expect_identical(as.vector(columns$s$categories), c("a", "b"))
  expect_null(columns$s$levels)
  expect_identical(as.vector(columns$f$levels), c("w", "v", "u"))
})

test_that("values may be missing where the publisher says so", {
  example <- data.frame(x = 1, y = 2)
  expect_identical(lapply(infer_inputs(example, "y"), `[[`, "missing"), list(NULL, TRUE))
  expect_identical(lapply(infer_inputs(example, TRUE), `[[`, "missing"), list(TRUE, TRUE))
  expect_error(infer_inputs(example, "z"), "`missing` names z", class = "yard_error")
})

test_that("more than 100 different strings are no categories", {
  many <- function(n) infer_inputs(data.frame(s = as.character(seq_len(n))))[[1L]]$categories
  expect_length(many(100), 100)
  expect_null(many(101))
})

test_that("what a yard cannot carry is refused by name, with a way out", {
  expect_error(infer_inputs(data.frame(day = as.Date("2026-01-01"))), "column day is a Date.*as.integer", class = "yard_error")
  expect_error(infer_inputs(data.frame(at = Sys.time())), "column at is a POSIXct", class = "yard_error")
  expect_error(infer_inputs(data.frame(z = 1i)), "column z is of class complex", class = "yard_error")
  listed <- data.frame(x = 1:2)
  listed$l <- list(1, 2)
  expect_error(infer_inputs(listed), "column l is of class list", class = "yard_error")
  expect_error(infer_inputs(data.frame(x = 1)[0, , drop = FALSE]), "no rows", class = "yard_error")
  expect_error(infer_inputs(data.frame(f = factor(NA))), "factor f has no levels", class = "yard_error")
  expect_error(infer_inputs(data.frame(a = 1, a = 2, check.names = FALSE)), "column a twice", class = "yard_error")
})
