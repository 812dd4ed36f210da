"""Files by their sha256: in a folder, or in a bucket that speaks S3."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path


class Blobs:
    """Immutable files, named by the sha256 of their bytes.

    Args:
        url: a folder (`/path`, `file:///path`) or `s3://bucket/prefix`.
        options: for S3, obstore's options as `{"endpoint": …, "access_key_id": …}`; what is not
            there comes from the usual AWS_… variables.
    """

    def __init__(self, url: str, options: Mapping[str, str] | None = None) -> None:
        raise NotImplementedError

    def put_file(self, path: Path) -> tuple[str, int]:
        """Keep a file; nothing happens where it is already kept. Returns (digest, bytes)."""
        raise NotImplementedError

    def put_bytes(self, data: bytes) -> tuple[str, int]:
        """Keep these bytes, as `put_file`."""
        raise NotImplementedError

    def fetch(self, digest: str, to: Path, size: int | None = None) -> None:
        """Write a blob to a file that is there only once digest and size are right.

        Raises:
            NotFoundError: there is no such blob.
            UnavailableError: its bytes are not what they were; the store or the disk fails.
        """
        raise NotImplementedError

    def open(self, digest: str) -> Iterator[bytes]:
        """The blob's bytes, in pieces (not verified: `fetch` does that)."""
        raise NotImplementedError

    def exists(self, digest: str) -> bool:
        """Whether there is such a blob."""
        raise NotImplementedError

    def delete(self, digest: str) -> None:
        """Remove a blob; nothing happens where there is none."""
        raise NotImplementedError

    def digests(self) -> Iterator[str]:
        """All digests, in no order."""
        raise NotImplementedError
