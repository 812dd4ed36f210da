"""Files by their sha256: in a folder, or in a bucket that speaks S3."""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from modelyard.records.errors import InvalidError, NotFoundError, UnavailableError
from modelyard.records.references import shown
from modelyard.store.folder import Folder, disk_error, whole_file
from modelyard.store.sealing import SealedShelf, Shelf
from modelyard.store.secrets import Keyring

_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)


class Blobs:
    """Immutable files, named by the sha256 of their bytes.

    Args:
        url: a folder (`/path`, `file:///path`) or `s3://bucket/prefix`.
        options: for S3, obstore's options as `{"endpoint": …, "access_key_id": …}`; what is not
            there comes from the usual AWS_… variables.
        keyring: its keys open sealed blobs; without one those are not found.
        seals: whether new ones are sealed, with a keyring.
        scratch: a folder for what is only needed for a moment; None: the system's.

    Methods raise UnavailableError where the place does not answer or its disk is full, and InvalidError
    for what is no digest. A bucket must not be used before a process forks; a folder may be.

    Examples:
        >>> blobs = Blobs("/tmp/blobs")                              # doctest: +SKIP
        >>> digest, size = blobs.put_bytes(b"hello")                 # doctest: +SKIP
        >>> blobs.fetch(digest, Path("/tmp/hello"))                  # doctest: +SKIP
    """

    def __init__(
        self,
        url: str,
        options: Mapping[str, str] | None = None,
        keyring: Keyring | None = None,
        *,
        seals: bool = False,
        scratch: Path | None = None,
    ) -> None:
        self.url = url
        self._scratch = scratch
        self._shelf = _shelf(url, options or {})
        if keyring is not None:
            self._shelf = SealedShelf(self._shelf, keyring, scratch, seals=seals)

    def put_file(self, path: Path) -> tuple[str, int]:
        """Keep a file; nothing happens where it is already kept. Returns (digest, bytes)."""
        try:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
                size = file.tell()
        except OSError as error:
            raise disk_error(error, path) from error
        if self._shelf.size(digest) != size:  # also where a crash of the machine left it cut short
            self._shelf.put(digest, path)
        return digest, size

    def put_bytes(self, data: bytes) -> tuple[str, int]:
        """Keep these bytes, as `put_file`."""
        with tempfile.NamedTemporaryFile(dir=self._scratch) as file:
            file.write(data)
            file.flush()
            return self.put_file(Path(file.name))

    def fetch(self, digest: str, to: Path, size: int | None = None) -> None:
        """Write a blob to a file that is there only once digest and size are right.

        Args:
            digest: sha256 of the blob.
            to: the file; one that is there is replaced.
            size: its bytes, where known: what is longer is not read on.

        Raises:
            NotFoundError: there is no such blob.
            UnavailableError: its bytes are not what they were; the place or the disk fails.
        """
        seen, count = hashlib.sha256(), 0
        with whole_file(to) as file:
            for piece in self.open(digest):
                seen.update(piece)
                count += len(piece)
                if size is not None and count > size:
                    break
                file.write(piece)
            if seen.hexdigest() != digest or (size is not None and count != size):
                raise UnavailableError(
                    f"The blob {digest} in {self.url} is damaged: its bytes are not those that were kept.",
                    "Restore it from a backup.",
                    digest=digest,
                )

    def open(self, digest: str) -> Iterator[bytes]:
        """The blob's bytes, in pieces (not verified: `fetch` does that).

        Raises:
            NotFoundError: there is no such blob.
        """
        pieces = self._shelf.get(_checked(digest))
        try:
            yield from pieces
        except FileNotFoundError as error:
            message = f"There is no blob {digest} in {self.url}."
            raise NotFoundError(message, "Restore it from a backup.", digest=digest) from error
        except OSError as error:
            raise disk_error(error, Path(digest)) from error

    def size(self, digest: str) -> int:
        """Bytes of a blob.

        Raises:
            NotFoundError: there is no such blob.
        """
        size = self._shelf.size(_checked(digest))
        if size is None:
            message = f"There is no blob {digest} in {self.url}."
            raise NotFoundError(message, "Restore it from a backup.", digest=digest)
        return size

    def exists(self, digest: str) -> bool:
        """Whether there is such a blob."""
        return self._shelf.size(_checked(digest)) is not None

    def delete(self, digest: str) -> None:
        """Remove a blob; nothing happens where there is none."""
        self._shelf.remove(_checked(digest))

    def digests(self) -> Iterator[str]:
        """All digests, in no order; one may come twice."""
        return (name for name in self._shelf.digests() if _DIGEST.fullmatch(name))


def digest_of(path: Path) -> str:
    """The sha256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _checked(digest: str) -> str:
    """The digest itself: it becomes part of a path, so nothing else may pass."""
    if _DIGEST.fullmatch(digest):
        return digest
    raise InvalidError(f"{shown(digest)} is not a sha256 in hex.", field="digest")


def _shelf(url: str, options: Mapping[str, str]) -> Shelf:
    if url.startswith("s3://"):
        from modelyard.store.bucket import Bucket  # noqa: PLC0415 - obstore is not needed for a folder

        return Bucket(url, options)
    if url.startswith("file://"):
        return Folder(Path(unquote(urlsplit(url).path)))
    if "://" in url or not url:
        raise InvalidError(
            f"{shown(url)} is no place for blobs that the yard knows.",
            "Give a folder, or s3://BUCKET/PREFIX.",
            field="blobs",
        )
    return Folder(Path(url).absolute())
