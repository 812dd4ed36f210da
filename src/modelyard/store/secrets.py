"""Secrets at rest: sealed with AES-256-GCM under a key that is kept in a file of the data folder.

A sealed secret is: format 1 (1 byte), the key's id (8), a nonce (12), the ciphertext with its tag. What it is
for (`context`) is authenticated with it, so that one cannot be put in another's place.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from pathlib import Path

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from modelyard.records.errors import UnavailableError
from modelyard.records.provenance import Key

_FORMAT = b"\x01"
KEY_ID = 8  # bytes of a key's id
_KEY, _NONCE, _TAG = 32, 12, 16


class Keyring:
    """Keys in a file, one a line in hexadecimal; the last one seals, all of them open.

    Args:
        path: the file; made with mode 0600 and a first key where it is not there.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        if not path.exists():
            own = path.with_name(f".{path.name}-{os.urandom(8).hex()}")
            _append_key(own)
            with suppress(FileExistsError):  # another process was first
                os.link(own, path)  # whole or not at all
            own.unlink()

    def rotate(self) -> None:
        """Add a key that seals from now on; what older keys sealed can still be opened."""
        _append_key(self._path)

    def keys(self) -> dict[bytes, bytes]:
        """The keys by their ids, oldest first.

        Raises:
            UnavailableError: the file is gone or damaged.
        """
        try:
            keys = [bytes.fromhex(line) for line in self._path.read_text("ascii").split()]
        except (OSError, ValueError) as error:
            raise _unreadable(self._path, str(error)) from error
        if not keys or any(len(key) != _KEY for key in keys):
            raise _unreadable(self._path, "it does not hold keys of 256 bits")
        return {hashlib.sha256(key).digest()[:KEY_ID]: key for key in keys}


class Secrets:
    """Seals and opens secrets with the keys of a keyring."""

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring

    def seal(self, secret: bytes, context: str) -> bytes:
        """The secret, encrypted under the newest key, for this context alone."""
        number, key = list(self._keyring.keys().items())[-1]
        nonce = os.urandom(_NONCE)
        head = _FORMAT + number
        return head + nonce + AESGCM(key).encrypt(nonce, secret, head + context.encode())

    def open(self, sealed: bytes, context: str) -> bytes:
        """What was sealed for this context.

        Raises:
            UnavailableError: it was changed, is another context's, or its key is not in the keyring.
        """
        head, rest = sealed[: 1 + KEY_ID], sealed[1 + KEY_ID :]
        key = self._keyring.keys().get(head[1:])
        if head[:1] != _FORMAT or key is None or len(rest) < _NONCE + _TAG:
            raise UnavailableError(
                "A stored secret cannot be opened: its key is not here.",
                "Restore the key file that belongs to this database, or store the secret anew.",
            )
        try:
            return AESGCM(key).decrypt(rest[:_NONCE], rest[_NONCE:], head + context.encode())
        except InvalidTag as error:
            raise UnavailableError(
                "A stored secret cannot be opened: it was changed, or is another's.", "Store it anew."
            ) from error


def _append_key(path: Path) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(os.urandom(_KEY).hex() + "\n")
        file.flush()
        os.fsync(file.fileno())


def _unreadable(path: Path, why: str) -> UnavailableError:
    return UnavailableError(f"The key file {path.name} cannot be used: {why}.", "Restore it from the backup.")


class Signer:
    """Signs with Ed25519 keys that are derived from those of a keyring (HKDF-SHA256, RFC 5869).

    So one file holds all that must not be lost, and a rotation makes a new signing key as well. A key
    management service takes this class's place with the same methods.
    """

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring

    def sign(self, message: bytes) -> tuple[str, str]:
        """The id of the newest key, and its signature in hex.

        Raises:
            UnavailableError: the key file is gone or damaged.
        """
        number, key = list(self._keyring.keys().items())[-1]
        return number.hex(), _private(key).sign(message).hex()

    def verify(self, message: bytes, key: str, signature: str) -> str:
        """Why this is not one of our keys' signature of the message; empty where it is.

        Raises:
            UnavailableError: the key file is gone or damaged.
        """
        keys = {number.hex(): secret for number, secret in self._keyring.keys().items()}
        if key not in keys:
            return f"it is signed by the key {key}, which this yard does not have"
        try:
            _private(keys[key]).public_key().verify(bytes.fromhex(signature), message)
        except (InvalidSignature, ValueError):
            return "its signature is over something else"
        return ""

    def rotate(self) -> None:
        """Add a key to the file: it signs, and seals secrets, from now on, in all processes of the node."""
        self._keyring.rotate()

    def keys(self) -> list[Key]:
        """The public keys, oldest first; the last one signs."""
        known = list(self._keyring.keys().items())
        return [
            Key(number.hex(), _private(secret).public_key().public_bytes_raw().hex(), at == len(known) - 1)
            for at, (number, secret) in enumerate(known)
        ]


def _private(key: bytes) -> Ed25519PrivateKey:
    derived = HKDF(algorithm=SHA256(), length=_KEY, salt=None, info=b"modelyard versions").derive(key)
    return Ed25519PrivateKey.from_private_bytes(derived)
