# Expressions of a formula over the inputs, as values of a book.

# R function -> operation of contract/numbers.md, for those that mean the same with one or two arguments.
SAME <- c(
  `+` = "add", `-` = "subtract", `*` = "multiply", `/` = "divide", `^` = "power", log = "log", exp = "exp",
  sqrt = "sqrt", abs = "abs", floor = "floor", ceiling = "ceiling", pmin = "least", pmax = "greatest", `<` = "less",
  `<=` = "less_or_equal", `==` = "equal", `!` = "not", `&` = "and", `|` = "or", ifelse = "if"
)
ARGUMENTS <- c(ifelse = 3L, log = 1L, exp = 1L, sqrt = 1L, abs = 1L, floor = 1L, ceiling = 1L, `!` = 1L)
PLAIN <- c("(", "I", "as.numeric", "as.double", "identity")
LOGICAL <- c("<", "<=", ">", ">=", "==", "!=", "!", "&", "|")

# The value of an expression. `env`: where a formula finds what is no column.
value_of <- function(expr, env, book) {
  if (is.numeric(expr) || is.logical(expr)) return(constant(expr, book))
  if (is.name(expr)) return(value_of_name(as.character(expr), env, book))
  name <- called(expr)
  arguments <- as.list(expr)[-1L]
  if (name %in% PLAIN && length(arguments) == 1L) return(value_of(arguments[[1L]], env, book))
  one <- function(i) value_of(arguments[[i]], env, book)
  if (!is.null(names(arguments)) && any(nzchar(names(arguments)))) not_expressed("the formula calls ", shown(expr))
  if (length(arguments) == 1L) {
    if (name == "-") return(applied(book, "subtract", number_value(book, 0), one(1L)))
    if (name == "+") return(one(1L))
    if (name == "log1p") return(applied(book, "log", applied(book, "add", number_value(book, 1), one(1L))))
    base <- c(log2 = 2, log10 = 10)[name]
    if (!is.na(base)) return(applied(book, "divide", applied(book, "log", one(1L)), number_value(book, log(base))))
  }
  if (length(arguments) == 2L) {
    turned <- c(`>` = "less", `>=` = "less_or_equal")[name]
    if (!is.na(turned)) return(applied(book, unname(turned), one(2L), one(1L)))
    if (name == "!=") return(applied(book, "not", applied(book, "equal", one(1L), one(2L))))
  }
  if (!nzchar(name)) not_expressed("the formula calls ", shown(expr))
  wanted <- ARGUMENTS[name]
  if (!name %in% names(SAME) || length(arguments) != (if (is.na(wanted)) 2L else wanted)) {
    not_expressed("the formula calls ", shown(expr))
  }
  do.call(applied, c(list(book, SAME[[name]]), lapply(seq_along(arguments), one)))
}

# The name of the function an expression calls, without its package; "" where it calls none by name.
called <- function(expr) {
  if (!is.call(expr)) return("")
  f <- expr[[1L]]
  if (is.call(f) && length(f) == 3L && as.character(f[[1L]]) %in% c("::", ":::")) f <- f[[3L]]
  if (is.name(f)) as.character(f) else ""
}

constant <- function(number, book) {
  if (length(number) != 1L || is.na(number)) not_expressed("the formula names a value that is no single number")
  number_value(book, number)
}

value_of_name <- function(name, env, book) {
  type <- book$type[name]
  if (!is.na(type)) {
    if (type == "string") not_expressed("the formula calculates with ", name, ", which is text")
    return(input_value(book, name))
  }
  found <- get0(name, env)
  if (!(is.numeric(found) || is.logical(found)) || is.object(found)) not_expressed("the formula names ", name, ", which is no column and no number")
  constant(found, book)
}

# The values of a variable of the formula that is numbers: several where it is a matrix.
numeric_values <- function(expr, env, book) {
  name <- called(expr)
  if (name == "poly") return(poly_values(expr, env, book))
  if (name == "scale") return(scale_value(expr, env, book))
  value_of(expr, env, book)
}

