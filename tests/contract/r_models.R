# Fits one model of each kind and asks it itself. Into each case's folder go model.rds and case.json: the inputs,
# options and questions for the worker, and what the model's own predict says to them.
suppressPackageStartupMessages({
  library(splines)
  library(mgcv)
  library(ranger)
  library(randomForest)
  library(rpart)
  library(glmnet)
})
folder <- commandArgs(TRUE)[1L]
set.seed(11)
rows <- 240L
d <- data.frame(x = round(runif(rows, 1, 9), 4), w = round(rnorm(rows), 4), n = sample(1:9, rows, TRUE))
d$f <- factor(sample(c("lamp", "rope", "sail"), rows, TRUE), levels = c("sail", "rope", "lamp"))
d$o <- factor(sample(c("low", "mid", "top"), rows, TRUE), levels = c("low", "mid", "top"), ordered = TRUE)
d$s <- sample(c("é", "b", "NA"), rows, TRUE)
d$l <- sample(c(TRUE, FALSE), rows, TRUE)
d$y <- 3 * d$x + as.integer(d$f) + d$n / 2 + d$l + rnorm(rows) / 9
d$z <- factor(ifelse(d$x + 2 * rnorm(rows) > 5, "time", "late"))
d$k <- factor(c("one", "two", "three")[1L + (d$x + 2 * rnorm(rows) > 4) + (d$w > 0)])
d$count <- rpois(rows, d$x)
new <- head(d, 12)

type_of <- function(x) if (is.integer(x)) "int64" else if (is.numeric(x)) "float64" else if (is.logical(x)) "bool" else "string"

# Doubles as text: JSON has no NaN and no infinities, and jsonlite writes 15 digits.
exact <- function(x) if (is.double(x)) sprintf("%.17g", x) else x

case <- function(name, model, columns, answers, packages = character(), question = new) {
  dir.create(file.path(folder, name))
  saveRDS(model, file.path(folder, name, "model.rds"))
  asked <- question[columns]
  inputs <- lapply(columns, function(c) c(c, type_of(asked[[c]]), "1", levels(asked[[c]])))
  ordered <- paste(columns[vapply(asked, is.ordered, NA)], collapse = "\n")
  options <- c(list(packages = paste(packages, collapse = "\n")), if (nzchar(ordered)) list(ordered = ordered))
  what <- list(
    inputs = inputs, options = options, rows = nrow(asked),
    question = lapply(asked, exact), answers = lapply(lapply(answers, unname), exact)
  )
  json <- jsonlite::toJSON(what, auto_unbox = FALSE, na = "null")
  writeLines(json, file.path(folder, name, "case.json"))
}

number <- function(x) list(prediction = as.vector(x))
chances <- function(label, p, classes = colnames(p)) {
  c(list(label = label), stats::setNames(lapply(seq_along(classes), function(i) p[, i]), paste0("probability:", classes)))
}
two <- function(p, labels, classes = labels) chances(labels[1L + (p > 0.5)], cbind(1 - p, p), classes)

