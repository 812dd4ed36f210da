"""The process: one task on standard input, its answer on standard output. See `modelyard.workers.clerk`."""

from __future__ import annotations

import os
import sys

import msgspec
import polars as pl
from msgspec import Struct

from modelyard.records.errors import MalformedError, YardError
from modelyard.workers.tables import comparing, querying, reading, scanning, writing
from modelyard.workers.tables.tasks import Compare, Query, Read, Refused, Scan, Show, Task, Write

_BROKEN = (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, UnicodeError, MemoryError)
_MAX_WORDS = 300


def answer(task: Task) -> Struct:
    """The answer to a task; a Refused where it cannot be done."""
    try:
        return _done(task)
    except YardError as error:
        return Refused(error.code, error.message, error.hint, error.fields)
    except _BROKEN as error:
        words = str(error).partition("\n")[0].rstrip(".")[:_MAX_WORDS] or type(error).__name__
        return Refused(MalformedError.code, f"The table cannot be read: {words}.", "Write the file anew.")


def _done(task: Task) -> Struct:
    match task:
        case Read():
            return reading.read(task)
        case Query():
            return querying.query(task)
        case Write():
            return writing.write(task)
        case Show():
            return writing.show(task)
        case Compare():
            return comparing.compare(task)
        case Scan():
            return scanning.scan(task)


def main() -> None:
    """Do one task."""
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is not an answer
    task: Task = msgspec.json.decode(sys.stdin.buffer.read(), type=Task)
    replies.write(msgspec.json.encode(answer(task)))
    replies.close()


if __name__ == "__main__":
    main()
