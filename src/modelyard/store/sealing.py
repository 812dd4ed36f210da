"""Blobs that lie sealed in their folder or bucket, so that whoever reads its disk reads nothing.

A sealed blob is `DIGEST.sealed`: the id of its key (8 bytes), then the blob as `store.sealed` writes it,
under a key derived from that one (HKDF-SHA256, RFC 5869). Its name still tells its sha256, and its length
its size.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import BinaryIO, Protocol, cast

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from modelyard.records.errors import MalformedError, UnavailableError
from modelyard.store.sealed import PIECE, OpeningFile, SealingFile, plain_size
from modelyard.store.secrets import KEY_ID, Keyring

_SUFFIX = ".sealed"


class Shelf(Protocol):
    """Where blobs are: low and dumb, one class a kind of place. See `Folder` and `Bucket`."""

    def size(self, digest: str) -> int | None: ...  # noqa: D102 - said by Folder
    def put(self, digest: str, source: Path) -> None: ...  # noqa: D102
    def get(self, digest: str) -> Iterator[bytes]: ...  # noqa: D102
    def remove(self, digest: str) -> None: ...  # noqa: D102
    def digests(self) -> Iterator[str]: ...  # noqa: D102


class SealedShelf:
    """A shelf whose blobs may lie sealed. Those that are there already stay as they are, and are found.

    Args:
        shelf: where they lie.
        keyring: its newest key seals, all of them open.
        seals: whether new ones are sealed.
        scratch: a folder for what is only needed for a moment; None: the system's.
    """

    def __init__(self, shelf: Shelf, keyring: Keyring, scratch: Path | None, *, seals: bool) -> None:
        self._shelf = shelf
        self._keyring = keyring
        self._scratch = scratch
        self._seals = seals

    def size(self, digest: str) -> int | None:
        """Bytes of a blob before it was sealed, or None where there is none."""
        for name in self._names(digest):
            if (size := self._shelf.size(name)) is not None:
                return plain_size(size - KEY_ID) if name.endswith(_SUFFIX) else size
        return None

    def put(self, digest: str, source: Path) -> None:
        """Copy a file to be this blob."""
        if not self._seals:
            self._shelf.put(digest, source)
            return
        with NamedTemporaryFile(dir=self._scratch) as file, source.open("rb") as data:
            number, key = list(self._keyring.keys().items())[-1]
            file.write(number)
            with SealingFile(cast("BinaryIO", file), _own(key)) as sealing:
                while piece := data.read(PIECE):
                    sealing.write(piece)
            file.flush()
            self._shelf.put(digest + _SUFFIX, Path(file.name))

    def get(self, digest: str) -> Iterator[bytes]:
        """The blob's bytes in pieces; FileNotFoundError where there is none.

        Raises:
            UnavailableError: it was changed, or its key is not in the keyring.
        """
        first, second = self._names(digest)
        try:
            yield from self._read(first)
        except FileNotFoundError:
            yield from self._read(second)

    def remove(self, digest: str) -> None:
        """Remove a blob; nothing happens where there is none."""
        for name in self._names(digest):
            self._shelf.remove(name)

    def digests(self) -> Iterator[str]:
        """All blobs, sealed or not; one that lies there both ways comes twice."""
        return (name.removesuffix(_SUFFIX) for name in self._shelf.digests())

    def _names(self, digest: str) -> tuple[str, str]:
        """Where to look: most blobs are as new ones are."""
        sealed = digest + _SUFFIX
        return (sealed, digest) if self._seals else (digest, sealed)

    def _read(self, name: str) -> Iterator[bytes]:
        pieces = self._shelf.get(name)
        if not name.endswith(_SUFFIX):
            yield from pieces
            return
        file = cast("BinaryIO", io.BufferedReader(_Pieces(pieces), PIECE))
        key = self._keyring.keys().get(file.read(KEY_ID))
        if key is None:
            message = f"The blob {name} cannot be opened: it is damaged, or its key is not here."
            raise UnavailableError(message, "Restore the key file that belongs to these blobs (YARD_KEYS).")
        try:
            opening = OpeningFile(file, _own(key), name)
            while piece := opening.read(PIECE):
                yield piece
        except MalformedError as error:
            message = f"The blob {name} is damaged: it was changed or cut since it was sealed."
            raise UnavailableError(message, "Restore it from a backup.") from error


class _Pieces(io.RawIOBase):
    """Pieces of bytes as a file to read."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        wanted = memoryview(buffer)  # type: ignore[arg-type] # as every raw file takes it
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._rest = memoryview(piece)
        taken = self._rest[: len(wanted)]
        wanted[: len(taken)] = taken
        self._rest = self._rest[len(taken) :]
        return len(taken)


def _own(key: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=len(key), salt=None, info=b"modelyard blobs").derive(key)
