"""The workers' logs: read at the end, and kept from growing without end."""

from __future__ import annotations

import os
from pathlib import Path

_SHOWN = 8_000
_LARGEST = 16 * 1024 * 1024


def tail(path: Path, since: int = 0) -> str:
    """The last bytes of a log as text, of those after the byte `since`; empty if there is no log."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            start = since if since <= size else 0  # it was trimmed since
            file.seek(max(start, size - _SHOWN))
            return file.read(_SHOWN).decode(errors="replace")
    except OSError:
        return ""


def trim(path: Path, limit: int = _LARGEST) -> None:
    """Empty a log that has grown beyond `limit` bytes; workers append, so they go on at its beginning."""
    try:
        with path.open("r+b") as file:
            if file.seek(0, os.SEEK_END) > limit:
                file.truncate(0)
    except OSError:  # gone with its worker, or the disk fails: there is nothing to be done here
        return
