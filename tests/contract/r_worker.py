"""An R worker on real pipes, asked frame by frame, for the tests of the R runtime and the R package."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from modelyard.records.signatures import ColumnType
from modelyard.workers.wire import (
    PREFIX,
    ColumnData,
    Frame,
    Value,
    decode_parts,
    encode,
    from_values,
    lengths,
)

ROOT = Path(__file__).parents[2]
KINDS = {"float64": ColumnType.FLOAT64, "bool": ColumnType.BOOL, "string": ColumnType.STRING}
# Puts the pipes on 3 and 4 and becomes the worker. (A shell's own `3<&12` knows no numbers above 9.)
_MOVE = (
    "import fcntl, os, sys; "
    "ask, reply = (fcntl.fcntl(int(n), fcntl.F_DUPFD_CLOEXEC, 10) for n in sys.argv[1:3]); "
    "os.dup2(ask, 3); os.dup2(reply, 4); os.closerange(5, 10); os.execvp(sys.argv[3], sys.argv[3:])"
)
_ON_3_AND_4 = (sys.executable, "-I", "-S", "-c", _MOVE)


class RWorker:
    """`runtimes/r/worker.R` with its questions on descriptor 3 and its answers on 4; logs go to `folder`."""

    def __init__(
        self, rscript: Sequence[str], folder: Path, environment: dict[str, str] | None = None
    ) -> None:
        self.out, self.err = folder / "worker.out", folder / "worker.err"
        ask, self._questions = os.pipe()
        self._answers, reply = os.pipe()
        command = [*_ON_3_AND_4, str(ask), str(reply), *rscript, str(ROOT / "runtimes/r/worker.R")]
        with self.out.open("wb") as out, self.err.open("wb") as err:
            self.process = subprocess.Popen(
                command,
                pass_fds=(ask, reply),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env={**os.environ, "TZ": "UTC", "LC_ALL": "C.UTF-8", **(environment or {})},
            )
        os.close(ask)
        os.close(reply)
        self._stream = os.fdopen(self._answers, "rb")
        self._id = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.hang_up()
        self._stream.close()
        self.process.kill()
        self.process.wait()

    def hang_up(self) -> None:
        """End the questions."""
        if self._questions >= 0:
            os.close(self._questions)
            self._questions = -1

    def send(self, data: bytes) -> None:
        """Bytes as they are, a frame or not."""
        view = memoryview(data)
        while view:
            view = view[os.write(self._questions, view) :]

    def answer(self) -> Frame:
        """The next answer. Raises EOFError where the worker has ended."""
        prefix = self._stream.read(PREFIX.size)
        if len(prefix) < PREFIX.size:
            raise EOFError(self.err.read_text())
        header, body = lengths(prefix)
        return decode_parts(self._stream.read(header), self._stream.read(body))

    def ask(
        self,
        verb: str,
        *fields: tuple[str, ...],
        rows: int | None = None,
        columns: tuple[ColumnData, ...] = (),
    ) -> Frame:
        """One question and its answer, which must carry the question's id."""
        self._id += 1
        self.send(encode(Frame(verb, (("id", str(self._id)), *fields), rows, columns)))
        answer = self.answer()
        assert answer.get("id") == str(self._id)
        return answer

    def load(
        self,
        bundle: Path,
        inputs: Sequence[Sequence[str]] = (),
        options: dict[str, str] | None = None,
        entry: str = "model.rds",
    ) -> Frame:
        """The verb `load`, with an `input` line for each of `inputs` (name, type, flag, levels …)."""
        given = [("option", key, value) for key, value in (options or {}).items()]
        taken = [("input", *values) for values in inputs]
        return self.ask("load", ("bundle", str(bundle)), ("entry", entry), *given, *taken)

    def infer(self, inputs: Sequence[Sequence[str]], question: dict[str, list[Value]], rows: int) -> Frame:
        """The verb `infer`; whole numbers go as float64, as the yard sends them to R."""
        columns = tuple(
            from_values(name, KINDS.get(kind, ColumnType.FLOAT64), question[name])
            for name, kind, *_ in inputs
        )
        return self.ask("infer", rows=rows, columns=columns)

    def end(self) -> int:
        """The exit code, once the worker has ended by itself."""
        return self.process.wait(timeout=180)
