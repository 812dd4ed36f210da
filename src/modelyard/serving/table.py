"""The route table on local disk: the engine writes it, fronts load it, also while the database is away."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec

from modelyard.records.errors import UnavailableError
from modelyard.records.rollouts import RouteTable

EMPTY = RouteTable(generation=-1, models={}, tokens={})
_DECODER = msgspec.msgpack.Decoder(RouteTable)


def save_table(table: RouteTable, path: Path) -> None:
    """Write it whole or not at all; readable by the yard's own user only, for it holds token digests.

    Raises:
        UnavailableError: the disk is full or fails; the table is as it was.
    """
    new = path.with_suffix(".new")
    try:
        handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(msgspec.msgpack.encode(table))
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except OSError as error:
        raise UnavailableError(
            f"The route table {path} cannot be written: {error.strerror}; the last one holds.",
            "Free space there, or correct the folder's rights; the yard goes on by itself.",
        ) from error


def load_table(path: Path) -> RouteTable:
    """The table as it was last written; an empty one if there is none yet.

    Raises:
        UnavailableError: it cannot be read.
    """
    try:
        return _DECODER.decode(path.read_bytes())
    except FileNotFoundError:
        return EMPTY
    except (OSError, msgspec.MsgspecError) as error:
        raise UnavailableError(
            f"The route table {path} cannot be read: {error}.", "Delete it; the engine writes it anew."
        ) from error


def confirm_table(path: Path) -> None:
    """Note on the file itself that the database says the same at this moment."""
    with suppress(FileNotFoundError):
        os.utime(path)


class Confirmed:
    """How long ago the table was last known to be what the database says; after a restart, too.

    Args:
        path: the table's file.
        monotonic, wall: the machine's clocks. The wall's counts only until the first confirmation that is
            seen happening: it may be set to another time meanwhile.
    """

    def __init__(
        self,
        path: Path,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._path, self._monotonic = path, monotonic
        self._seen = self._noted()
        ago = max(0.0, wall() - self._seen / 1e9) if self._seen else 0.0
        self._at = monotonic() - ago

    def ago(self) -> float:
        """Seconds."""
        noted = self._noted()
        if noted != self._seen:
            self._seen, self._at = noted, self._monotonic()
        return self._monotonic() - self._at

    def _noted(self) -> int:
        try:
            return self._path.stat().st_mtime_ns
        except OSError:
            return 0
