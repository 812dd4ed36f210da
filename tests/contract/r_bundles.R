# Saves a bundle of each kind of model with the package `modelyard`, as a person would, into folders of their own.
suppressPackageStartupMessages({
  library(modelyard)
  library(splines)
  library(mgcv)
  library(ranger)
  library(randomForest)
  library(rpart)
  library(glmnet)
})
folder <- commandArgs(TRUE)[1L]
set.seed(5)
rows <- 200L
flights <- data.frame(
  distance = round(runif(rows, 80, 4983), 1), hour = sample(5:23, rows, TRUE), rain = sample(c(TRUE, FALSE), rows, TRUE),
  carrier = factor(sample(c("AA", "B6", "UA"), rows, TRUE)), origin = sample(c("EWR", "JFK, \"NY\"", "né"), rows, TRUE)
)
flights$size <- factor(sample(c("small", "large"), rows, TRUE), levels = c("small", "large"), ordered = TRUE)
flights$air_time <- flights$distance / 8 + 3 * (flights$carrier == "UA") + rnorm(rows)
flights$late <- factor(ifelse(flights$hour + 3 * rnorm(rows) > 14, "late", "on time"))
holes <- head(flights, 30)
holes$distance[c(2, 5)] <- c(NA, Inf)
holes$carrier[3] <- NA
holes$rain[4] <- NA
holes$hour[6] <- NA
some <- head(flights, 20)

save <- function(name, model, ..., example = some) {
  suppressMessages(yard_save(model, file.path(folder, name), example = example, ...))
}

per_hundred <- function(x) x / 100
train <- function(data) {
  ballast <- runif(1e6)
  knots <- 3
  lm(air_time ~ ns(per_hundred(distance), knots) + carrier + size + rain, data)
}
save("lm", train(flights), metrics = list(mae = 0.8, `r squared` = 1), description = "A \"first\" try\n", lineage = list(code = "4f1c2e"))
save("lm-missing", lm(air_time ~ distance + carrier + hour + rain, flights), example = holes)
save("lm-strings", lm(cbind(air_time, hour) ~ distance + origin, flights), missing = "origin")
save("glm", glm(late ~ hour + rain, binomial, flights), missing = TRUE)
save("glm-logical", glm((late == "late") ~ hour, binomial, flights))
save("gam", gam(air_time ~ s(distance) + carrier, data = flights))
save("ranger", ranger(late ~ distance + hour + carrier, flights, num.trees = 20, probability = TRUE, num.threads = 1))
save("randomForest", randomForest(late ~ distance + hour + carrier, flights, ntree = 20))
save("rpart", rpart(air_time ~ distance + hour, flights))
recipe <- function(rows) cbind(model.matrix(~ carrier - 1, rows), rows$distance)
fit <- cv.glmnet(recipe(flights), flights$air_time)
save("glmnet", function(newdata) predict(fit, recipe(newdata)), example = some[c("distance", "carrier")])
code <- file.path(folder, "wind.R")
writeLines("tail_wind <- function(x) x * 1.1", code)
source(code)
answer <- function(newdata) data.frame(up = get("tail_wind")(newdata$distance), down = -newdata$distance)
save("code", answer, example = some["distance"], code = code)
unlink(code)
