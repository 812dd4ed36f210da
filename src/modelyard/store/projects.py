"""Projects: the files that jobs train with, by the digest of them all."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from msgspec import Struct
from sqlalchemy import Connection, insert, select

from modelyard.records.models import File
from modelyard.store.database import insert_missing
from modelyard.store.schema import project_files, projects


class Kept(Struct, frozen=True):
    """A project as it is kept; `description` is its `yard.toml`."""

    digest: str
    model: str
    description: str
    size: int
    created_at: datetime
    created_by: str


def add(connection: Connection, project: Kept, files: Iterable[File]) -> None:
    """Keep a project and the list of its files; nothing happens where it is kept."""
    row = {name: getattr(project, name) for name in project.__struct_fields__}
    if insert_missing(connection, projects, row):
        place = {"project": project.digest}
        rows = [place | {"path": f.path, "size": f.size, "digest": f.digest} for f in files]
        connection.execute(insert(project_files), rows)


def get(connection: Connection, digest: str) -> Kept | None:
    """One project, or None."""
    row = connection.execute(select(projects).where(projects.c.digest == digest)).first()
    return None if row is None else Kept(**row._mapping)  # noqa: SLF001 - its public name


def files(connection: Connection, digest: str) -> list[File]:
    """The files of a project, by path."""
    columns = (project_files.c.path, project_files.c.size, project_files.c.digest)
    found = connection.execute(select(*columns).where(project_files.c.project == digest))
    return sorted(File(*row) for row in found)
