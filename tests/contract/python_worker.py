"""A Python worker on a real socket, for the tests of the Python runtime and SDK."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from modelyard.client.tables import TableColumn
from modelyard.records.models import Bundle
from modelyard.records.signatures import ColumnType
from modelyard.workers.plans import Plan
from modelyard.workers.runtimes import find_runtime, runtimes_folder
from modelyard.workers.talk import Talk
from modelyard.workers.wire import (
    PREFIX,
    ColumnData,
    Frame,
    Value,
    decode_parts,
    from_values,
    lengths,
    to_values,
)

_SECONDS = 180.0


def read_bundle(folder: Path) -> Bundle:
    """What a bundle says of itself, read as the yard reads it."""
    return msgspec.convert(tomllib.loads((folder / "yardbundle.toml").read_text(encoding="utf-8")), Bundle)


def to_data(columns: Sequence[TableColumn]) -> tuple[ColumnData, ...]:
    """An SDK's columns as columns for the wire."""
    return tuple(from_values(c.name, c.type, c.values) for c in columns)


class Raw:
    """A socket to a worker without manners."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(_SECONDS)
        self._socket.connect(str(path))
        self._stream = self._socket.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def read(self) -> Frame:
        """The next frame."""
        header, body = lengths(self._stream.read(PREFIX.size))
        return decode_parts(self._stream.read(header), self._stream.read(body))

    def close(self) -> None:
        self._stream.close()
        self._socket.close()


class PythonWorker:
    """`worker.py`, started with the command line of its `runtime.toml`; its log goes to the folder.

    Args:
        folder: where the socket and the log are; short enough for a socket's path.
        program: the interpreter.
    """

    def __init__(self, folder: Path, program: str = sys.executable) -> None:
        runtime = find_runtime("python")
        self.socket, self._log = folder / "w.sock", folder / "log"
        names = {"program": program, "folder": str(runtimes_folder() / "python")}
        command = [part.format(**names) for part in runtime.command]
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [*command, "--socket", str(self.socket)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={
                    "PATH": os.environ["PATH"],
                    "LANG": "C.UTF-8",
                    "HOME": str(folder),
                    **runtime.environment,
                },
            )
        self._connections = ExitStack()
        self.talk = self.connect()
        self._id = 0

    def connect(self) -> Talk:
        """One more connection, open until the end at the latest."""
        deadline = time.monotonic() + _SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            with suppress(OSError):
                return self._connections.enter_context(Talk(self.socket))
            time.sleep(0.005)  # nothing tells when a program listens
        raise AssertionError(f"the worker does not listen: {self.log}")

    def raw(self) -> Raw:
        """A connection that sends and reads bytes as a test likes."""
        return self._connections.enter_context(Raw(self.socket))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connections.close()
        self.process.kill()
        self.process.wait()

    @property
    def log(self) -> str:
        """What the worker and its model have printed."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    def ask(self, verb: str, *fields: tuple[str, ...], timeout: float = _SECONDS) -> Frame:
        """The answer to a question without columns."""
        self._id += 1
        return self.talk.ask(Frame(verb, (("id", str(self._id)), *fields)), timeout)

    def load(self, folder: Path) -> Frame:
        """Load a bundle, with the question that the engine sends."""
        bundle = read_bundle(folder)
        plan = Plan(
            "d.m.1", 0, "python", "", str(folder), bundle.entry, bundle.options, bundle.signature.inputs
        )
        return self.talk.ask(plan.load_question(), _SECONDS)

    def load_code(
        self, folder: Path, source: str, *options: tuple[str, str], entry: str = "mine:predict"
    ) -> Frame:
        """Load a module of its own, with one float64 input `x` that may be missing."""
        (folder / "mine.py").write_text(source, encoding="utf-8")
        fields = [("bundle", str(folder)), ("entry", entry), *(("option", *option) for option in options)]
        if not options:
            fields.append(("option", "input", "columns"))
        return self.ask("load", *fields, ("input", "x", "float64", "1"))

    def infer(
        self, columns: Sequence[ColumnData], rows: int, talk: Talk | None = None
    ) -> dict[str, list[Value]]:
        """The answer's columns."""
        self._id += 1
        question = Frame("infer", (("id", str(self._id)),), rows, tuple(columns))
        answer = (talk or self.talk).ask(question, _SECONDS)
        assert answer.rows == rows
        return {column.name: to_values(column) for column in answer.columns}

    def infer_x(self, *values: float | None, talk: Talk | None = None) -> dict[str, list[Value]]:
        """The answer to rows with the one column `x`."""
        return self.infer([from_values("x", ColumnType.FLOAT64, values)], len(values), talk)

    def end(self) -> int:
        """Wait for its end; the exit code."""
        return self.process.wait(_SECONDS)
