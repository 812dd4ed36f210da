"""The route table on local disk: the engine writes it, fronts load it, also while the database is away."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec
from msgspec import Struct

from modelyard.records.errors import UnavailableError
from modelyard.records.rollouts import RouteTable
from modelyard.serving.signatures import SignatureFile, fill, without

EMPTY = RouteTable(generation=-1, models={}, tokens={})
_FORMAT = 2
_TRIES = 3  # the engine may remove the signatures of a table while it is read, for it has written another


class _Stored(Struct, frozen=True):
    """The file: a table without signatures, and where these are."""

    format: int
    signatures: str
    length: int
    table: RouteTable


_DECODER = msgspec.msgpack.Decoder(_Stored)
_FIRST_FORMAT = msgspec.msgpack.Decoder(RouteTable)  # of releases before 0016: with all signatures


class TableFile:
    """The route table on disk, for the engine that writes it or for a front that reads it again and again."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._signatures = SignatureFile(path)

    def save(self, table: RouteTable) -> None:
        """Write it whole or not at all; readable by the yard's own user only, for it holds token digests.

        Raises:
            UnavailableError: the disk is full or fails; the table is as it was.
        """
        try:
            self._save(table)
        except OSError as error:
            raise UnavailableError(
                f"The route table {self._path} cannot be written: {error.strerror}; the last one holds.",
                "Free space there, or correct the folder's rights; the yard goes on by itself.",
            ) from error

    def _save(self, table: RouteTable) -> None:
        versions = (served for routes in table.models.values() for served in routes.versions.values())
        name, length = self._signatures.write(versions)
        new = self._path.with_suffix(".new")
        handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(msgspec.msgpack.encode(_Stored(_FORMAT, name, length, without(table))))
            file.flush()
            os.fsync(file.fileno())
        new.replace(self._path)
        self._signatures.clear()

    def load(self) -> RouteTable:
        """The table as it was last written; an empty one if there is none yet.

        Raises:
            UnavailableError: it cannot be read.
        """
        for _ in range(_TRIES):
            with suppress(FileNotFoundError):
                return self._load()
            if not self._path.exists():
                return EMPTY
        raise self._unreadable("its signatures are missing")

    def _load(self) -> RouteTable:
        try:
            data = self._path.read_bytes()
            try:
                stored = _DECODER.decode(data)
            except msgspec.ValidationError:
                return _FIRST_FORMAT.decode(data)
            return fill(stored.table, self._signatures.read(stored.signatures, stored.length))
        except FileNotFoundError:
            raise
        except (OSError, KeyError, msgspec.MsgspecError) as error:
            raise self._unreadable(str(error)) from error

    def _unreadable(self, why: str) -> UnavailableError:
        return UnavailableError(
            f"The route table {self._path} cannot be read: {why}.", "Delete it; the engine writes it anew."
        )


def save_table(table: RouteTable, path: Path) -> None:
    """Write a table once; see `TableFile.save`."""
    TableFile(path).save(table)


def load_table(path: Path) -> RouteTable:
    """Read a table once; see `TableFile.load`."""
    return TableFile(path).load()


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
