"""The spool: records of bytes, appended to files that only grow. It knows nothing of what is in them.

A file is a row of `length u32 LE, crc32 u32 LE, record`; the crc covers the length as well, so that neither
a flipped length nor a tail of zeros (after a power cut) reads as a record. A writer never opens an old file.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import struct
import time
import zlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from modelyard.records.errors import TooLargeError, UnavailableError
from modelyard.store.folder import sync_folder

MIB = 1024 * 1024
TORN = "torn"  # the folder beside for files whose end is no record: somebody may want to look
_HEAD = struct.Struct("<II")
_LENGTH = struct.Struct("<I")
_FILE = re.compile(r"(?P<name>.+)-(?P<time>[0-9]{1,20})\.spool", re.DOTALL)
_BLOCK = 1024 * 1024  # bytes that are read at once
_MAX_RECORD = 2**31 - 1
_LOOK_EVERY = 1.0  # seconds
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class SpoolWriter:
    """Appends records; one writer, one thread.

    Args:
        folder: made where it is not there.
        name: of the file series; files are `name-TIME.spool`, TIME in nanoseconds since 1970.
        max_bytes: a file that would grow beyond it is closed and a new one begun. What is appended
            together stays in one file, so a file may be larger.
        sync: wait for the disk (fdatasync) before an append returns.
        most: bytes that all spool files of the folder may have together; None: as the disk takes. It is
            looked at once a second, so it may be passed by what is written in one.

    Examples:
        >>> writer = SpoolWriter(folder, "front-0")           # doctest: +SKIP
        >>> writer.append_many([b"one", b"two"])              # doctest: +SKIP
        >>> list(read_spool(writer.path))                     # doctest: +SKIP
        [b'one', b'two']
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        max_bytes: int = 64 * MIB,
        *,
        sync: bool = False,
        most: int | None = None,
    ) -> None:
        self._folder = folder
        self._name = name
        self._max_bytes = max_bytes
        self._sync = sync
        self._most = most
        self._look_at = 0.0
        self._file: int | None = None
        self._size = 0
        self._begun = 0
        self.path: Path | None = None  # the file that is written to now

    def append(self, record: bytes) -> None:
        """Append one record; see `append_many`."""
        self.append_many((record,))

    def append_many(self, records: Iterable[bytes]) -> None:
        """Append records with one write; all of them are kept, or none.

        Raises:
            UnavailableError: the disk is full or fails, or the spool has reached its limit; nothing of
                these records can be read later.
            TooLargeError: a record has 2 GiB or more.
        """
        data = b"".join([_sealed(record) for record in records])
        if not data:
            return
        if self._most is not None and time.monotonic() >= self._look_at:
            self._check_room(self._most)
        if self._file is None or self._size + len(data) > self._max_bytes:
            self._begin()
        try:
            self._write(data)
        except OSError as error:
            self._take_back()
            raise _explained(error, self._folder) from error
        self._size += len(data)

    def close(self) -> None:
        """Close the file; the next append begins a new one."""
        if self._file is not None:
            os.close(self._file)
        self._file, self._size, self.path = None, 0, None

    def _check_room(self, most: int) -> None:
        used = sum(_size_of(path) for path in spool_files(self._folder))
        if used < most:
            self._look_at = time.monotonic() + _LOOK_EVERY
            return
        self.close()  # once it is shipped it can go
        raise UnavailableError(
            f"Predictions that wait in {self._folder} to be shipped take {used // MIB} MiB, and "
            f"YARD_MAX_SPOOL allows {most // MIB}: no further ones are answered.",
            "See why they are not shipped, with yard doctor: the database or the blobs do not answer. "
            "It goes on by itself once they do.",
            retry_after=5.0,
        )

    def _begin(self) -> None:
        self.close()
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            while self._file is None:
                self._begun = max(self._begun + 1, time.time_ns())  # later also where the clock went back
                path = self._folder / f"{self._name}-{self._begun}.spool"
                with suppress(FileExistsError):
                    self._file = _claimed(os.open(path, flags, 0o600))
                    self.path = path
            if self._sync:
                sync_folder(self._folder)
        except OSError as error:
            self.close()
            raise _explained(error, self._folder) from error

    def _write(self, data: bytes) -> None:
        assert self._file is not None  # noqa: S101 - _begin opened it
        rest = memoryview(data)
        while rest:  # more than once only near a limit of disk or kernel
            rest = rest[os.write(self._file, rest) :]
        if self._sync:
            os.fdatasync(self._file)

    def _take_back(self) -> None:
        """Cut what was half written, and never write to this file again: after a failed sync nobody
        knows what the disk holds of it.
        """
        assert self._file is not None  # noqa: S101 - only after a write to it
        with suppress(OSError):  # what stays is a torn record, which no reader takes for one
            os.ftruncate(self._file, self._size)
        self.close()


