# The conversation: one question, one answer, until `stop`, the end of the questions, or a frame that is malformed.

TAKES <- c("float64", "bool", "string")
EXIT <- c(stopped = 0L, load = 1L, frame = 65L)
WARNINGS_SHOWN <- 100L
MESSAGE_SHOWN <- 10000L # characters

# Answers until the end; the value is the exit code.
serve <- function(questions, answers) {
  state <- new.env()
  state$infers <- state$answered <- 0
  state$warnings <- character()
  repeat {
    # Handlers stand around the whole conversation, not around each question: a tenth of a one-row answer's time.
    done <- tryCatch(
      withCallingHandlers(converse(questions, answers, state), warning = show_warning(state)),
      malformed = function(e) give_up(answers, state, "frame", e),
      load_failed = function(e) give_up(answers, state, "load", e),
      error = function(e) say_error(answers, state, "model", e)
    )
    if (!is.null(done)) return(done)
  }
}

# Questions and answers; the value is the exit code. A question that fails ends it with an error.
converse <- function(questions, answers, state) {
  repeat {
    state$id <- "0" # until this question's own is read
    frame <- read_frame(questions)
    if (is.null(frame)) return(EXIT[["stopped"]])
    state$id <- field(frame, "id")
    done <- answer_question(frame, state, answers)
    if (!is.null(done)) return(done)
  }
}

# Answers one question; the value is the exit code where it was the last one, else NULL.
answer_question <- function(frame, state, answers) {
  switch(frame$verb,
    infer = answer(frame, state, answers),
    ping = pong(state, answers),
    load = ready(frame, state, answers),
    stop = {
      write_frame(answers, "bye", list(c("id", state$id)))
      EXIT[["stopped"]]
    },
    malformed("This worker knows load, infer, ping and stop, not ", dQuote(frame$verb, FALSE), ".")
  )
}

ready <- function(frame, state, answers) {
  loaded <- tryCatch(load_model(frame), error = function(e) {
    stop(structure(class = c("load_failed", "error", "condition"), list(message = conditionMessage(e), call = NULL)))
  })
  state$model <- loaded$model
  state$plan <- loaded$plan
  fields <- list(c("id", state$id), c("runtime", "R", as.character(getRversion())), c("takes", TAKES))
  write_frame(answers, "ready", fields)
}

answer <- function(frame, state, answers) {
  if (is.null(state$plan)) malformed("`infer` came before `load`.")
  if (is.null(frame$rows)) malformed("`infer` has no rows.")
  if (!identical(names(frame$columns), state$plan$names)) {
    malformed("The question's columns are not the inputs the worker was loaded with.")
  }
  for (x in frame$columns) if (is.raw(x)) malformed("This worker takes ", toString(TAKES), ", not int64.")
  columns <- answer_columns(frame, state$model, state$plan)
  for (i in seq_along(columns)) if (is.integer(columns[[i]])) columns[[i]] <- as_int64_bits(columns[[i]])
  state$infers <- state$infers + 1
  state$answered <- state$answered + frame$rows
  write_frame(answers, "answer", list(c("id", state$id)), frame$rows, columns)
}

# The model's answer. Many predict methods fail on no rows: they are asked one row, and its answer is cut to none.
answer_columns <- function(frame, model, plan) {
  rows <- as.integer(frame$rows)
  if (rows > 0L) return(check_answer(yard_answer(model, as_rows(frame$columns, plan, rows)), rows))
  lapply(check_answer(yard_answer(model, made_up_row(frame$columns, plan)), 1L), `[`, 0L)
}

pong <- function(state, answers) {
  counts <- c(infers = state$infers, answered = state$answered, memory = resident_bytes())
  fields <- Map(c, names(counts), format(counts, scientific = FALSE, trim = TRUE))
  write_frame(answers, "pong", c(list(c("id", state$id)), fields))
}

# Answers that the question failed, and says so in the log.
say_error <- function(answers, state, kind, error) {
  message <- iconv(enc2utf8(conditionMessage(error)), "UTF-8", "UTF-8", sub = "byte")
  say("Error (", kind, "): ", message)
  message <- substr(message, 1L, MESSAGE_SHOWN)
  write_frame(answers, "error", list(c("id", state$id), c("kind", kind), c("message", message)))
}

# The same, and the worker ends.
give_up <- function(answers, state, kind, error) {
  say_error(answers, state, kind, error)
  EXIT[[kind]]
}

# Shows each different warning once: many predict methods warn at every call.
show_warning <- function(state) {
  function(w) {
    text <- conditionMessage(w)
    if (!text %in% state$warnings && length(state$warnings) < WARNINGS_SHOWN) {
      state$warnings <- c(state$warnings, text)
      say("Warning: ", text)
    }
    tryInvokeRestart("muffleWarning")
  }
}

resident_bytes <- function() {
  status <- tryCatch(readLines("/proc/self/status"), error = function(e) "", warning = function(w) "")
  line <- grep("^VmRSS:", status, value = TRUE)
  if (length(line)) as.double(gsub("[^0-9]", "", line)) * 1024 else 0
}
