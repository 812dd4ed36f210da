size <- function(x) length(serialize(x, NULL))

# A function made as one at the top of a script is.
at_top <- function(text) eval(parse(text = text), globalenv())

test_that("an lm fitted inside a function leaves the function's data behind", {
  fit <- at_top("(function() { ballast <- runif(1e5); k <- 2; lm(mpg ~ poly(wt, k) + cyl, mtcars) })()")
  light <- slim(without_rows(fit), names(mtcars))
  expect_gt(size(fit), 8e5)
  expect_lt(size(light), 1e4)
  expect_identical(predict(unserialize(serialize(light, NULL)), mtcars), predict(fit, mtcars))
})

test_that("the rows an lm or glm was fitted on stay behind, the classes do not", {
  d <- data.frame(x = (1:4000) / 4000, secret = "Ann's salary")
  d$z <- factor(rep(c("no", "yes", "yes", "no"), 1000))
  for (fit in list(glm(z ~ x, binomial, d), glm((z == "yes") ~ x, binomial, d), glm(as.integer(z) - 1L ~ x, binomial, d))) {
    light <- slim(without_rows(fit), names(d))
    expect_lt(size(light), size(fit) / 20)
    expect_false(grepl("salary", rawToChar(serialize(light, NULL, ascii = TRUE)), fixed = TRUE))
    expect_identical(yard_answer(light, d), yard_answer(fit, d))
  }
  called <- do.call(lm, list(x ~ z, data = d))
  expect_lt(size(slim(without_rows(called), names(d))), 1e4)
})

test_that("a function brings what it names, also from the global environment, and nothing else", {
  make <- at_top("function(d) { fit <- lm(mpg ~ wt, d); other <- runif(1e5); function(newdata) offset_by(predict(fit, newdata)) }")
  assign("offset_by", at_top("function(x) if (length(x) > 1e6) offset_by(x) else x + shift"), globalenv())
  assign("shift", 100, globalenv())
  f <- make(mtcars)
  expected <- f(mtcars)
  light <- slim(f, names(mtcars))
  rm("offset_by", "shift", envir = globalenv())
  expect_lt(size(light), 5e4)
  expect_identical(unserialize(serialize(light, NULL))(mtcars), expected)
})

test_that("functions that share an environment still share it", {
  pair <- at_top("local({ n <- 1; list(up = function(newdata) n <<- n + newdata, get = function(newdata) n) })")
  light <- slim(pair, character())
  light$up(4)
  expect_identical(light$get(), 5)
  expect_identical(pair$get(), 1)
})

test_that("what a package made answers as before", {
  f <- splinefun(1:4, c(1, 4, 9, 16))
  expect_identical(slim(f, character())(2.5), f(2.5))
  expect_identical(topenv(environment(slim(f, character()))), asNamespace("stats"))
  expect_identical(slim(stats::median, character()), stats::median)
})
