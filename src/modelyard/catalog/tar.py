"""Reads a tar as it streams in: plain files and folders, and nothing else that tar can hold.

Our own reader and not `tarfile`, which follows what an archive asks for: headers of any size held in memory,
sparse files, links, seeks. Formats: POSIX ustar and pax, and GNU's long names (what tar, bsdtar, Python, R,
Julia and Go write). Source: POSIX.1-2017, pax, "ustar Interchange Format" and "pax Extended Header".
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Iterator

from msgspec import Struct

from modelyard.records.errors import InvalidError, MalformedError, TooLargeError
from modelyard.records.references import shown

BLOCK = 512
PIECE = 256 * 1024
MAX_EXTENSION = 64 * 1024  # bytes of a pax header or a long name
MAX_PADDING = 1024 * 1024  # zeros after the end
_GZIP = 31  # zlib's word for "gzip, largest window"
_BINARY = 0x80  # GNU: a number that octal digits cannot hold
_OCTAL = re.compile(rb"[ \0]*([0-7]*)[ \0]*")
_PAX_LENGTH = re.compile(rb"([1-9][0-9]{0,5}) ")
_FILE, _OLD_FILE, _CONTIGUOUS, _FOLDER = b"0", b"\0", b"7", b"5"
_PAX, _PAX_FOR_ALL, _LONG_NAME = b"x", b"g", b"L"
_REFUSED = {
    b"1": "a hard link", b"2": "a symbolic link", b"3": "a device", b"4": "a device", b"6": "a FIFO",
    b"K": "a link with a long name", b"S": "a sparse file",
}  # fmt: skip


class Member(Struct, frozen=True):
    """A file or folder of an archive; `path` is as it stands there, not checked."""

    path: bytes
    size: int
    is_folder: bool


class Tar:
    """The members of a tar, in order. The data of each is read, or skipped, before the next.

    Args:
        chunks: the archive, in pieces of any size.
        entries: headers it may have.

    Examples:
        >>> tar = Tar(chunks, entries=100)                      # doctest: +SKIP
        >>> for member in tar:                                  # doctest: +SKIP
        ...     print(member.path, sum(map(len, tar.data())))
    """

    def __init__(self, chunks: Iterable[bytes], entries: int) -> None:
        self._source = _Source(chunks)
        self._headers_left = entries
        self._limit = entries
        self._data_left = 0
        self._padding = 0

    def __iter__(self) -> Iterator[Member]:
        """Each file and folder.

        Raises:
            MalformedError: not a tar, or cut short.
            InvalidError: a link, a device or another kind of member.
            TooLargeError: too many members, or a header too large.
        """
        extended: dict[str, bytes] = {}
        while (block := self._source.take(BLOCK)) != bytes(BLOCK):
            self._count_header()
            kind, size = _checked_header(block)
            if kind in (_PAX, _PAX_FOR_ALL, _LONG_NAME):
                extended |= _extension(kind, self._extension_data(size))
                continue
            yield self._member(kind, size, extended.get("path") or _plain_path(block), extended)
            extended = {}
            for _ in self.data():  # what the caller did not read
                pass
        self._end()

    def data(self) -> Iterator[memoryview]:
        """The bytes of the member that came last, in pieces."""
        while self._data_left:
            piece = self._source.piece(self._data_left)
            self._data_left -= len(piece)
            yield piece
        self._source.take(self._padding)
        self._padding = 0

    def _count_header(self) -> None:
        self._headers_left -= 1
        if self._headers_left < 0:
            message = f"The archive has more than {self._limit} entries."
            raise TooLargeError(message, "Leave out what the model does not need, or pack it into one file.")

    def _member(self, kind: bytes, size: int, path: bytes, extended: dict[str, bytes]) -> Member:
        is_folder = kind == _FOLDER or (kind == _OLD_FILE and path.endswith(b"/"))
        if kind not in (_FILE, _OLD_FILE, _CONTIGUOUS, _FOLDER):
            what = _REFUSED.get(kind, f"of the unknown kind {shown(kind.decode('latin-1'))}")
            raise InvalidError(
                f"The archive's member {shown(path.decode(errors='replace'))} is {what}; "
                "only plain files and folders are taken.",
                "Pack the file itself (tar --dereference does it for links).",
                field="path",
            )
        if extended.get("size", b"%d" % size) != b"%d" % size or (is_folder and size):
            raise MalformedError("The archive gives two sizes for one member.", "Pack it again.")
        self._data_left, self._padding = size, -size % BLOCK
        return Member(path, size, is_folder)

    def _extension_data(self, size: int) -> bytes:
        if size > MAX_EXTENSION:
            message = f"A name or header of {size} bytes in the archive is over the limit of {MAX_EXTENSION}."
            raise TooLargeError(message, "Use shorter file names.")
        data = self._source.take(size)
        self._source.take(-size % BLOCK)
        return data

    def _end(self) -> None:
        """What follows the end is zeros alone: nothing may hide there."""
        count = 0
        while rest := self._source.rest():
            count += len(rest)
            if count > MAX_PADDING or bytes(rest).count(0) != len(rest):
                raise MalformedError("The archive goes on after its end.", "Pack it again.")


def gunzip(chunks: Iterable[bytes], limit: int) -> Iterator[bytes]:
    """Unpack one gzip stream piece by piece; never more in memory than a piece.

    Raises:
        MalformedError: not gzip, damaged, cut short, or more than one.
        TooLargeError: more than `limit` bytes of input (a stream can be endless and unpack to nothing).
    """
    inflate = zlib.decompressobj(wbits=_GZIP)
    taken = 0
    try:
        for chunk in chunks:
            taken += len(chunk)
            if taken > limit:
                message = f"The archive is over the limit of {limit} bytes."
                raise TooLargeError(message, "Leave out what is not needed.")
            rest: bytes = chunk
            while rest and not inflate.eof:
                if piece := inflate.decompress(rest, PIECE):
                    yield piece
                rest = inflate.unconsumed_tail
            if inflate.unused_data or (inflate.eof and rest):
                raise MalformedError("The gzip stream goes on after its end.", "Pack it as one stream.")
        while not inflate.eof and (piece := inflate.decompress(b"", PIECE)):
            yield piece
    except zlib.error as error:
        raise MalformedError(f"The archive is not gzip, or damaged: {error}.", "Send it again.") from error
    if not inflate.eof:
        raise MalformedError("The archive is cut short.", "Send it again.")


class _Source:
    """Bytes that come in pieces, taken in other pieces."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._rest = memoryview(b"")

    def piece(self, most: int) -> memoryview:
        """At least one byte and at most `most`."""
        if not self._rest and not self._more():
            raise MalformedError("The archive is cut short.", "Send it again.")
        piece, self._rest = self._rest[:most], self._rest[most:]
        return piece

    def take(self, count: int) -> bytes:
        """Exactly `count` bytes."""
        pieces = []
        while count:
            pieces.append(self.piece(count))
            count -= len(pieces[-1])
        return b"".join(pieces)

    def rest(self) -> memoryview:
        """The next bytes there are; none at the end."""
        if not self._rest:
            self._more()
        piece, self._rest = self._rest, memoryview(b"")
        return piece

    def _more(self) -> bool:
        for chunk in self._chunks:
            if chunk:
                self._rest = memoryview(chunk)
                return True
        return False


