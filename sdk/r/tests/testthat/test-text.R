test_that("numbers read back as the same double", {
  x <- c(0, -0.5, 0.1, 1 / 3, 0.1 + 0.2, pi * 1e10, 1e-300, .Machine$double.xmax, 2^53 + 2, -1e22, 5e-324)
  expect_identical(as.double(number_text(x[1:6])), x[1:6])
  expect_equal(as.double(number_text(x)), x, tolerance = 1e-15)
  expect_identical(number_text(c(0.1, 1400, 0.1 + 0.2)), c("0.1", "1400", "0.30000000000000004"))
  expect_identical(number_text(c(NA, NaN, Inf, -Inf)), c("NaN", "NaN", "Inf", "-Inf"))
})

test_that("strings are quoted for JSON and TOML", {
  text <- "a\"b\\c\nd\te\001f é €"
  expect_identical(quoted(text), "\"a\\\"b\\\\c\\u000ad\\u0009e\\u0001f é €\"")
  expect_identical(jsonlite::fromJSON(paste0("[", quoted(text), "]")), text)
})

test_that("CSV has missing values as empty fields and strings always in quotes", {
  lines <- csv_lines(list(
    x = c(1.5, NA, Inf), n = c(1L, NA, -3L), b = c(TRUE, NA, FALSE), `s "t"` = c("", NA, "say \"hi\", then\nleave"),
    f = factor(c("u", NA, "v"))
  ))
  expect_identical(lines, c(
    "\"x\",\"n\",\"b\",\"s \"\"t\"\"\",\"f\"",
    "1.5,1,true,\"\",\"u\"", ",,,,", "Inf,-3,false,\"say \"\"hi\"\", then\nleave\",\"v\""
  ))
})

test_that("a single column of numbers has no empty lines", {
  expect_identical(csv_lines(list(x = c(1, NA))), c("\"x\"", "1", "NaN"))
})

test_that("TOML tells numbers, strings and arrays apart", {
  lines <- toml_lines(list(a = 1L, b = 80, c = "x", d = toml_array("x"), e = TRUE, f = NULL, `g h` = 1e10))
  expect_identical(lines, c("a = 1", "b = 80.0", "c = \"x\"", "d = [\"x\"]", "e = true", "\"g h\" = 10000000000.0"))
})

test_that("rows become JSON records with null for what is missing", {
  rows <- data.frame(x = c(0.1 + 0.2, NaN), n = c(7L, NA), f = factor(c("a", NA)), l = c(TRUE, NA), s = c("\"", NA))
  expect_identical(
    json_records(rows),
    "[{\"x\":0.30000000000000004,\"n\":7,\"f\":\"a\",\"l\":true,\"s\":\"\\\"\"},{\"x\":null,\"n\":null,\"f\":null,\"l\":null,\"s\":null}]"
  )
  expect_identical(json_records(rows[0, ]), "[]")
  days <- data.frame(at = as.POSIXct("2026-03-01 12:00:00", tz = "UTC"), day = as.Date("2026-03-01"))
  expect_identical(json_records(days), "[{\"at\":\"2026-03-01T12:00:00Z\",\"day\":\"2026-03-01\"}]")
  expect_error(json_records(data.frame(x = Inf)), "column x has an infinite number", class = "yard_error")
})
