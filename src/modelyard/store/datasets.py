"""Datasets and their versions, clearances, connections, and the lineage of models to them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

import msgspec
from msgspec import structs
from sqlalchemy import ColumnElement, Connection, Row, Select, and_, delete, insert, or_, select, update

from modelyard.records.datasets import (
    Clearance,
    DataColumn,
    DataConnection,
    Dataset,
    DatasetVersion,
    Mark,
    Origin,
    Source,
    TrainedModel,
    trained_on,
)
from modelyard.store.database import insert_missing
from modelyard.store.schema import (
    clearances,
    data_connections,
    dataset_versions,
    datasets,
    version_datasets,
)

_columns = msgspec.json.Decoder(tuple[DataColumn, ...])
_origin = msgspec.json.Decoder(Origin)
_marks = msgspec.json.Decoder(dict[str, Mark])
_source = msgspec.json.Decoder(Source | None)
_SAME_NAME = ("dataset", "digest", "blob", "size", "rows", "why", "created_at", "created_by")


def add(connection: Connection, dataset: str, *, by: str, at: datetime) -> bool:
    """Make a dataset without versions in a department that is there; False where it is there already."""
    values = {"dataset": dataset, "department": dataset.split("/", maxsplit=1)[0], "latest": 0}
    values |= {"marks": "{}", "source": "null", "created_at": at, "created_by": by}
    return insert_missing(connection, datasets, values)


def lock(connection: Connection, dataset: str) -> bool:
    """Hold a dataset until the transaction ends; False where there is none."""
    query = select(datasets.c.dataset).where(datasets.c.dataset == dataset).with_for_update()
    return connection.execute(query).first() is not None


def add_version(connection: Connection, version: DatasetVersion) -> int:
    """Keep a version of a locked dataset under its next number, which is returned."""
    mine = datasets.c.dataset == version.dataset
    connection.execute(update(datasets).where(mine).values(latest=datasets.c.latest + 1))
    number = int(connection.execute(select(datasets.c.latest).where(mine)).scalar_one())
    plain = tuple(structs.replace(column, mark=None) for column in version.columns)
    row = {name: getattr(version, name) for name in _SAME_NAME}
    row |= {"version": number, "width": len(plain), "columns": _json(plain), "origin": _json(version.origin)}
    connection.execute(insert(dataset_versions), row)
    return number


def get(connection: Connection, dataset: str) -> Dataset | None:
    """One dataset, or None."""
    row = connection.execute(_listing().where(datasets.c.dataset == dataset)).first()
    return None if row is None else _dataset(row)


def of_departments(
    connection: Connection, departments: Iterable[str] | None, also: Iterable[str] = ()
) -> list[Dataset]:
    """The datasets of these departments (None: of all), and those named beside, by name."""
    query = _listing()
    if departments is not None:
        theirs = datasets.c.department.in_(sorted(departments))
        query = query.where(or_(theirs, datasets.c.dataset.in_(sorted(also))))
    return sorted((_dataset(row) for row in connection.execute(query)), key=lambda d: d.dataset)


def version(connection: Connection, dataset: str, number: int) -> DatasetVersion | None:
    """One version, with the marks its columns have now, or None."""
    where = and_(dataset_versions.c.dataset == dataset, dataset_versions.c.version == number)
    return next(iter(_versions(connection, dataset, where)), None)


def by_digest(connection: Connection, dataset: str, digest: str) -> DatasetVersion | None:
    """The version with exactly this content, or None."""
    where = and_(dataset_versions.c.dataset == dataset, dataset_versions.c.digest == digest)
    return next(iter(_versions(connection, dataset, where)), None)


def versions(connection: Connection, dataset: str) -> list[DatasetVersion]:
    """All versions, newest first."""
    return _versions(connection, dataset, dataset_versions.c.dataset == dataset)


def set_marks(connection: Connection, dataset: str, marks: Mapping[str, Mark]) -> None:
    """Keep the marks of a dataset's columns."""
    connection.execute(update(datasets).where(datasets.c.dataset == dataset).values(marks=_json(dict(marks))))


def marks(connection: Connection, names: Iterable[str]) -> dict[str, dict[str, Mark]]:
    """The marks of these datasets; what is not there is left out."""
    query = select(datasets.c.dataset, datasets.c.marks).where(datasets.c.dataset.in_(sorted(names)))
    return {row.dataset: _marks.decode(row.marks) for row in connection.execute(query)}


def marks_of_model(connection: Connection, model: str) -> dict[str, Mark]:
    """The marks of columns in the data that any version of a model was trained on; by a column's name the
    strictest.
    """
    strictest: dict[str, Mark] = {}
    for own in marks(connection, {t.dataset for t in datasets_of(connection, model)}).values():
        for column, mark in own.items():
            if strictest.get(column) is not Mark.SECRET:
                strictest[column] = mark
    return strictest


def set_source(connection: Connection, dataset: str, source: Source | None) -> None:
    """Keep where a dataset's next snapshot comes from."""
    connection.execute(update(datasets).where(datasets.c.dataset == dataset).values(source=_json(source)))


# Clearances


def clear(connection: Connection, clearance: Clearance) -> None:
    """Keep a clearance, in place of the same person's for the same mark."""
    revoke(connection, clearance.dataset, clearance.principal, clearance.mark)
    connection.execute(insert(clearances), structs.asdict(clearance))


