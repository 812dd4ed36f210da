"""Versions: immutable content, and where each stands in its check."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

import msgspec
from msgspec import Struct
from sqlalchemy import ColumnElement, Connection, RowMapping, and_, insert, select, update

from modelyard.records.models import Bundle, File, Version, VersionState
from modelyard.records.rollouts import ServedVersion
from modelyard.records.signatures import Signature
from modelyard.store import aliases
from modelyard.store.schema import version_files, versions


class _Served(Struct, frozen=True):
    """What serving needs of a bundle; the rest is skipped in reading."""

    language: str
    signature: Signature


class Wanted(Struct, frozen=True):
    """The alias that a publisher asked for, to be set once the version is checked."""

    alias: str
    why: str


class Also(Protocol):
    """What belongs to the transaction that keeps a version."""

    def __call__(self, connection: Connection, version: Version, *, is_new: bool) -> None:
        """Told the version, and whether it was not there before."""


_bundles = msgspec.json.Decoder(Bundle)
_served = msgspec.json.Decoder(_Served)
_SAME_NAME = (
    "digest", "state", "reason", "progress", "log", "size", "form", "form_reason", "created_at", "created_by",
)  # fmt: skip
_FEW = 100  # models that are asked for by name; more are read with all others
Key = tuple[str, int]
_DUE = (VersionState.UNCHECKED, VersionState.CHECKING)


def add(
    connection: Connection, version: Version, number: int, files: Iterable[File], wanted: Wanted | None
) -> None:
    """Keep a version under a new number, and the list of its files (`version.version` is not read)."""
    place = {"model": version.model, "version": number}
    row = place | {name: getattr(version, name) for name in _SAME_NAME}
    row |= {"bundle": _json(version.bundle), "wanted_alias": None, "wanted_why": ""}
    if wanted is not None:
        row |= {"wanted_alias": wanted.alias, "wanted_why": wanted.why}
    connection.execute(insert(versions), row)
    rows = [place | {"path": f.path, "size": f.size, "digest": f.digest} for f in files]
    connection.execute(insert(version_files), rows)


def get(connection: Connection, model: str, number: int) -> Version | None:
    """One version, or None."""
    return next(iter(_records(connection, model, _is(model, number))), None)


def by_digest(connection: Connection, model: str, digest: str) -> Version | None:
    """The model's version with exactly this content, or None."""
    same = and_(versions.c.model == model, versions.c.digest == digest)
    return next(iter(_records(connection, model, same)), None)


def of_model(
    connection: Connection, model: str, below: int | None = None, most: int | None = None
) -> list[Version]:
    """The versions of a model, newest first: those under a number, and at most so many (None: all)."""
    where = versions.c.model == model
    if below is not None:
        where = and_(where, versions.c.version < below)
    return _records(connection, model, where, most)


def due(connection: Connection) -> list[Version]:
    """The versions of all models whose check has not ended, oldest first."""
    query = select(versions).where(versions.c.state.in_(_DUE)).order_by(versions.c.created_at)
    return [_record(row, ()) for row in connection.execute(query).mappings()]


def wanted(connection: Connection, model: str, number: int) -> Wanted | None:
    """The alias that waits for this version's check, or None."""
    query = select(versions.c.wanted_alias, versions.c.wanted_why).where(_is(model, number))
    row = connection.execute(query).one()
    return None if row.wanted_alias is None else Wanted(row.wanted_alias, row.wanted_why)


def change(connection: Connection, model: str, number: int, **values: str | int) -> None:
    """Set `state`, `reason`, `progress`, `log`, `form`, `form_reason` or `native_from`."""
    connection.execute(update(versions).where(_is(model, number)).values(**values))


def say_progress(connection: Connection, model: str, number: int, words: str) -> None:
    """Set what a check is doing; nothing happens where none is going on."""
    going_on = and_(_is(model, number), versions.c.state == VersionState.CHECKING)
    connection.execute(update(versions).where(going_on).values(progress=words))


