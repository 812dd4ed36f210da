# Finance, in R: minutes in the air, the basis of a flight's cost in fuel.
#
# Reads $YARD_DATA/flights.csv, and publishes two versions to the yard of YARD_URL and YARD_TOKEN.

library(modelyard)
library(ranger)

say <- function(...) {
  cat(sprintf(...), "\n", sep = "")
  flush(stdout())
}

flights <- read.csv(file.path(Sys.getenv("YARD_DATA"), "flights.csv"), stringsAsFactors = TRUE)
say("learning from %s flights", format(nrow(flights), big.mark = ","))

# The newest fifth is not learned from: how far off the models are is measured on it.
cut <- floor(nrow(flights) * 0.8)
older <- flights[seq_len(cut), ]
newer <- flights[-seq_len(cut), ]
inputs <- setdiff(names(flights), "air_time")

publish <- function(fit, predicted, description) {
  mae <- mean(abs(predicted - newer$air_time))
  say("%s: %.1f min off on the newest fifth", description, mae)
  version <- yard_publish(
    fit, "finance/air-time",
    example = head(older[inputs], 20), metrics = list(mae = mae), description = description
  )
  say("version %d is published and %s", as.integer(version$version), version$state)
}

speed <- lm(air_time ~ 0 + distance, data = older)
publish(speed, predict(speed, newer), "one speed for all, by linear regression")

set.seed(1)
forest <- ranger(air_time ~ ., data = older, num.trees = 40, min.node.size = 20, num.threads = 1)
publish(forest, predict(forest, newer, num.threads = 1)$predictions, "a random forest of 40 trees")
