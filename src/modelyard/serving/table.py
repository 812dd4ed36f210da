"""The route table on local disk: the engine writes it, fronts load it, also while the database is away."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from modelyard.records.errors import UnavailableError
from modelyard.records.rollouts import RouteTable

EMPTY = RouteTable(generation=-1, models={}, tokens={})
_DECODER = msgspec.msgpack.Decoder(RouteTable)


def save_table(table: RouteTable, path: Path) -> None:
    """Write it whole or not at all; readable by the yard's own user only, for it holds token digests."""
    new = path.with_suffix(".new")
    handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(msgspec.msgpack.encode(table))
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)


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
