"""Blobs in a bucket that speaks S3, through obstore."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError
from obstore.store import S3Store, from_url

from modelyard.records.errors import InvalidError, UnavailableError

MIB = 1024 * 1024
CONDITIONAL = 32 * MIB  # up to here a blob is one conditional request; above, several parts
_CLIENT: dict[str, Any] = {"connect_timeout": timedelta(seconds=5), "timeout": timedelta(seconds=60)}
_RETRY: dict[str, Any] = {"max_retries": 3, "retry_timeout": timedelta(seconds=20)}

# obstore's threads are begun by the first request of a process and die in a fork; a request in the child
# would wait for ever. None until then.
_threads_of: int | None = None


class Bucket:
    """One way of keeping blobs; `modelyard.store.blobs` decides what is kept."""

    def __init__(self, url: str, options: Mapping[str, str]) -> None:
        self._url = url
        self._options = dict(options)
        self._store: S3Store | None = None

    def size(self, digest: str) -> int | None:
        """Bytes of a blob, or None where there is none."""
        try:
            with self._asked() as store:
                return int(obstore.head(store, _key(digest))["size"])
        except FileNotFoundError:
            return None

    def put(self, digest: str, source: Path) -> None:
        """Send a file to be this blob."""
        with self._asked() as store:
            if source.stat().st_size > CONDITIONAL:
                # Another publisher of the same bytes may finish first: the same blob, written twice.
                obstore.put(store, _key(digest), source, chunk_size=8 * MIB, max_concurrency=4)
                return
            try:
                obstore.put(store, _key(digest), source, mode="create")
            except (AlreadyExistsError, PreconditionError):
                return
            except FileNotFoundError as error:  # the bucket itself
                raise self._explained(error) from error

    def get(self, digest: str) -> Iterator[bytes]:
        """The blob's bytes in pieces; FileNotFoundError where there is none."""
        with self._asked() as store:
            for piece in obstore.get(store, _key(digest)).stream(min_chunk_size=MIB):
                yield bytes(piece)

    def remove(self, digest: str) -> None:
        """Remove a blob; nothing happens where there is none."""
        try:
            with self._asked() as store:
                obstore.delete(store, _key(digest))
        except FileNotFoundError:
            return

    def digests(self) -> Iterator[str]:
        """All blobs."""
        with self._asked() as store:
            for page in obstore.list(store):
                yield from (meta["path"].rpartition("/")[2] for meta in page)

    @contextmanager
    def _asked(self) -> Iterator[S3Store]:
        try:
            yield self._connected()
        except FileNotFoundError:
            raise
        except (BaseError, OSError) as error:
            raise self._explained(error) from error

    def _explained(self, error: Exception) -> UnavailableError:
        cause = str(error).split("\n")[0][:500]
        hint = (
            "See that it is there, can be reached from here, and that AWS_… name a valid key; then try again."
        )
        return UnavailableError(f"The bucket {self._url} did not do it: {cause}", hint)

    def _connected(self) -> S3Store:
        global _threads_of  # noqa: PLW0603 - obstore's threads are the process's too
        _threads_of = _threads_of or os.getpid()
        if _threads_of != os.getpid():
            raise UnavailableError(
                f"The bucket {self._url} was used before this process was forked, and cannot be used in it.",
                "Start worker processes before the first use of the bucket.",
            )
        if self._store is None:
            self._store = _open(self._url, self._options)
        return self._store


def _open(url: str, options: dict[str, str]) -> S3Store:
    client = dict(_CLIENT)
    if options.get("endpoint", options.get("aws_endpoint", "")).startswith("http://"):
        client["allow_http"] = True  # written so by the operator
    try:
        store = from_url(url, config=options, client_options=client, retry_config=_RETRY)  # type: ignore[call-overload]
    except (BaseError, ValueError) as error:
        hint = "Write s3://BUCKET/PREFIX, and see that the options are S3's."
        raise InvalidError(
            f"The blobs' address {url} cannot be used: {error}.", hint, field="blobs"
        ) from error
    assert isinstance(store, S3Store)  # noqa: S101 - the address begins with s3://
    return store


def _key(digest: str) -> str:
    return f"{digest[:2]}/{digest}"
