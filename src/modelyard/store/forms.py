"""Which form of a version answers, and the files of its portable form."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Connection, and_, delete, insert, select

from modelyard.records.models import File, VersionState
from modelyard.store.schema import version_files, version_forms, versions

_STATE = versions.c.state == VersionState.CHECKED


def untried(connection: Connection) -> list[tuple[str, int]]:
    """Model and number of the checked versions whose form nobody has decided yet, oldest first."""
    query = select(versions.c.model, versions.c.version).where(and_(_STATE, versions.c.form_reason == ""))
    return [(row.model, row.version) for row in connection.execute(query.order_by(versions.c.created_at))]


def files(connection: Connection, model: str, number: int) -> list[File]:
    """The files of a version's portable form, by path."""
    columns = (version_forms.c.path, version_forms.c.size, version_forms.c.digest)
    where = and_(version_forms.c.model == model, version_forms.c.version == number)
    return sorted(File(*row) for row in connection.execute(select(*columns).where(where)))


def bundle_files(connection: Connection, model: str, number: int, paths: Iterable[str]) -> list[File]:
    """Those of the version's own files that have one of these paths."""
    columns = (version_files.c.path, version_files.c.size, version_files.c.digest)
    own = and_(version_files.c.model == model, version_files.c.version == number)
    where = and_(own, version_files.c.path.in_(list(paths)))
    return sorted(File(*row) for row in connection.execute(select(*columns).where(where)))


def replace(connection: Connection, model: str, number: int, found: Iterable[File]) -> None:
    """Keep these as the files of the version's portable form, in place of what was there."""
    where = and_(version_forms.c.model == model, version_forms.c.version == number)
    connection.execute(delete(version_forms).where(where))
    place = {"model": model, "version": number}
    rows = [place | {"path": f.path, "size": f.size, "digest": f.digest} for f in found]
    if rows:
        connection.execute(insert(version_forms), rows)
