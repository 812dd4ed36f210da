"""What has been predicted of a file so far, kept beside the output: a cut costs one part and no more."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import msgspec
from msgspec import Struct

from modelyard.cli.rows import Form, Writer
from modelyard.cli.sources import polars_or_none

_STATE = "state.json"


class Task(Struct, frozen=True):
    """What is predicted, and how: parts of another task are none of this one's."""

    model: str
    asked: str
    file: str
    size: int
    changed: int
    rows: int
    form: str
    keep: tuple[str, ...]


class _State(Struct):
    task: Task
    version: int = 0
    done: list[int] = []


class Fragments:
    """The parts of an output, a file each, in a folder of their own.

    Args:
        folder: theirs; what is there of the same task is gone on with, anything else is removed.
        task: None where nothing shall be gone on with.

    Attributes:
        version: the version that answered, 0 before the first part.
    """

    def __init__(self, folder: Path, task: Task | None, form: Form) -> None:
        self._folder = folder
        self._form = form
        self._state = self._found(task) if task else None
        if self._state is None:
            shutil.rmtree(folder, ignore_errors=True)
            self._state = _State(task or Task("", "", "", 0, 0, 0, "", ()))
        folder.mkdir(exist_ok=True)

    def _found(self, task: Task) -> _State | None:
        try:
            state = msgspec.json.decode((self._folder / _STATE).read_bytes(), type=_State)
        except (OSError, msgspec.MsgspecError):
            return None
        return state if state.task == task else None

    @property
    def version(self) -> int:
        """See the class."""
        return self._state.version if self._state else 0

    @property
    def parts(self) -> int:
        """How many parts there are."""
        return len(self._state.done) if self._state else 0

    @property
    def rows(self) -> int:
        """How many rows they have."""
        return sum(self._state.done) if self._state else 0

    def add(self, content: bytes, rows: int, version: int) -> None:
        """Keep the next part: its file first, then that it is there."""
        assert self._state is not None  # noqa: S101  # for the type checker
        _replace(self._name(self.parts), content)
        self._state.version = version
        self._state.done.append(rows)
        _replace(self._folder / _STATE, msgspec.json.encode(self._state))

    def _name(self, number: int) -> Path:
        return self._folder / f"{number:08d}{'.parquet' if self._form is Form.PARQUET else ''}"

    def write_to(self, to: Path) -> None:
        """Put the parts together, in their order, into a file that is there only once it is whole."""
        part = to.with_name(to.name + ".part")
        try:
            if self._form is Form.PARQUET:
                polars = polars_or_none()
                polars.scan_parquet(list(self._names())).sink_parquet(part)
            else:
                with part.open("wb") as file:
                    for name in self._names():
                        with name.open("rb") as one:
                            shutil.copyfileobj(one, file)
                    writer = Writer(file, self._form)
                    writer.rows = self.rows
                    writer.close()
            part.replace(to)
        finally:
            part.unlink(missing_ok=True)

    def _names(self) -> Iterator[Path]:
        return (self._name(number) for number in range(self.parts))

    def remove(self) -> None:
        """Keep nothing."""
        shutil.rmtree(self._folder, ignore_errors=True)


def task_of(model: str, asked: str, file: Path, rows: int, form: Form, keep: tuple[str, ...]) -> Task:
    """A task, told apart by the file's name, size and time of change."""
    found = file.stat()
    return Task(model, asked, str(file.resolve()), found.st_size, found.st_mtime_ns, rows, form, keep)


def _replace(path: Path, content: bytes) -> None:
    new = path.with_name(path.name + ".new")
    with new.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