def _checked_header(block: bytes) -> tuple[bytes, int]:
    """The member's kind and size."""
    told = _number(block[148:156])
    if told != sum(block[:148]) + 8 * 0x20 + sum(block[156:]):
        raise MalformedError(
            "This is no tar archive, or it is damaged.", "Pack the files with tar and send it again."
        )
    return block[156:157], _number(block[124:136])


def _number(field: bytes) -> int:
    if field[0] == _BINARY:
        return int.from_bytes(field[1:])
    match = _OCTAL.fullmatch(field)
    if not match:
        raise MalformedError(
            "This is no tar archive, or it is damaged.", "Pack the files with tar and send it again."
        )
    return int(match[1] or b"0", 8)


def _plain_path(block: bytes) -> bytes:
    name = block[:100].split(b"\0")[0]
    is_posix = (
        block[257:263] == b"ustar\0"
    )  # GNU's own header ("ustar  ") has other things in the prefix's place
    prefix = block[345:500].split(b"\0")[0] if is_posix else b""
    return prefix + b"/" + name if prefix else name


def _extension(kind: bytes, data: bytes) -> dict[str, bytes]:
    """What an extended header says of the next member: `path` and `size`, no times or owners."""
    if kind == _LONG_NAME:
        return {"path": data.split(b"\0")[0]}
    records = dict(_pax_records(data))
    if kind == _PAX_FOR_ALL:  # `git archive` writes a comment here
        if records.keys() & {b"path", b"size", b"linkpath"}:
            raise InvalidError("The archive gives one name or size to all its members.", "Pack it again.")
        return {}
    if any(key.startswith(b"GNU.sparse") for key in records) or records.get(b"hdrcharset", b"").startswith(
        b"BIN"
    ):
        raise InvalidError("The archive has a sparse file, or names that are not UTF-8.", "Pack plain files.")
    return {key.decode(): records[key] for key in (b"path", b"size") if key in records}


def _pax_records(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    r"""`LENGTH KEY=VALUE\n`, one after another; the length counts itself."""
    at = 0
    while at < len(data):
        match = _PAX_LENGTH.match(data, at)
        end = at + int(match[1]) if match else 0
        if not match or end <= match.end() or end > len(data) or data[end - 1 : end] != b"\n":
            raise MalformedError("An extended header of the archive is damaged.", "Pack it again.")
        key, _, value = data[match.end() : end - 1].partition(b"=")
        yield key, value
        at = end
