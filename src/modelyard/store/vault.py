"""A folder of backups: blobs by digest, which they share, and a folder a backup; sealed if it was begun so.

vault.json              format, and of a sealed one the salt and a word that proves the passphrase
blobs/ab/abcdef…        each blob once
20261125T214500Z/       tables/NAME, files/PATH, and last manifest: a sha256, and the list in JSON
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

import msgspec
from msgspec import Struct

from modelyard.records.backups import FORMAT, Manifest
from modelyard.records.errors import ConflictError, InvalidError, MalformedError, NotFoundError
from modelyard.store.folder import disk_error, make_folders, whole_file
from modelyard.store.sealed import OpeningFile, SealingFile, key_of

_HEAD, _MANIFEST = "vault.json", "manifest"
_NAME = re.compile(r"\d{8}T\d{6}Z(-\d+)?")
_PIECE = 1 << 20
_PROOF = b"the passphrase of this vault"


class _Head(Struct, frozen=True):
    format: int = FORMAT
    salt: str = ""
    proof: str = ""


class Vault:
    """Backups in a folder.

    Args:
        folder: an empty one, or one that earlier backups are in.
        passphrase: seals what is written; needed again to read it. Empty: nothing is sealed.
        make: whether a folder that is no vault yet becomes one.

    Raises:
        InvalidError: the folder holds something else, or the passphrase is missing, needless, short or wrong.
        NotFoundError: there is no vault.
        UnavailableError: the folder cannot be used.
    """

    def __init__(self, folder: Path, passphrase: str = "", *, make: bool = False) -> None:
        self.folder = folder
        try:
            if not (folder / _HEAD).is_file():
                if not make:
                    raise NotFoundError(f"There are no backups in {folder}.", "Make one: yard backup DIR.")
                self._begin(passphrase)
            head = msgspec.json.decode((folder / _HEAD).read_bytes(), type=_Head)
        except OSError as error:
            raise disk_error(error, folder) from error
        except msgspec.MsgspecError as error:
            raise MalformedError(f"{folder / _HEAD} is damaged: {error}.", "Use another folder.") from error
        if head.format > FORMAT:
            raise ConflictError(f"{folder} was written by a newer Modelyard.", "Use that release to read it.")
        self._key = self._opened(head, passphrase)

    def _begin(self, passphrase: str) -> None:
        if self.folder.exists() and any(self.folder.iterdir()):
            raise InvalidError(
                f"{self.folder} holds other things than backups.", "Give an empty folder, or a new one."
            )
        make_folders(self.folder)
        self.folder.chmod(0o700)  # a backup has all that the yard has
        head = _Head()
        if passphrase:
            salt = os.urandom(16)
            head = _Head(salt=salt.hex(), proof=_proof(key_of(passphrase, salt)))
        with whole_file(self.folder / _HEAD) as file:
            file.write(msgspec.json.encode(head))

    def _opened(self, head: _Head, passphrase: str) -> bytes:
        if not head.salt:
            if passphrase:
                raise InvalidError(
                    f"The backups in {self.folder} are not sealed.",
                    "Leave the passphrase out, or begin a sealed one in another folder.",
                )
            return b""
        if not passphrase:
            raise InvalidError(f"The backups in {self.folder} are sealed.", "Give their passphrase.")
        key = key_of(passphrase, bytes.fromhex(head.salt))
        if not hmac.compare_digest(_proof(key), head.proof):
            raise InvalidError(
                f"This is not the passphrase of {self.folder}.", "Give the one it was begun with."
            )
        return key

    # Backups

    def names(self) -> list[str]:
        """The backups that are whole, oldest first."""
        found = (path.parent.name for path in self.folder.glob(f"*/{_MANIFEST}"))
        return sorted(name for name in found if _NAME.fullmatch(name))

    def manifest(self, name: str | None = None) -> Manifest:
        """What is in a backup, the newest by default.

        Raises:
            NotFoundError: there is no such backup.
            MalformedError: its list is damaged.
        """
        names = self.names()
        wanted = name or (names[-1] if names else "")
        if wanted not in names:
            there = f"There are {', '.join(names)}." if names else "There is none yet: yard backup DIR."
            raise NotFoundError(f"There is no backup {wanted!r} in {self.folder}.", there)
        try:
            with self.read(f"{wanted}/{_MANIFEST}") as file:
                digest, _, data = file.read().partition(b"\n")
            if hashlib.sha256(data).hexdigest().encode() != digest:
                raise MalformedError(f"The list of the backup {wanted} was changed.", "Restore an older one.")
            return msgspec.json.decode(data, type=Manifest)
        except msgspec.MsgspecError as error:
            raise MalformedError(f"The list of the backup {wanted} is damaged: {error}.") from error

    def finish(self, manifest: Manifest) -> None:
        """Write a backup's list: with it, it is whole."""
        with self.write(f"{manifest.name}/{_MANIFEST}") as file:
            data = msgspec.json.encode(manifest)
            file.write(hashlib.sha256(data).hexdigest().encode() + b"\n" + data)

    def remove(self, name: str) -> None:
        """Remove a backup, its list first; its blobs stay until `sweep`."""
        (self.folder / name / _MANIFEST).unlink(missing_ok=True)
        shutil.rmtree(self.folder / name, ignore_errors=True)

    def sweep(self) -> int:
        """Remove blobs that no backup has, and backups that were never finished; how many blobs went."""
        whole = self.names()
        for path in self.folder.iterdir():
            if _NAME.fullmatch(path.name) and path.name not in whole:
                shutil.rmtree(path, ignore_errors=True)
        kept = {self._blob(blob.path).name for name in whole for blob in self.manifest(name).blobs}
        gone = [path for path in (self.folder / "blobs").glob("*/*") if path.name not in kept]
        for path in gone:
            path.unlink(missing_ok=True)
        return len(gone)

    # Blobs

    def has_blob(self, digest: str) -> bool:
        """Whether a blob is there from an earlier backup (it appears whole or not at all)."""
        return self._blob(digest).is_file()

    @contextmanager
    def write_blob(self, digest: str) -> Iterator[BinaryIO]:
        """A blob's file to write."""
        with self.write(str(self._blob(digest).relative_to(self.folder))) as file:
            yield file

    @contextmanager
    def read_blob(self, digest: str) -> Iterator[BinaryIO]:
        """A blob's file to read."""
        with self.read(str(self._blob(digest).relative_to(self.folder))) as file:
            yield file

    def _blob(self, digest: str) -> Path:
        # A sealed vault does not tell by its names what is in it.
        name = hmac.new(self._key, digest.encode(), "sha256").hexdigest() if self._key else digest
        return self.folder / "blobs" / name[:2] / name

    # Files

    @contextmanager
    def write(self, path: str) -> Iterator[BinaryIO]:
        """A file to write, sealed where the vault is; it appears whole or not at all."""
        with whole_file(self.folder / path) as file:
            out = cast("BinaryIO", file)
            if not self._key:
                yield out
                return
            sealing = SealingFile(out, self._key)
            yield cast("BinaryIO", sealing)
            sealing.close()

    @contextmanager
    def read(self, path: str) -> Iterator[BinaryIO]:
        """A file to read.

        Raises:
            NotFoundError: it is not there.
            MalformedError: it is sealed and was changed.
        """
        try:
            file = (self.folder / path).open("rb")
        except FileNotFoundError as error:
            raise NotFoundError(
                f"The backup's file {path} is missing.", "Restore an older one: yard restore DIR --name NAME."
            ) from error
        except OSError as error:
            raise disk_error(error, self.folder / path) from error
        with file:
            yield cast("BinaryIO", OpeningFile(file, self._key, path)) if self._key else file


def copied(source: BinaryIO, *to: BinaryIO) -> tuple[str, int]:
    """Copy a file; the sha256 of its bytes, and how many they are."""
    seen, count = hashlib.sha256(), 0
    while piece := source.read(_PIECE):
        seen.update(piece)
        count += len(piece)
        for file in to:
            file.write(piece)
    return seen.hexdigest(), count


def _proof(key: bytes) -> str:
    return hmac.new(key, _PROOF, "sha256").hexdigest()
