"""Files encrypted as a stream: AES-256-GCM in pieces of a mebibyte, under a key made of a passphrase.

A sealed file is: `YARDSEAL` (8 bytes), a number of its own (16), then pieces, each a length (4 bytes, little-
endian) and a ciphertext with its tag. A piece's nonce is its place; the last one is marked, so that a file
cut at a piece's end is noticed. The key of a file is HKDF of the passphrase's key and the file's number.

Sources: NIST SP 800-38D; RFC 5869 (HKDF); RFC 7914 (scrypt); the STREAM construction of Hoang, Reyhanitabar,
Rogaway and Vizár (2015).
"""

from __future__ import annotations

import hashlib
import io
import os
from typing import BinaryIO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from modelyard.records.errors import InvalidError, MalformedError

PIECE = 1 << 20
_MAGIC = b"YARDSEAL"
_NUMBER, _TAG = 16, 16
_COST, _BLOCK, _PARALLEL = 1 << 15, 8, 1  # scrypt: some 32 MB and a tenth of a second
_SHORTEST = 12


def key_of(passphrase: str, salt: bytes) -> bytes:
    """The key of a passphrase: 32 bytes.

    Raises:
        InvalidError: the passphrase is too short.
    """
    if len(passphrase) < _SHORTEST:
        raise InvalidError(
            f"The passphrase has under {_SHORTEST} characters.",
            "Choose a longer one, such as four words that nobody would put together.",
        )
    return hashlib.scrypt(
        passphrase.encode(), salt=salt, n=_COST, r=_BLOCK, p=_PARALLEL, maxmem=1 << 27, dklen=32
    )


def plain_size(sealed: int) -> int:
    """Bytes that were sealed into a file of so many bytes.

    >>> plain_size(24 + 1 * (4 + 16) + 5), plain_size(24 + 2 * (4 + 16) + PIECE + 5)
    (5, 1048581)
    """
    body = sealed - len(_MAGIC) - _NUMBER
    return body - -(-body // (PIECE + 4 + _TAG)) * (4 + _TAG)


class SealingFile(io.RawIOBase):
    """Writes a sealed file; whole once it is closed."""

    def __init__(self, file: BinaryIO, key: bytes) -> None:
        self._file, self._place, self._rest = file, 0, bytearray()
        number = os.urandom(_NUMBER)
        self._cipher = AESGCM(_own_key(key, number))
        file.write(_MAGIC + number)

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, data: object) -> int:
        """Take bytes; they are written a piece at a time."""
        view = memoryview(data)  # type: ignore[arg-type] # as every raw file takes it
        self._rest += view
        while len(self._rest) > PIECE:
            self._put(bytes(self._rest[:PIECE]), last=False)
            del self._rest[:PIECE]
        return view.nbytes

    def close(self) -> None:
        """Write the last piece; the file below stays open."""
        if not self.closed:
            self._put(bytes(self._rest), last=True)
        super().close()

    def _put(self, piece: bytes, *, last: bool) -> None:
        sealed = self._cipher.encrypt(_nonce(self._place, last=last), piece, None)
        self._file.write(len(sealed).to_bytes(4, "little") + sealed)
        self._place += 1


class OpeningFile(io.RawIOBase):
    """Reads a sealed file.

    Raises MalformedError, also while reading: the key is another, or the file was changed or cut.
    """

    def __init__(self, file: BinaryIO, key: bytes, name: str) -> None:
        self._file, self._name, self._place = file, name, 0
        head = file.read(len(_MAGIC) + _NUMBER)
        if len(head) < len(_MAGIC) + _NUMBER or not head.startswith(_MAGIC):
            raise self._wrong()
        self._cipher = AESGCM(_own_key(key, head[len(_MAGIC) :]))
        self._rest = memoryview(b"")
        self._ended = False

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: object) -> int:
        """Fill a buffer with what was sealed."""
        wanted = memoryview(buffer)  # type: ignore[arg-type] # as every raw file takes it
        while not self._rest and not self._ended:
            self._rest = memoryview(self._next())
        taken = self._rest[: len(wanted)]
        wanted[: len(taken)] = taken
        self._rest = self._rest[len(taken) :]
        return len(taken)

    def _next(self) -> bytes:
        head = self._file.read(4)
        length = int.from_bytes(head, "little")
        if len(head) < 4 or not _TAG <= length <= PIECE + _TAG:  # noqa: PLR2004 - of the length itself
            raise self._wrong()
        sealed = self._file.read(length)
        if len(sealed) != length:
            raise self._wrong()
        for last in (False, True):
            try:
                piece = self._cipher.decrypt(_nonce(self._place, last=last), sealed, None)
            except InvalidTag:
                continue
            if last and self._file.read(1):
                raise self._wrong()
            self._ended = last
            self._place += 1
            return piece
        raise self._wrong()

    def _wrong(self) -> MalformedError:
        return MalformedError(
            f"{self._name} cannot be opened: the passphrase is another, or the file was changed or cut.",
            "Give the passphrase that the backup was made with.",
        )


def _own_key(key: bytes, number: bytes) -> bytes:
    return HKDF(SHA256(), 32, number, b"modelyard backup file").derive(key)


def _nonce(place: int, *, last: bool) -> bytes:
    return place.to_bytes(11, "big") + bytes([last])
