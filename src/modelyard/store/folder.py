"""Blobs in a folder of this machine: `ab/abcdef…`, each there whole or not at all."""

from __future__ import annotations

import errno
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from modelyard.records.errors import UnavailableError

PIECE = 1024 * 1024  # bytes moved at once
_PARENT = re.compile(r"[0-9a-f]{2}")
_BLOB = re.compile(r"[0-9a-f]{64}(\.sealed)?")
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Folder:
    """One way of keeping blobs; `modelyard.store.blobs` decides what is kept.

    Not through obstore: it does not wait for the disk, and its threads do not outlive a fork.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def size(self, digest: str) -> int | None:
        """Bytes of a blob, or None where there is none."""
        try:
            return self._path(digest).stat().st_size
        except FileNotFoundError:
            return None
        except OSError as error:
            raise disk_error(error, self._root) from error

    def put(self, digest: str, source: Path) -> None:
        """Copy a file to be this blob."""
        place = self._path(digest)
        with source.open("rb") as data, whole_file(place) as file:
            while piece := data.read(PIECE):
                file.write(piece)

    def get(self, digest: str) -> Iterator[bytes]:
        """The blob's bytes in pieces; FileNotFoundError where there is none."""
        with self._path(digest).open("rb") as file:
            while piece := file.read(PIECE):
                yield piece

    def remove(self, digest: str) -> None:
        """Remove a blob; nothing happens where there is none."""
        try:
            self._path(digest).unlink(missing_ok=True)
        except OSError as error:
            raise disk_error(error, self._root) from error

    def digests(self) -> Iterator[str]:
        """All blobs; not the unfinished files of a crash."""
        parents = sorted(self._root.iterdir()) if self._root.is_dir() else []
        for parent in parents:
            if _PARENT.fullmatch(parent.name):
                yield from (p.name for p in parent.iterdir() if _BLOB.fullmatch(p.name))

    def _path(self, digest: str) -> Path:
        return self._root / digest[:2] / digest


@contextmanager
def whole_file(place: Path) -> Iterator[tempfile._TemporaryFileWrapper[bytes]]:
    """A file to write that appears at its place, on the disk, when the block ends well, and else not at all.

    Raises:
        UnavailableError: the disk is full or fails.
    """
    try:
        make_folders(place.parent)
        with tempfile.NamedTemporaryFile(dir=place.parent, prefix=".new-", delete=False) as file:
            unfinished = Path(file.name)
            try:
                yield file
                file.flush()
                os.fsync(file.fileno())
                unfinished.rename(place)
            except BaseException:
                unfinished.unlink(missing_ok=True)
                raise
        sync_folder(place.parent)
    except OSError as error:
        raise disk_error(error, place.parent) from error


def make_folders(folder: Path) -> None:
    """Make a folder and its parents, so that they outlive a power cut."""
    if folder.is_dir():
        return
    make_folders(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Wait until the disk has the names in a folder."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def disk_error(error: OSError, place: Path) -> UnavailableError:
    """What the operating system said, in words."""
    if error.errno in _FULL:
        hint = "Free space there and try again; nothing half written was left."
        return UnavailableError(f"The disk that holds {place} is full.", hint, retry_after=5.0)
    message = f"{place} cannot be used: {error.strerror or error}."
    return UnavailableError(message, "Correct the folder's rights, or look after the disk.", retry_after=5.0)
