"""Models: names in departments, each with versions and aliases."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, Row, Select, and_, or_, select, update

from modelyard.records.models import Model
from modelyard.records.references import CHAMPION
from modelyard.store import aliases
from modelyard.store.database import insert_missing
from modelyard.store.schema import models, versions


class _Words(Struct, frozen=True):
    """The two words of a bundle that a list of models shows."""

    language: str
    description: str = ""


_words = msgspec.json.Decoder(_Words)


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
    row = connection.execute(_listing().where(models.c.model == model)).first()
    return None if row is None else _record(row, aliases.of_model(connection, model))


def of_departments(
    connection: Connection, departments: Iterable[str] | None, also: Iterable[str] = ()
) -> list[Model]:
    """The models of these departments (None: of all), and those named beside, by name."""
    query = _listing()
    if departments is not None:
        theirs = models.c.department.in_(sorted(departments))
        query = query.where(or_(theirs, models.c.model.in_(sorted(also))))
    pointers = aliases.of_all(connection)
    found = [_record(row, pointers.get(row.model, {})) for row in connection.execute(query)]
    return sorted(found, key=lambda m: m.model)  # here, because databases sort by the customs of a country


def _listing() -> Select[tuple[str, int, datetime, str, str]]:
    newest = and_(versions.c.model == models.c.model, versions.c.version == models.c.latest)
    columns = (
        models.c.model, models.c.latest, models.c.created_at, models.c.created_by, versions.c.bundle,
    )  # fmt: skip
    return select(*columns).join_from(models, versions, newest)


def _record(row: Row[tuple[str, int, datetime, str, str]], pointers: dict[str, int]) -> Model:
    words = _words.decode(row.bundle)
    return Model(
        model=row.model,
        created_at=row.created_at,
        created_by=row.created_by,
        language=words.language,
        latest=row.latest,
        champion=pointers.get(CHAMPION),
        aliases=pointers,
        description=words.description,
    )
