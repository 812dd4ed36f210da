"""Bundles come in as archives and are laid out as folders; nothing in them is ever run here."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from msgspec import Struct

from modelyard.records.models import Bundle, File
from modelyard.store.blobs import Blobs

GIB = 1024**3


class Limits(Struct, frozen=True):
    """What a bundle may be: entries in the archive, bytes of it unpacked."""

    entries: int = 10_000
    total: int = 4 * GIB


class Received(Struct, frozen=True):
    """A bundle's files, sorted by path, with their bytes in all and the digest of the whole."""

    files: tuple[File, ...]
    size: int
    digest: str


def receive(stream: Iterable[bytes], content_type: str, into: Path, limits: Limits) -> Received:
    """Unpack an archive into a new folder; it is removed again where the archive is refused.

    Args:
        stream: the archive's bytes in pieces of any size.
        content_type: `application/x-tar` or `application/gzip`.
        into: a folder that does not exist yet; its parent does.
        limits: see `Limits`.

    Raises:
        InvalidError: a member is no plain file or folder, or its name is not safe.
        MalformedError: it is no such archive, or cut short.
        TooLargeError: over a limit.
        UnavailableError: the disk is full.
    """
    raise NotImplementedError


def read_bundle(folder: Path) -> Bundle:
    """The bundle's description, checked against the files there.

    Raises:
        InvalidError: a key is unknown, missing or of the wrong type; a file it names is not there.
    """
    raise NotImplementedError


def digest_of(files: Iterable[File]) -> str:
    """The digest of a bundle: sha256 over its sorted lines `path NUL size NUL digest LF`, in hex."""
    raise NotImplementedError


def lay_out(files: Iterable[File], blobs: Blobs, folder: Path) -> None:
    """Write a bundle's files into a folder that appears whole or not at all; nothing to do where it is.

    Raises:
        UnavailableError: a blob is damaged or missing, or the disk is full.
    """
    raise NotImplementedError