def revoke(connection: Connection, dataset: str, principal: str, mark: Mark) -> bool:
    """Take a clearance away; whether there was one."""
    mine = and_(
        clearances.c.dataset == dataset, clearances.c.principal == principal, clearances.c.mark == mark
    )
    return connection.execute(delete(clearances).where(mine)).rowcount > 0


def clearances_of(connection: Connection, dataset: str) -> list[Clearance]:
    """All clearances of a dataset, also those whose time has passed, by person."""
    query = select(clearances).where(clearances.c.dataset == dataset)
    found = [_clearance(row) for row in connection.execute(query)]
    return sorted(found, key=lambda c: (c.principal, c.mark))


def cleared(connection: Connection, dataset: str, principal: str, now: datetime) -> frozenset[Mark]:
    """The marks that somebody may look behind now."""
    query = select(clearances.c.mark).where(
        clearances.c.dataset == dataset,
        clearances.c.principal == principal,
        or_(clearances.c.until.is_(None), clearances.c.until > now),
    )
    return frozenset(Mark(mark) for mark in connection.scalars(query))


# Connections


def put_connection(connection: Connection, record: DataConnection, sealed: bytes) -> None:
    """Keep a connection, in place of the one with its name."""
    drop_connection(connection, record.department, record.name)
    connection.execute(insert(data_connections), {**structs.asdict(record), "sealed": sealed})


def drop_connection(connection: Connection, department: str, name: str) -> bool:
    """Forget a connection; whether there was one."""
    return connection.execute(delete(data_connections).where(_is_connection(department, name))).rowcount > 0


def connections(connection: Connection, department: str) -> list[DataConnection]:
    """The connections of a department, by name."""
    query = select(data_connections).where(data_connections.c.department == department)
    found = [_connection(row) for row in connection.execute(query)]
    return sorted(found, key=lambda c: c.name)


def sealed(connection: Connection, department: str, name: str) -> bytes | None:
    """The sealed address of a connection, or None where there is none."""
    query = select(data_connections.c.sealed).where(_is_connection(department, name))
    return connection.scalars(query).first()


# Lineage


def add_lineage(connection: Connection, model: str, version: int, lineage: Mapping[str, str]) -> None:
    """Keep which datasets a version of a model was trained on."""
    rows = [
        {"model": model, "version": version, "dataset": dataset, "dataset_version": number}
        for dataset, number in trained_on(lineage)
    ]
    if rows:
        connection.execute(insert(version_datasets), rows)


def trained(connection: Connection, dataset: str, number: int | None = None) -> list[TrainedModel]:
    """The versions of models trained on a dataset (or on one of its versions), newest first."""
    query = select(version_datasets).where(version_datasets.c.dataset == dataset)
    if number is not None:
        query = query.where(version_datasets.c.dataset_version == number)
    rows = connection.execute(query)
    found = [TrainedModel(r.model, r.version, r.dataset, r.dataset_version) for r in rows]
    return sorted(found, key=lambda t: (-t.dataset_version, t.model, -t.version))


def datasets_of(connection: Connection, model: str) -> list[TrainedModel]:
    """The datasets that the versions of a model were trained on, by name."""
    query = select(version_datasets).where(version_datasets.c.model == model)
    rows = connection.execute(query.order_by(version_datasets.c.dataset))
    return [TrainedModel(r.model, r.version, r.dataset, r.dataset_version) for r in rows]


def _is_connection(department: str, name: str) -> ColumnElement[bool]:
    return and_(data_connections.c.department == department, data_connections.c.name == name)


def _listing() -> Select[tuple[object, ...]]:
    newest = and_(
        dataset_versions.c.dataset == datasets.c.dataset, dataset_versions.c.version == datasets.c.latest
    )
    columns = (
        datasets,
        dataset_versions.c.rows,
        dataset_versions.c.width,
        dataset_versions.c.size,
        dataset_versions.c.created_at.label("changed_at"),
    )
    return select(*columns).join_from(datasets, dataset_versions, newest)


def _dataset(row: Row[tuple[object, ...]]) -> Dataset:
    return Dataset(
        dataset=row.dataset,
        latest=row.latest,
        rows=row.rows,
        columns=row.width,
        size=row.size,
        marks=_marks.decode(row.marks),
        created_at=row.created_at,
        created_by=row.created_by,
        changed_at=row.changed_at,
        source=_source.decode(row.source),
    )


def _versions(connection: Connection, dataset: str, where: ColumnElement[bool]) -> list[DatasetVersion]:
    marked = marks(connection, [dataset]).get(dataset, {})
    query = select(dataset_versions).where(where).order_by(dataset_versions.c.version.desc())
    return [_version(row, marked) for row in connection.execute(query)]


def _version(row: Row[tuple[object, ...]], marked: Mapping[str, Mark]) -> DatasetVersion:
    columns = _columns.decode(row.columns)
    return DatasetVersion(
        dataset=row.dataset,
        version=row.version,
        digest=row.digest,
        blob=row.blob,
        size=row.size,
        rows=row.rows,
        columns=tuple(structs.replace(c, mark=marked.get(c.name)) for c in columns),
        origin=_origin.decode(row.origin),
        created_at=row.created_at,
        created_by=row.created_by,
        why=row.why,
    )


def _clearance(row: Row[tuple[object, ...]]) -> Clearance:
    return Clearance(row.dataset, row.principal, Mark(row.mark), row.given_at, row.given_by, row.until)


def _connection(row: Row[tuple[object, ...]]) -> DataConnection:
    return DataConnection(row.department, row.name, row.address, row.created_at, row.created_by)


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
