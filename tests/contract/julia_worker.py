"""A Julia worker on a real Unix socket, for the tests of the Julia runtime and the Julia package."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from modelyard.records.signatures import ColumnType
from modelyard.workers.runtimes import find_runtime
from modelyard.workers.wire import PREFIX, Frame, Value, decode_parts, encode, from_values, lengths

ROOT = Path(__file__).parents[2]
SECONDS = 120  # far more than anything here takes: a machine that is busy is no failure
Inputs = Sequence[Sequence[str]]
"""Name, type, `1` if values may be missing: the `input` lines of `load`."""


class Client:
    """One connection to a worker."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(SECONDS)
        try:
            self.socket.connect(str(path))
        except OSError:
            self.socket.close()
            raise
        self._stream: BinaryIO = self.socket.makefile("rb")
        self._id = 0

    def close(self) -> None:
        """Hang up."""
        self._stream.close()
        self.socket.close()

    def send(self, data: bytes) -> None:
        """Bytes as they are, a frame or not."""
        self.socket.sendall(data)

    def answer(self) -> Frame:
        """The next answer. Raises EOFError where the worker has hung up."""
        prefix = self._stream.read(PREFIX.size)
        if len(prefix) < PREFIX.size:
            raise EOFError
        header, body = lengths(prefix)
        return decode_parts(self._stream.read(header), self._stream.read(body))

    def ask(self, verb: str, *fields: tuple[str, ...]) -> Frame:
        """One question without columns, and its answer, which must carry the question's id."""
        return self._asked(verb, fields)

    def load(
        self, bundle: Path, inputs: Inputs, options: Mapping[str, str] | None = None, entry: str = "model.jls"
    ) -> Frame:
        """The verb `load`; the source file is model.jl unless the options say otherwise."""
        given = [("option", *pair) for pair in {"source": "model.jl", **(options or {})}.items()]
        taken = [("input", *values) for values in inputs]
        return self.ask("load", ("bundle", str(bundle)), ("entry", entry), *given, *taken)

    def infer(self, inputs: Inputs, question: Mapping[str, Sequence[Value]]) -> Frame:
        """The verb `infer` with a value a row for each input; None is missing."""
        columns = tuple(from_values(name, ColumnType(kind), question[name]) for name, kind, *_ in inputs)
        return self._asked("infer", (), Frame("infer", (), len(question[inputs[0][0]]), columns))

    def _asked(self, verb: str, fields: tuple[tuple[str, ...], ...], frame: Frame | None = None) -> Frame:
        self._id += 1
        asked = frame or Frame(verb)
        self.send(encode(Frame(verb, (("id", str(self._id)), *fields), asked.rows, asked.columns)))
        answer = self.answer()
        assert answer.get("id") == str(self._id)
        return answer


class JuliaWorker:
    """`runtimes/julia/worker.jl`, started as its runtime.toml says; its socket and logs are in `folder`."""

    def __init__(self, julia: Sequence[str], folder: Path, **environment: str) -> None:
        runtime = find_runtime("julia")
        places = {"program": julia[0], "folder": str(ROOT / "runtimes/julia")}
        command = [part.format(**places) for part in runtime.command]
        self.socket = folder / "w.sock"
        self.out, self.err = folder / "worker.out", folder / "worker.err"
        with self.out.open("wb") as out, self.err.open("wb") as err:
            self.process = subprocess.Popen(
                [*command, "--socket", str(self.socket)],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env={**os.environ, **runtime.environment, **environment},
            )
        self.client = self.connect()

    def connect(self) -> Client:
        """A new connection, as soon as the worker listens."""
        while True:
            try:
                return Client(self.socket)
            except (FileNotFoundError, ConnectionRefusedError) as error:
                try:
                    self.process.wait(timeout=0.02)
                except subprocess.TimeoutExpired:
                    continue
                raise EOFError(self.err.read_text()) from error

    def end(self) -> int:
        """The exit code, once the worker has ended by itself."""
        return self.process.wait(timeout=SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.client.close()
        self.process.kill()
        self.process.wait()
