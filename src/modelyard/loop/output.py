"""What a job leaves in its output folder: metrics on the way, and one bundle. Its code wrote it, so nothing
there is followed, and nothing is trusted before the catalog has looked at it.
"""

from __future__ import annotations

import math
import os
import stat
import tarfile
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from modelyard.records.errors import InvalidError
from modelyard.records.jobs import Point
from modelyard.records.models import BUNDLE_FILE
from modelyard.records.references import shown

METRICS_FILE = "metrics.jsonl"
_MOST_POINTS = 20_000
_MOST_NAMES = 200
_LONGEST_NAME = 100
_AT_ONCE = 1_000_000  # bytes
_PIECE = 1024 * 1024
_SAVE = {
    "python": "yard.save(model, example=…)",
    "r": "yard_save(fit, example = …)",
    "julia": "save(model; example = …, source = …)",
}


class MetricsReader:
    """The metrics that a script logs, as they come.

    Args:
        folder: where the script's `metrics.jsonl` appears.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / METRICS_FILE
        self._read = 0
        self._line = 0
        self._points = 0
        self._names: set[str] = set()

    def new(self) -> list[Point]:
        """The points of whole lines since the last time; a line that is none is passed over."""
        data = _read(self._path, self._read)
        whole = data[: data.rfind(b"\n") + 1]
        if not whole and len(data) == _AT_ONCE:
            whole = data  # a line so long is none
        self._read += len(whole)
        found = []
        for line in whole.splitlines():
            self._line += 1
            found += list(self._of_line(line))
        return found

    def _of_line(self, line: bytes) -> Iterator[Point]:
        try:
            values = msgspec.json.decode(line, type=dict[str, float | None])
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return
        at = _moment(values.pop("time", None))
        for name, value in values.items():
            is_good = value is not None and math.isfinite(value) and 0 < len(name) <= _LONGEST_NAME
            if not is_good or not name.isprintable() or self._points >= _MOST_POINTS:
                continue
            self._names.add(name)
            if len(self._names) <= _MOST_NAMES:
                self._points += 1
                yield Point(self._line, at, name, float(value or 0.0))


def find_bundle(output: Path, language: str) -> Path:
    """The folder of the one bundle in a job's output.

    Raises:
        InvalidError: there is none, there are several, or something there is no plain file.
    """
    found: list[Path] = []
    for at, folders, files in os.walk(output, onerror=_refuse_unreadable):
        for name in (*folders, *files):
            mode = os.lstat(Path(at) / name).st_mode
            if not stat.S_ISDIR(mode) and not stat.S_ISREG(mode):
                raise InvalidError(
                    f"The script left {shown(name)} in its output, which is no plain file.",
                    "Save the model with " + _SAVE[language] + " alone.",
                )
        if BUNDLE_FILE in files:
            found.append(Path(at))
    if not found:
        raise InvalidError(
            "The script ended without an error, and without a model.",
            f"End it with {_SAVE[language]}.",
        )
    if len(found) > 1:
        places = ", ".join(shown(str(p.relative_to(output))) for p in sorted(found)[:5])
        raise InvalidError(
            f"The script saved {len(found)} models ({places}); a job publishes one.",
            "Save the best one alone; a project for each model keeps them apart.",
        )
    return found[0]


def pack(bundle: Path, to: Path) -> Iterator[bytes]:
    """A bundle's files as a tar in pieces, by way of a file `to`."""
    with tarfile.open(to, "w", format=tarfile.PAX_FORMAT) as tar:
        for path in sorted(p for p in bundle.rglob("*") if p.is_file()):
            name = path.relative_to(bundle).as_posix()
            if name != METRICS_FILE:
                with path.open("rb") as file:
                    info = tarfile.TarInfo(name)
                    info.size = os.fstat(file.fileno()).st_size
                    tar.addfile(info, file)
    with to.open("rb") as file:
        while piece := file.read(_PIECE):
            yield piece


def _read(path: Path, since: int) -> bytes:
    """Bytes of a file that a script may have made anything of."""
    with suppress(OSError):
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            if stat.S_ISREG(os.fstat(handle).st_mode):
                return os.pread(handle, _AT_ONCE, since)
        finally:
            os.close(handle)
    return b""


def _moment(seconds: float | None) -> datetime:
    with suppress(ValueError, OverflowError, OSError):
        if seconds is not None:
            return datetime.fromtimestamp(seconds, UTC)
    return datetime.now(UTC)


def _refuse_unreadable(error: OSError) -> None:
    raise InvalidError(f"The script left a folder in its output that cannot be read: {error.strerror}.")