m <- lm(y ~ x + f + n + l, d)
case("lm", m, c("x", "f", "n", "l"), number(predict(m, new)))
gaps <- new
gaps$x[1:2] <- c(NA, NaN)
gaps$f[3] <- NA
gaps$l[4] <- NA
gaps$n[5] <- NA
gaps$x[6:7] <- c(Inf, -Inf)
case("lm-missing", m, c("x", "f", "n", "l"), number(predict(m, gaps)), question = gaps)
m <- lm(y ~ ns(x, 3) + poly(w, 2) + o + s, d)
case("lm-splines", m, c("x", "w", "o", "s"), number(predict(m, new)), "splines")
m <- lm(cbind(y, x) ~ n + f, d)
case("lm-outputs", m, c("n", "f"), list(y = predict(m, new)[, "y"], x = predict(m, new)[, "x"]))
m <- glm(z ~ x + f, binomial, d)
case("glm-factor", m, c("x", "f"), two(predict(m, new, type = "response"), c("late", "time")))
m <- glm(as.integer(z == "time") ~ x, binomial, d)
case("glm-numbers", m, "x", two(predict(m, new, type = "response"), 0:1))
m <- glm((z == "time") ~ x, binomial, d)
case("glm-logical", m, "x", two(predict(m, new, type = "response"), c(FALSE, TRUE), c("false", "true")))
m <- glm(count ~ x + f, poisson, d)
case("glm-poisson", m, c("x", "f"), number(predict(m, new, type = "response")))
m <- glm(cbind(n, 9 - n) ~ x, binomial, d)
case("glm-proportion", m, "x", number(predict(m, new, type = "response")))
m <- gam(y ~ s(x) + f, data = d)
case("gam", m, c("x", "f"), number(predict(m, new)), "mgcv 1.0")
m <- gam(z ~ s(x), binomial, data = d)
case("gam-binomial", m, "x", two(as.vector(predict(m, new, type = "response")), c("late", "time")), "mgcv")
d$class <- as.integer(d$k) - 1L
m <- gam(list(class ~ s(x), ~ s(x)), multinom(2), data = d)
p <- predict(m, new, type = "response")
case("gam-multinom", m, "x", chances(max.col(p) - 1L, p, 0:2), "mgcv")
m <- ranger(y ~ x + f + n, d, num.trees = 20, num.threads = 1)
case("ranger", m, c("x", "f", "n"), number(predict(m, new)$predictions), "ranger")
m <- ranger(k ~ x + f + n, d, num.trees = 21, num.threads = 1)
case("ranger-classes", m, c("x", "f", "n"), list(label = as.character(predict(m, new, seed = 1)$predictions)), "ranger")
m <- ranger(k ~ x + f + n, d, num.trees = 20, probability = TRUE, num.threads = 1)
p <- predict(m, new)$predictions
case("ranger-chances", m, c("x", "f", "n"), chances(colnames(p)[max.col(p, "first")], p), "ranger")
m <- randomForest(y ~ x + f + n, d, ntree = 20)
case("randomForest", m, c("x", "f", "n"), number(predict(m, new)), "randomForest")
m <- randomForest(z ~ x + f + n, d, ntree = 21) # odd: no ties between two classes
case("randomForest-classes", m, c("x", "f", "n"), chances(as.character(predict(m, new)), predict(m, new, type = "prob")), "randomForest")
m <- rpart(y ~ x + f + n, d)
case("rpart", m, c("x", "f", "n"), number(predict(m, new)), "rpart")
m <- rpart(k ~ x + f + n, d, parms = list(loss = matrix(c(0, 1, 9, 1, 0, 1, 1, 1, 0), 3)))
case("rpart-classes", m, c("x", "f", "n"), chances(as.character(predict(m, new, type = "class")), predict(m, new)), "rpart")

x <- as.matrix(d[c("x", "w")])
newx <- as.matrix(new[c("x", "w")])
m <- cv.glmnet(x, d$y)
case("glmnet", m, c("w", "x"), number(predict(m, newx)), "glmnet") # the columns come in another order
m <- cv.glmnet(x, d$k, family = "multinomial")
p <- predict(m, newx, type = "response")[, , 1]
case("glmnet-classes", m, c("x", "w"), chances(as.vector(predict(m, newx, type = "class")), p), "glmnet")
m <- cv.glmnet(x, d$z, family = "binomial")
p <- as.vector(predict(m, newx, type = "response"))
case("glmnet-binomial", m, c("x", "w"), two(p, c("late", "time")), "glmnet")
recipe <- local({
  centre <- mean(d$x)
  matrix_of <- function(rows) cbind(model.matrix(~ f - 1, rows), x = rows$x - centre, wide = rows$w^2)
  fit <- glmnet(matrix_of(d), d$y, lambda = 0.01)
  function(newdata) predict(fit, matrix_of(newdata))
})
case("closure", recipe, c("x", "w", "f"), number(recipe(new)), "glmnet")
odds <- local(function(newdata) {
  p <- plogis(newdata$x - 5)
  data.frame(label = ifelse(p > 0.5, "go", "stay"), `probability:go` = p, check.names = FALSE)
})
p <- plogis(new$x - 5)
case("closure-label", odds, "x", list(label = ifelse(p > 0.5, "go", "stay"), `probability:go` = p))
case("closure-outputs", local(function(newdata) data.frame(up = newdata$x, down = -newdata$n)), c("x", "n"), list(up = new$x, down = -new$n))
