"""Tables of others are read in a process apart, within walls (docs/decisions/0006-parquet-is-read-apart.md).

A file that ends the process ends nothing else. Each task has a process of its own (0.3 s to start), so
nothing of one department's data is there when another's comes.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec import Struct

import modelyard
from modelyard.records import errors
from modelyard.records.errors import BusyError, MalformedError, TooLargeError, UnavailableError, YardError
from modelyard.workers import sandbox
from modelyard.workers.tables.tasks import Query, Refused, Task

T = TypeVar("T", bound=Struct)

AT_ONCE = 2  # processes of this one
MEMORY = 4 << 30  # bytes each may have
SECONDS = 900
_FILE_BYTES = 16 << 30
_MAX_ANSWER = 256 << 20
_PATIENCE = 60.0  # seconds a task waits for its turn
_HOUSE = str(Path(modelyard.__file__).parents[1])
_KINDS = {
    kind.code: kind
    for kind in (
        errors.InvalidError,
        errors.MalformedError,
        errors.TooLargeError,
        errors.UnsupportedError,
        errors.UnavailableError,
    )
}


class Clerk:
    """Does tasks on files of one folder.

    Args:
        hidden: a folder that the process must not see, but for the task's own folder: the data folder.
        seconds: one task may take.
    """

    def __init__(self, hidden: Path, seconds: float = SECONDS, memory: int = MEMORY) -> None:
        self._hidden = hidden
        self._seconds = seconds
        self._memory = memory
        self._turns = threading.BoundedSemaphore(AT_ONCE)

    def do(self, task: Task, folder: Path, answer: type[T]) -> T:
        """Have a task done; its files are in `folder`, which the process may read and write.

        Raises:
            YardError: as the task says; MalformedError where it did not survive it.
            BusyError: others are being done, and none ended in time.
        """
        if not self._turns.acquire(timeout=_PATIENCE):
            raise BusyError(
                "Too many tables are being read at the moment.", "Try again soon.", retry_after=10
            )
        try:
            reply = self._run(task, folder)
        finally:
            self._turns.release()
        try:
            return msgspec.json.decode(reply, type=answer)
        except msgspec.ValidationError:
            refused = msgspec.json.decode(reply, type=Refused)
            raise _KINDS.get(refused.code, YardError)(
                refused.message, refused.hint, **refused.fields
            ) from None

    def _run(self, task: Task, folder: Path) -> bytes:
        command = self._command(folder, network=isinstance(task, Query))
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=_environment(folder),
            )
        except OSError as error:
            raise UnavailableError(f"Tables cannot be read now: {error}.", "Try again.") from error
        with process:
            try:
                reply, said = process.communicate(msgspec.json.encode(task), self._seconds)
            except subprocess.TimeoutExpired as error:
                words = f"The table was not read within {self._seconds:g} s."
                raise TooLargeError(words, "Push it in parts, or as Parquet.") from error
            finally:
                process.kill()
        if process.returncode != 0 or len(reply) > _MAX_ANSWER:
            raise _died(said, self._memory)
        return reply

    def _command(self, folder: Path, *, network: bool) -> list[str]:
        """How the process is started. It runs nobody's code: where no walls can be had, limits are enough."""
        command = [sys.executable, "-P", "-s", "-m", "modelyard.workers.tables"]
        if sandbox.missing():
            return sandbox.limited(command, self._memory, _FILE_BYTES)
        sandbox.hand_over(folder)
        walls = sandbox.Walls(
            read_only=(*sandbox.needs(sys.executable), _HOUSE),
            writable=(str(folder),),
            hidden=(str(self._hidden),),
            folder=str(folder),
            environment=_environment(folder),
            memory=self._memory,
            file_bytes=_FILE_BYTES,
            cpu_seconds=round(2 * self._seconds),
            network=network,
            dies_with_parent=True,
        )
        return sandbox.contained(command, walls)


def _environment(folder: Path) -> dict[str, str]:
    return {
        "PATH": os.environ.get("PATH", "/usr/local/bin:/usr/bin:/bin"),
        "PYTHONPATH": _HOUSE,
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "POLARS_MAX_THREADS": "2",
        "RUST_BACKTRACE": "0",
    }


def _died(said: bytes, memory: int) -> YardError:
    words = said.decode(errors="replace")
    if "memory" in words.lower() or "MemoryError" in words:
        message = f"The table does not fit into the {memory >> 30} GiB that reading one may take."
        return TooLargeError(message, "Push it in parts, or with fewer columns.")
    return MalformedError(
        "The file is not a table that can be read: its reader did not survive it.", "Write it anew."
    )