# stats::poly: powers, or orthogonal polynomials by the recurrence that `coefs` is for. It refuses what is missing.
poly_values <- function(expr, env, book) {
  call <- match.call(stats::poly, expr)
  known <- setdiff(names(call), c("", "x", "degree", "coefs", "raw", "simple"))
  if (length(known) || sum(names(call) == "") > 2L) not_expressed("the formula calls ", shown(expr))
  degree <- if (!is.null(call$degree)) call$degree else if (sum(names(call) == "") == 2L) call[[which(names(call) == "")[2L]]] else 1
  degree <- tryCatch(eval(degree, env), error = function(e) not_expressed("the formula calls ", shown(expr)))
  x <- present(book, value_of(call$x, env, book), shown(call$x))
  if (isTRUE(tryCatch(eval(call$raw, env), error = function(e) NULL))) {
    return(vapply(seq_len(degree), function(i) if (i == 1L) x else applied(book, "power", x, number_value(book, i)), ""))
  }
  coefs <- eval(call$coefs, env)
  if (is.null(coefs)) not_expressed("the formula calls ", shown(expr), " without its coefficients")
  number <- function(i) number_value(book, i)
  less <- function(i) applied(book, "subtract", x, number(coefs$alpha[i]))
  polynomials <- c(number(1), less(1L))
  for (i in seq_len(degree)[-1L]) {
    ratio <- number(coefs$norm2[i + 1L] / coefs$norm2[i])
    before <- applied(book, "multiply", ratio, polynomials[i - 1L])
    polynomials[i + 1L] <- applied(book, "subtract", applied(book, "multiply", less(i), polynomials[i]), before)
  }
  vapply(seq_len(degree), function(i) applied(book, "divide", polynomials[i + 1L], number(sqrt(coefs$norm2[i + 2L]))), "")
}

scale_value <- function(expr, env, book) {
  call <- match.call(base::scale, expr)
  centre <- eval(call$center, env)
  width <- eval(call$scale, env)
  if (length(centre) > 1L || length(width) > 1L) not_expressed("the formula calls ", shown(expr))
  value <- value_of(call$x, env, book)
  if (is.numeric(centre)) value <- applied(book, "subtract", value, number_value(book, centre))
  if (is.numeric(width)) value <- applied(book, "divide", value, number_value(book, width))
  value
}

# A variable of the formula with levels, as a function: numbers, one a level -> the value they become.
levelled <- function(expr, levels, env, book) {
  inner <- expr
  while (is.call(inner) && length(inner) == 2L && as.character(inner[[1L]])[1L] %in% c("factor", "as.factor", "ordered", "as.ordered", "as.character")) {
    inner <- inner[[2L]]
  }
  if (is.name(inner) && identical(unname(book$type[as.character(inner)]), "string")) {
    column <- as.character(inner)
    return(function(numbers) string_table(book, column, levels, numbers, "refuse"))
  }
  logical <- is_logical(inner, book)
  if (is.call(inner) && !logical) not_expressed("the formula calls ", shown(expr))
  of <- value_of(inner, env, book)
  whole <- is.name(inner) && identical(unname(book$type[as.character(inner)]), "int64")
  ranges <- if (logical) list(low = c(0, 1), high = c(0, 1)) else ranges_of(levels, whole)
  if (logical && !identical(levels, c("FALSE", "TRUE"))) not_expressed("the formula has levels of ", shown(expr))
  other <- if (logical) "missing" else "refuse" # TRUE and FALSE are all there are
  function(numbers) range_table(book, of, ranges, numbers, other, shown(inner))
}

is_logical <- function(expr, book) {
  if (is.name(expr)) return(identical(unname(book$type[as.character(expr)]), "bool"))
  if (is.call(expr) && identical(expr[[1L]], quote(`(`))) return(is_logical(expr[[2L]], book))
  is.call(expr) && as.character(expr[[1L]])[1L] %in% LOGICAL
}

# The numbers that R's factor() takes for each level: those it writes as the level's text.
ranges_of <- function(levels, whole) {
  numbers <- suppressWarnings(as.numeric(levels))
  if (anyNA(numbers) || !all(as.character(numbers) == levels | whole)) not_expressed("the formula has levels that are no numbers")
  if (whole) return(list(low = numbers, high = numbers))
  end <- function(number, text, direction) {
    if (number == 0) return(0)
    unit <- 2^(floor(log2(abs(number))) - 53) # of doubles below a power of two
    around <- number + direction * (0:400) * unit
    around[sum(cumprod(as.character(around) == text))]
  }
  list(low = unlist(Map(end, numbers, levels, -1)), high = unlist(Map(end, numbers, levels, 1)))
}

shown <- function(expr) {
  text <- paste(deparse(expr), collapse = " ")
  if (nchar(text) > 60L) paste0(substr(text, 1L, 57L), "...") else text
}
