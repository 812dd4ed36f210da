test_that("a pointer is found wherever it hides", {
  address <- unclass(getLoadedDLLs()[["stats"]])$handle
  expect_identical(typeof(address), "externalptr")
  inside <- new.env()
  inside$deep <- list(1, list(handle = address))
  models <- list(
    list(handle = address), structure(list(), handle = list(address)), inside,
    local(function(newdata) deep, list2env(list(deep = address)))
  )
  for (model in models) expect_error(refuse_pointers(model), "outside R \\(model.*saveRDS", class = "yard_pointer")
  expect_error(yard_save(models[[4]], tempfile(), data.frame(x = 1)), class = "yard_pointer")
})

test_that("a pointer that only the function around the fit held is no matter", {
  train <- function() {
    connection <- unclass(getLoadedDLLs()[["stats"]])$handle
    lm(mpg ~ wt, mtcars)
  }
  expect_error(refuse_pointers(train()), class = "yard_pointer")
  expect_message(yard_save(train(), tempfile(), mtcars), "does not read")
})

test_that("walking ends where environments hold themselves, and passes what was not given", {
  round <- new.env()
  round$self <- round
  f <- (function(a, b) { force(b); function(newdata) a })(b = round)
  expect_silent(refuse_pointers(f))
})

test_that("packages come from predict methods, formulas and functions", {
  expect_identical(needed_packages(lm(mpg ~ wt, mtcars)), character())
  expect_identical(needed_packages(lm(mpg ~ splines::ns(wt, 2), mtcars)), "splines")
  f <- eval(quote(function(newdata) tools::toTitleCase(rownames(newdata[, 1]))), globalenv())
  expect_identical(needed_packages(f), "tools")
  skip_if_not_installed("rpart")
  fit <- rpart::rpart(mpg ~ wt, mtcars)
  g <- local(function(newdata) predict(fit, newdata), list2env(list(fit = fit), parent = globalenv()))
  expect_identical(needed_packages(slim(g, names(mtcars))), "rpart")
})

test_that("a lock names what the packages need in turn", {
  lock <- jsonlite::fromJSON(lock_text("jsonlite"))
  expect_identical(lock$R$Version, as.character(getRversion()))
  expect_identical(lock$Packages$jsonlite$Version, as.character(packageVersion("jsonlite")))
  expect_true(all(c("BLAS", "RNGkind", "Locale") %in% names(lock$Modelyard)))
  httr2 <- jsonlite::fromJSON(lock_text("httr2"))$Packages
  expect_true(all(c("httr2", "curl", "R6") %in% names(httr2)))
  expect_error(package_versions("no.such.package"), "not installed", class = "yard_error")
})