def complete(connection: Connection, version: Version, signature: Signature) -> None:
    """Put the signature that the check found into the version's description."""
    bundle = msgspec.structs.replace(version.bundle, signature=signature)
    where = _is(version.model, version.version)
    connection.execute(update(versions).where(where).values(bundle=_json(bundle)))


def is_checked(connection: Connection, model: str, number: int) -> bool:
    """Whether this version is there and has passed its check."""
    query = select(versions.c.state).where(_is(model, number))
    return connection.execute(query).scalar() == VersionState.CHECKED


def checked_numbers(connection: Connection, model: str) -> frozenset[int]:
    """The model's versions that have passed their check."""
    checked = and_(versions.c.model == model, versions.c.state == VersionState.CHECKED)
    return frozenset(connection.scalars(select(versions.c.version).where(checked)))


def served(connection: Connection, known: Mapping[Key, ServedVersion] = {}) -> dict[Key, ServedVersion]:
    """The checked versions of all models, as serving sees them, by model and number.

    Args:
        known: those of an earlier call on the same database. Their signatures are not read again: what a
            checked version takes and answers never changes.
    """
    columns = (versions.c.model, versions.c.version, versions.c.form, versions.c.native_from)
    rows = connection.execute(select(*columns).where(versions.c.state == VersionState.CHECKED)).all()
    new = {row.model for row in rows if (row.model, row.version) not in known}
    read = _read_served(connection, new) if new else {}
    found = {}
    for model, number, form, native_from in rows:
        one = known.get((model, number)) or read[model, number]
        if (one.form, one.native_from) != (form, native_from):
            one = msgspec.structs.replace(one, form=form, native_from=native_from)
        found[model, number] = one
    return found


def _read_served(connection: Connection, models: set[str]) -> dict[Key, ServedVersion]:
    query = select(versions.c.model, versions.c.version, versions.c.bundle)
    query = query.where(versions.c.state == VersionState.CHECKED)
    if len(models) <= _FEW:
        query = query.where(versions.c.model.in_(sorted(models)))
    found = {}
    for model, number, bundle in connection.execute(query):
        words = _served.decode(bundle)
        name = f"{model.replace('/', '.')}.{number}"
        found[model, number] = ServedVersion(name, model, number, words.language, words.signature)
    return found


def files(connection: Connection, model: str, number: int) -> list[File]:
    """The files of a version, by path."""
    columns = (version_files.c.path, version_files.c.size, version_files.c.digest)
    where = and_(version_files.c.model == model, version_files.c.version == number)
    return sorted(File(*row) for row in connection.execute(select(*columns).where(where)))


def _is(model: str, number: int) -> ColumnElement[bool]:
    return and_(versions.c.model == model, versions.c.version == number)


def _records(
    connection: Connection, model: str, where: ColumnElement[bool], most: int | None = None
) -> list[Version]:
    pointers: dict[int, list[str]] = {}
    for alias, number in aliases.of_model(connection, model).items():
        pointers.setdefault(number, []).append(alias)
    query = select(versions).where(where).order_by(versions.c.version.desc()).limit(most)
    rows = connection.execute(query).mappings()
    return [_record(row, tuple(pointers.get(row["version"], ()))) for row in rows]


def _record(row: RowMapping, names: tuple[str, ...]) -> Version:
    return Version(
        model=row["model"],
        version=row["version"],
        digest=row["digest"],
        bundle=_bundles.decode(row["bundle"]),
        state=VersionState(row["state"]),
        size=row["size"],
        created_at=row["created_at"],
        created_by=row["created_by"],
        reason=row["reason"],
        progress=row["progress"],
        log=row["log"],
        form=row["form"],
        form_reason=row["form_reason"],
        native_from=row["native_from"],
        aliases=names,
    )


def _json(bundle: Bundle) -> str:
    return msgspec.json.encode(bundle).decode()
