predictions <- function(text) as_predictions(jsonlite::fromJSON(text))

test_that("numbers come back as a numeric vector", {
  expect_identical(predictions("[1,2.5,null]"), c(1, 2.5, NA))
  expect_identical(predictions("[null]"), NA_real_)
  expect_identical(predictions("[]"), numeric())
})

test_that("labels and probabilities come back as columns", {
  table <- predictions("[{\"label\":\"late\",\"probabilities\":{\"late\":0.75,\"on time\":0.25}},{\"label\":\"on time\",\"probabilities\":{\"late\":0,\"on time\":1}}]")
  expect_identical(names(table), c("label", "probability:late", "probability:on time"))
  expect_identical(table$label, c("late", "on time"))
  expect_equal(table$`probability:late`, c(0.75, 0))
  expect_identical(predictions("[{\"label\":true},{\"label\":false}]"), data.frame(label = c(TRUE, FALSE)))
})

test_that("several outputs come back as their columns", {
  expect_equal(predictions("[{\"up\":1,\"down\":-1},{\"up\":2,\"down\":null}]"), data.frame(up = 1:2, down = c(-1, NA)))
})

test_that("records become tables", {
  table <- records_table(list(
    list(model = "a/b", champion = NULL, aliases = setNames(list(), character())),
    list(model = "a/c", champion = 2L, aliases = list(champion = 2L, best = 1L))
  ), c("model", "champion", "aliases"))
  expect_identical(table, data.frame(model = c("a/b", "a/c"), champion = c(NA, 2L), aliases = c("", "champion=2, best=1")))
  expect_identical(names(records_table(list(), c("model", "champion"))), c("model", "champion"))
})
