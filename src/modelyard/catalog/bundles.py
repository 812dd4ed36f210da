"""Bundles come in as archives and are laid out as folders; nothing in them is ever run here."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from msgspec import Struct

from modelyard.catalog.paths import Names, check_path
from modelyard.catalog.tar import Tar, gunzip
from modelyard.records.errors import (
    InvalidError,
    MalformedError,
    NotFoundError,
    TooLargeError,
    UnavailableError,
)
from modelyard.records.models import File
from modelyard.records.references import shown
from modelyard.store.blobs import Blobs
from modelyard.store.folder import disk_error

GIB = 1024**3
_TAR = frozenset({"application/x-tar", "application/tar"})
_GZIP = frozenset({"application/gzip", "application/x-gzip", "application/x-gtar", "application/x-tgz"})
_GZIP_MAGIC = b"\x1f\x8b"
_READ_ONLY = 0o444
_OPEN_FOLDER = 0o755


class Limits(Struct, frozen=True):
    """What a bundle may be: entries in the archive, bytes of it unpacked; and what it is called."""

    entries: int = 10_000
    total: int = 4 * GIB
    noun: str = "bundle"


class Received(Struct, frozen=True):
    """A bundle's files, sorted by path, with their bytes in all and the digest of the whole."""

    files: tuple[File, ...]
    size: int
    digest: str


def receive(stream: Iterable[bytes], content_type: str, into: Path, limits: Limits) -> Received:
    """Unpack an archive into a new folder; it is removed again where the archive is refused.

    A leading `./`, as `tar -C FOLDER .` writes it, is left out of names; modes, owners and times are ignored.

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
    tar = Tar(_unpacked(stream, content_type, limits), limits.entries)
    try:
        into.mkdir(mode=0o700)
        files = tuple(sorted(_members(tar, into, limits)))
    except OSError as error:
        shutil.rmtree(into, ignore_errors=True)
        raise disk_error(error, into) from error
    except BaseException:
        shutil.rmtree(into, ignore_errors=True)
        raise
    return Received(files, sum(f.size for f in files), digest_of(files))


def _unpacked(stream: Iterable[bytes], content_type: str, limits: Limits) -> Iterable[bytes]:
    kind = content_type.partition(";")[0].strip().lower()
    if kind in _TAR:
        return _not_gzip(stream)
    if kind in _GZIP:
        return gunzip(stream, limits.total)
    raise InvalidError(
        f"A {limits.noun} cannot come as {shown(content_type)}.",
        "Send a tar with Content-Type: application/x-tar, or a .tar.gz with application/gzip.",
        field="content-type",
    )


def _not_gzip(stream: Iterable[bytes]) -> Iterator[bytes]:
    """The stream itself; a .tar.gz sent as a tar is a mistake that deserves its own words."""
    is_first = True
    for piece in stream:
        if is_first and piece.startswith(_GZIP_MAGIC):
            raise MalformedError("This is gzip, not tar.", "Send it with Content-Type: application/gzip.")
        is_first = is_first and not piece
        yield piece


def _members(tar: Tar, into: Path, limits: Limits) -> Iterator[File]:
    names, total = Names(), 0
    for member in tar:
        path = _member_path(member.path, is_folder=member.is_folder)
        total += member.size
        if total > limits.total:
            raise TooLargeError(
                f"The {limits.noun} is over the limit of {limits.total} bytes, unpacked.",
                "Leave out what is not needed; the operator can raise YARD_MAX_BUNDLE.",
            )
        if path is None:
            continue
        names.add(path, is_file=not member.is_folder)
        place = into / path
        if member.is_folder:
            place.mkdir(parents=True, exist_ok=True)
        else:
            place.parent.mkdir(parents=True, exist_ok=True)
            yield File(path, member.size, _write(place, tar.data()))


def _member_path(raw: bytes, *, is_folder: bool) -> str | None:
    """The member's path inside the bundle, or None for the bundle's folder itself."""
    try:
        path = raw.decode()
    except UnicodeDecodeError as error:
        wrong = shown(raw.decode(errors="backslashreplace"))
        hint = "Rename it before publishing."
        raise InvalidError(f"The file name {wrong} is not UTF-8.", hint, field="path") from error
    if is_folder:
        if path in (".", "./"):
            return None
        path = path.removesuffix("/")
    return check_path(path.removeprefix("./"))


def _write(place: Path, pieces: Iterable[memoryview]) -> str:
    digest = hashlib.sha256()
    with place.open("xb") as file:
        for piece in pieces:
            digest.update(piece)
            file.write(piece)
    return digest.hexdigest()


def digest_of(files: Iterable[File]) -> str:
    """The digest of a bundle: sha256 over its sorted lines `path NUL size NUL digest LF`, in hex."""
    whole = hashlib.sha256()
    for file in sorted(files):
        whole.update(f"{file.path}\0{file.size}\0{file.digest}\n".encode())
    return whole.hexdigest()


def lay_out(files: Iterable[File], blobs: Blobs, folder: Path) -> str:
    """Write a bundle's files into a folder that appears whole or not at all; nothing to do where it is.

    Files are read-only and verified against their digests, also those that are there already: a folder that
    is not what it must be any more is put aside.

    Returns:
        Where a changed folder was put; empty where there was none.

    Raises:
        UnavailableError: a blob is damaged or missing, or the disk is full.
    """
    files, aside = list(files), ""
    try:
        if folder.is_dir():
            if is_laid_out(folder, digest_of(files)):
                return ""
            aside = str(folder.with_name(f".changed-{folder.name}-{time.time_ns()}"))
            folder.rename(aside)
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".new-") as scratch:
            whole = Path(scratch) / "bundle"
            whole.mkdir(mode=_OPEN_FOLDER)
            for file in files:
                place = whole / check_path(file.path)
                place.parent.mkdir(mode=_OPEN_FOLDER, parents=True, exist_ok=True)
                blobs.fetch(file.digest, place, file.size)
                place.chmod(_READ_ONLY)
            _take_place(whole, folder)
            return aside
    except NotFoundError as error:
        raise UnavailableError(error.message, error.hint) from error
    except OSError as error:
        raise disk_error(error, folder) from error


def is_laid_out(folder: Path, digest: str) -> bool:
    """Whether a folder holds exactly the files of a bundle with this digest; it reads every byte."""
    found = []
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            return False
        if path.is_file():
            with path.open("rb") as file:
                whole = hashlib.file_digest(file, "sha256").hexdigest()
            found.append(File(path.relative_to(folder).as_posix(), path.stat().st_size, whole))
    return digest_of(found) == digest


def _take_place(whole: Path, folder: Path) -> None:
    try:
        whole.rename(folder)
    except OSError:
        if not folder.is_dir():  # else another process laid out the same at the same time
            raise
