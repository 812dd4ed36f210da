# The program of numbers.R.

REFUSED <- 3L

# Reads the question, writes the answer; the exit code.
tell_numbers <- function(folder) {
  question <- file("stdin", "rb") # not /dev/fd/0, which is the yard's and may not be opened anew
  on.exit(close(question))
  frame <- read_frame(question)
  tryCatch(
    {
      loaded <- load_model(frame)
      type <- vapply(fields_of(frame, "input"), `[`, "", 2L)
      book <- new_book(loaded$plan, type)
      book$gaps <- loaded$plan$names[vapply(fields_of(frame, "input"), `[`, "", 3L) == "1"]
      yard_numbers(loaded$model, book)
      write_book(book, file.path(folder, "numbers.frames"))
      0L
    },
    not_expressed = function(e) refuse(folder, paste0("the R worker answers: ", conditionMessage(e))),
    error = function(e) refuse(folder, paste0("its numbers cannot be read: ", conditionMessage(e)))
  )
}

refuse <- function(folder, words) {
  writeLines(enc2utf8(words), file.path(folder, "refused.txt"), useBytes = TRUE)
  REFUSED
}
