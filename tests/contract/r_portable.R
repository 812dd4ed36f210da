# Fits models and writes the bundle of each into a folder of its own, as the R package does.
#   arguments: the folder, the package's R files
arguments <- commandArgs(TRUE)
for (file in list.files(arguments[2L], "[.]R$", full.names = TRUE)) source(file)
suppressPackageStartupMessages({
  library(ranger)
  library(randomForest)
  library(rpart)
  library(glmnet)
})
set.seed(7)
rows <- 300L
d <- data.frame(x = round(runif(rows, 1, 9), 4), w = round(rnorm(rows), 4), n = sample(1:9, rows, TRUE))
d$f <- factor(sample(c("lamp", "rope", "sail"), rows, TRUE), levels = c("sail", "rope", "lamp"))
d$o <- factor(sample(c("low", "mid", "top"), rows, TRUE), levels = c("low", "mid", "top"), ordered = TRUE)
d$s <- sample(c("é", "b", "NA"), rows, TRUE)
d$l <- sample(c(TRUE, FALSE), rows, TRUE)
d$cyl <- sample(c(4, 6, 8.5), rows, TRUE)
d$y <- 3 * d$x + as.integer(d$f) + d$n / 2 + d$l + rnorm(rows) / 9
d$z <- factor(ifelse(d$x + 2 * rnorm(rows) > 5, "time", "late"))
d$k <- factor(c("one", "two", "three")[1L + (d$x + 2 * rnorm(rows) > 4) + (d$w > 0)])
d$count <- rpois(rows, d$x)
d$positive <- exp(rnorm(rows)) + 0.1

save <- function(name, model, ...) {
  message(name)
  suppressMessages(yard_save(model, file.path(arguments[1L], name), example = head(d, 40), ...))
}

save("lm", lm(y ~ x + f + n + l + s, d), missing = c("x", "f", "l", "s", "n"))
save("lm-formula", lm(log(y + 9) ~ poly(w, 2) + poly(x, 3, raw = TRUE) + I(x^2 / (n + 1)) + log(x) * f + o:l + (w > 0) + scale(w), d))
save("lm-levels", lm(y ~ factor(cyl) + n, d))
save("lm-crossed", lm(y ~ f:x + l - 1 + offset(w / 2), d, weights = n), missing = TRUE)
save("lm-outputs", lm(cbind(y, x) ~ n + f, d))
save("lm-rank", suppressWarnings(lm(y ~ x + I(2 * x) + w, d)))
save("lm-contrasts", lm(y ~ f + o, d, contrasts = list(f = "contr.sum", o = "contr.helmert")))
save("glm-binomial", glm(z ~ x + f, binomial, d), missing = c("x", "f"))
save("glm-probit", glm((z == "time") ~ x + w, binomial("probit"), d))
save("glm-cloglog", glm(as.integer(z == "time") ~ x, binomial("cloglog"), d))
save("glm-poisson", glm(count ~ x + f + offset(log(positive)), poisson, d))
save("glm-gamma", glm(positive ~ x, Gamma, d))
gaps <- c("x", "f", "n")
save("rpart", rpart(y ~ x + f + n, d))
save("rpart-classes", rpart(k ~ x + f + n + w, d, cp = 0.002, parms = list(loss = matrix(c(0, 1, 9, 1, 0, 1, 1, 1, 0), 3))), missing = gaps)
save("rpart-stops", rpart(y ~ log(x) + f + n + s, d, cp = 0.001, usesurrogate = 0), missing = gaps)
save("ranger", ranger(y ~ x + f + n + l, d, num.trees = 20, num.threads = 1), missing = "x")
save("ranger-classes", ranger(k ~ x + f + n, d, num.trees = 10, num.threads = 1, respect.unordered.factors = "order"))
save("ranger-chances", ranger(k ~ x + f + n + o, d, num.trees = 20, probability = TRUE, num.threads = 1, respect.unordered.factors = "partition"))
save("randomForest", randomForest(y ~ x + f + n + log(x), d, ntree = 20), missing = gaps)
save("randomForest-classes", randomForest(d[c("x", "f", "n")], d$k, ntree = 20, cutoff = c(0.5, 0.3, 0.2)), missing = "x")
numbers <- as.matrix(d[c("x", "w", "cyl")])
save("glmnet", cv.glmnet(numbers, d$y), missing = "w")
save("glmnet-binomial", glmnet(numbers, d$z, family = "binomial", lambda = 0.02))
save("glmnet-classes", cv.glmnet(numbers, d$k, family = "multinomial"), missing = c("x", "cyl"))
# What stays with R.
save("ranger-text", ranger(y ~ x + s, d, num.trees = 5, num.threads = 1))
save("lm-splines", lm(y ~ splines::ns(x, 3) + w, d))
save("function", local(function(newdata) newdata$x * 2))
