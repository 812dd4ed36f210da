"""Models: names in departments, each with versions and aliases."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy import Column, Connection, Select, and_, or_, select, update

from modelyard.records.models import Model
from modelyard.records.references import CHAMPION
from modelyard.store import aliases
from modelyard.store.database import insert_missing
from modelyard.store.schema import models, versions


class Words(Struct, frozen=True):
    """The two words of a version's bundle that a list of models shows; they never change."""

    language: str
    description: str = ""


Known = dict[tuple[str, int], Words]
_words = msgspec.json.Decoder(Words)
_FEW = 100  # models that are asked for by name; more are read with all others


def add(connection: Connection, model: str, *, by: str, at: datetime) -> bool:
    """Make a model without versions in a department that is there; False where the model is there already."""
    values = {"model": model, "department": model.split("/", maxsplit=1)[0], "latest": 0}
    return insert_missing(connection, models, values | {"created_at": at, "created_by": by})


def lock(connection: Connection, model: str) -> bool:
    """Hold a model until the transaction ends, so that its changes go one after another.

    False where there is no such model.
    """
    query = select(models.c.model).where(models.c.model == model).with_for_update()
    return connection.execute(query).first() is not None


def next_number(connection: Connection, model: str) -> int:
    """Give out the next version number of a locked model."""
    connection.execute(update(models).where(models.c.model == model).values(latest=models.c.latest + 1))
    return int(connection.execute(select(models.c.latest).where(models.c.model == model)).scalar_one())


def names(connection: Connection) -> list[str]:
    """All models, by name."""
    return sorted(connection.scalars(select(models.c.model)))


def get(connection: Connection, model: str) -> Model | None:
    """One model, or None."""
    row = connection.execute(_listing(_ROW, versions.c.bundle).where(models.c.model == model)).first()
    if row is None:
        return None
    *of_model, bundle = row
    return _record(tuple(of_model), _words.decode(bundle), aliases.of_model(connection, model))


def of_departments(
    connection: Connection,
    departments: Iterable[str] | None,
    also: Iterable[str] = (),
    known: Known | None = None,
) -> list[Model]:
    """The models of these departments (None: of all), and those named beside, by name.

    Args:
        known: what earlier calls on the same database have read of bundles; added to.
    """
    query = _listing(_ROW)
    if departments is not None:
        theirs = models.c.department.in_(sorted(departments))
        query = query.where(or_(theirs, models.c.model.in_(sorted(also))))
    # Sorted here, because databases sort by the customs of a country; the first column is the key.
    rows = sorted(map(tuple, connection.execute(query)))
    words = _read(connection, {} if known is None else known, {(model, latest) for model, latest, *_ in rows})
    pointers = aliases.of_all(connection)
    return [_record(row, words[row[:2]], pointers.get(row[0], {})) for row in rows]


_ROW = (models.c.model, models.c.latest, models.c.created_at, models.c.created_by)


def _listing(columns: tuple[Column[Any], ...], *more: Column[Any]) -> Select[Any]:
    newest = and_(versions.c.model == models.c.model, versions.c.version == models.c.latest)
    return select(*columns, *more).join_from(models, versions, newest)


def _read(connection: Connection, known: Known, wanted: set[tuple[str, int]]) -> Known:
    """What is known, with the wanted read where they were not."""
    if new := {model for model, latest in wanted if (model, latest) not in known}:
        query = _listing((models.c.model, models.c.latest), versions.c.bundle)
        if len(new) <= _FEW:
            query = query.where(models.c.model.in_(sorted(new)))
        for row in connection.execute(query):
            known[row.model, row.latest] = _words.decode(row.bundle)
    return known


def _record(row: tuple[Any, ...], words: Words, pointers: dict[str, int]) -> Model:
    model, latest, created_at, created_by = row  # as in _ROW
    return Model(
        model=model,
        created_at=created_at,
        created_by=created_by,
        language=words.language,
        latest=latest,
        champion=pointers.get(CHAMPION),
        aliases=pointers,
        description=words.description,
    )
