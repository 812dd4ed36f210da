test_that("references are read as a person types them", {
  expect_identical(parse_reference("finance/fuel-cost")$model, "finance/fuel-cost")
  expect_identical(parse_reference("finance/fuel-cost@champion")$alias, "champion")
  expect_identical(parse_reference("finance/fuel-cost/7")$version, 7L)
  expect_null(parse_reference("finance/fuel-cost")$version)
})

test_that("what is no reference is refused and says how to write one", {
  wrong <- c(
    "", "finance", "finance/", "/fuel", "a/b/c", "a/b/0", "a/b/7@c", "a/b@", "A/b", "a/../b", "a/b\n", "a/1b", "\u0430/b",
    strrep("a", 64), paste0("a/", strrep("b", 64))
  )
  for (text in wrong) expect_error(parse_reference(text), "department/name", class = "yard_error")
  for (value in list(7, NULL, NA_character_, c("a/b", "c/d"))) expect_error(parse_reference(value), class = "yard_error")
  expect_error(parse_model("a/b/7"), "names a version", class = "yard_error")
})
