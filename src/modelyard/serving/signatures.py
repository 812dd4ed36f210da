"""The signatures beside the route table: each is written, and read by a front, once.

A version's signature never changes, and all of them are most of a route table's bytes. So they are in a file
that only grows, from which a front reads what it has not read yet; the table itself, which is written anew
with every change, names that file and how much of it belongs to the table.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path

import msgspec
from msgspec.structs import force_setattr, replace

from modelyard.records.rollouts import ModelRoutes, RouteTable, ServedVersion
from modelyard.records.signatures import Signature

_NONE = Signature(())
_LENGTH = 4  # bytes before each entry that say how long it is
_MUCH = 1_000  # entries of versions that are gone; more, and more than half, are cleared away
_ENTRY = msgspec.msgpack.Decoder(tuple[str, Signature])
_encode = msgspec.msgpack.Encoder().encode


class SignatureFile:
    """The file for who writes it (an engine), or for who reads it (a front).

    Args:
        table: the route table's path; the file's name begins with it.
    """

    def __init__(self, table: Path) -> None:
        self._table = table
        self._name = ""
        self._end = 0
        self._known: dict[str, Signature] = {}

    def write(self, versions: Iterable[ServedVersion]) -> tuple[str, int]:
        """Have the signatures of these versions on the disk; the file's name, and its length with them."""
        wanted = {served.id: served.signature for served in versions}
        if not self._name or len(self._known) > _MUCH + 2 * len(wanted):
            self._name, self._end, self._known = f"{self._table.name}-{time.time_ns()}.signatures", 0, {}
        new = {key: held for key, held in wanted.items() if self._known.get(key) != held}
        if new:
            self._append(b"".join(_framed(_encode(entry)) for entry in new.items()))
            self._known.update(new)
        return self._name, self._end

    def _append(self, data: bytes) -> None:
        handle = os.open(self._table.with_name(self._name), os.O_WRONLY | os.O_CREAT, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.truncate(self._end)  # what a full disk let in of an earlier attempt
            file.seek(self._end)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        self._end += len(data)

    def clear(self) -> None:
        """Remove the files of earlier tables, once a table names this one."""
        for path in self._table.parent.glob(f"{self._table.name}-*.signatures"):
            if path.name != self._name:
                path.unlink(missing_ok=True)

    def read(self, name: str, length: int) -> dict[str, Signature]:
        """All signatures up to this length of a file, by version.

        Raises:
            FileNotFoundError: the file is gone: a newer table names another.
            MsgspecError: it is damaged.
        """
        if name != self._name or length < self._end:
            self._name, self._end, self._known = name, 0, {}
        if length > self._end:
            with self._table.with_name(name).open("rb") as file:
                file.seek(self._end)
                data = memoryview(file.read(length - self._end))
            if len(data) != length - self._end:
                raise msgspec.DecodeError("its signatures are cut short")
            self._known.update(_entries(data))
            self._end = length
        return self._known


def _framed(entry: bytes) -> bytes:
    return len(entry).to_bytes(_LENGTH, "little") + entry


def _entries(data: memoryview) -> Iterable[tuple[str, Signature]]:
    place = 0
    while place < len(data):
        begin = place + _LENGTH
        place = begin + int.from_bytes(data[place:begin], "little")
        yield _ENTRY.decode(data[begin:place])


def without(table: RouteTable) -> RouteTable:
    """The table as it is written: without signatures."""
    return replace(table, models={name: _bare(routes) for name, routes in table.models.items()})


def _bare(routes: ModelRoutes) -> ModelRoutes:
    bare = {number: replace(served, signature=_NONE) for number, served in routes.versions.items()}
    return replace(routes, versions=bare)


def fill(table: RouteTable, known: dict[str, Signature]) -> RouteTable:
    """A table that was just read, with its signatures.

    Raises:
        KeyError: one is missing.
    """
    for routes in table.models.values():
        for served in routes.versions.values():
            force_setattr(served, "signature", known[served.id])  # nobody else has seen it yet
    return table
