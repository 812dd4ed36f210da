test_that("a data.frame becomes CSV with dates and times as ISO 8601", {
  table <- data.frame(day = as.Date("2013-01-02"), at = as.POSIXct("2013-01-02 03:04:05.5", tz = "UTC"), x = NA_real_, s = "a\"b")
  body <- data_body(table)
  expect_identical(body$type, "text/csv")
  expect_identical(rawToChar(body$data), "\"day\",\"at\",\"x\",\"s\"\n\"2013-01-02\",\"2013-01-02T03:04:05.500000Z\",,\"a\"\"b\"\n")
})

test_that("CSV comes back as the types that the version says", {
  types <- c(n = "int64", big = "int64", x = "float64", b = "bool", d = "date", t = "datetime", s = "string")
  text <- "n,big,x,b,d,t,s\n1,9007199254740991,-inf,true,2013-01-02,2013-01-02T03:04:05.500000Z,\"a,\"\"b\"\n,,,,,,\n"
  table <- read_data(text, types)
  expect_identical(table$n, c(1L, NA))
  expect_identical(table$big, c(9007199254740991, NA))
  expect_identical(table$x, c(-Inf, NA))
  expect_identical(table$b, c(TRUE, NA))
  expect_identical(table$d, as.Date(c("2013-01-02", NA)))
  expect_identical(format(table$t[1L], "%Y-%m-%d %H:%M:%OS1"), "2013-01-02 03:04:05.5")
  expect_identical(table$s, c("a,\"b", NA))
})

test_that("what is no data is refused before anything is sent", {
  expect_error(data_body(1:3), "integer")
  expect_error(data_body("flights.xlsx"), "no ending")
  expect_error(dataset_version("operations/flights/x"), "names no version")
})