def _claimed(file: int) -> int | None:
    """The file, locked for as long as its writer lives; None if `remove_ended` has removed it before that."""
    fcntl.flock(file, fcntl.LOCK_EX)
    if os.fstat(file).st_nlink:
        return file
    os.close(file)
    return None


def remove_ended(path: Path, end: int) -> int | None:
    """Remove a file whose records up to `end` are safe elsewhere, if no writer has it any more.

    Returns:
        The bytes that followed `end` and are no whole record; None where the file stays.
    """
    with suppress(FileNotFoundError), path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return None
        reader = read_spool(path, end)
        if next(reader, None) is not None:
            return None  # it grew until its writer ended
        if reader.left:
            (path.parent / TORN).mkdir(exist_ok=True)
            path.rename(path.parent / TORN / path.name)
        else:
            path.unlink()
        return reader.left
    return None


class SpoolReader(Iterator[bytes]):
    """The whole records of a file, in order; stops at the first that is cut short or damaged.

    Attributes:
        end: where the last whole record ends, in bytes from the file's beginning: reading can go on
            there once the file has grown.
        left: bytes that follow it and are no record; right once the iteration has ended.
    """

    def __init__(self, path: Path, start: int = 0) -> None:
        self.end = start
        self.left = 0
        self._file = path.open("rb")
        self._size = os.fstat(self._file.fileno()).st_size
        self._file.seek(start)
        self._records = self._read()

    def __iter__(self) -> Iterator[bytes]:  # noqa: PYI034  # a generator needs no call a record
        """Itself, and quicker."""
        return self._records

    def __next__(self) -> bytes:
        return next(self._records)

    def _read(self) -> Iterator[bytes]:
        """Cut out of large blocks: single rows come by the hundred thousand."""
        block, at, head = b"", 0, _HEAD.size
        seeds: dict[int, int] = {}
        while not self._file.closed:
            if at + head > len(block):
                block, at = self._more(block[at:], head), 0
                if len(block) < head:
                    break
            length, crc = _HEAD.unpack_from(block, at)
            start = at + head
            stop = start + length
            if stop > len(block):
                # Not read unseen: a damaged length must not ask for gigabytes.
                if self.end + head + length > self._size:
                    break
                block, start, stop = self._more(block[at:], head + length), head, head + length
                if stop > len(block):
                    break
            record = block[start:stop]
            seed = seeds.get(length)
            if seed is None:
                seed = seeds[length] = zlib.crc32(block[start - head : start - head + _LENGTH.size])
            if zlib.crc32(record, seed) != crc:
                break
            self.end += head + length
            at = stop
            yield record
        if not self._file.closed:
            self.left = max(0, self._size - self.end)
            self.close()

    def _more(self, rest: bytes, wanted: int) -> bytes:
        """What is left of a block and the next one; of the file as it was when it was opened."""
        there = self._size - self.end - len(rest)
        return rest + self._file.read(max(0, min(there, max(_BLOCK, wanted - len(rest)))))

    def go_to(self, start: int) -> None:
        """Read on from here, where a record begins; before the first record is read."""
        self._file.seek(start)
        self.end = start

    def close(self) -> None:
        """Close the file; ends the iteration."""
        self._file.close()


def read_spool(path: Path, start: int = 0) -> SpoolReader:
    """The records of a spool file as it is at this moment.

    Args:
        path: the file.
        start: where a record begins: 0, or an earlier reader's `end`.
    """
    return SpoolReader(path, start)


def spool_files(folder: Path) -> list[Path]:
    """The folder's spool files, oldest first; none where there is no folder."""
    if not folder.is_dir():
        return []
    found = [(match, path) for path in folder.iterdir() if (match := _FILE.fullmatch(path.name))]
    return [path for match, path in sorted(found, key=lambda f: (int(f[0]["time"]), f[0]["name"]))]


def _size_of(path: Path) -> int:
    with suppress(FileNotFoundError):
        return path.stat().st_size
    return 0


def _sealed(record: bytes) -> bytes:
    if len(record) > _MAX_RECORD:
        raise TooLargeError(f"A record of {len(record)} bytes is over the spool's limit of {_MAX_RECORD}.")
    return _HEAD.pack(len(record), _crc(record)) + record


def _crc(record: bytes) -> int:
    return zlib.crc32(record, zlib.crc32(_LENGTH.pack(len(record))))


def _explained(error: OSError, folder: Path) -> UnavailableError:
    what = "The disk is full" if error.errno in _FULL else f"The disk does not take it ({error.strerror})"
    return UnavailableError(
        f"{what}: predictions cannot be recorded in {folder}, so none are answered.",
        "Free space there, or correct the folder's rights; the yard goes on by itself.",
        retry_after=5.0,
    )
