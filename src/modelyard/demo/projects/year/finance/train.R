# Finance, in R: minutes in the air, the basis of a flight's cost in fuel. Learned from the last three months.

library(modelyard)

flights <- read.csv(file.path(Sys.getenv("YARD_DATA"), "flights.csv"))
fit <- lm(air_time ~ distance * origin + hour, data = flights)
cat(sprintf("learned from %d flights, %.0f min off on them\n", nrow(flights), mean(abs(residuals(fit)))))
yard_save(fit, example = head(flights[c("distance", "origin", "hour")], 20))
