"""Model cards: every text that was ever kept, each from one version on."""

from __future__ import annotations

from sqlalchemy import Connection, insert, select

from modelyard.records.models import Card
from modelyard.store.schema import cards


def add(connection: Connection, card: Card) -> None:
    """Keep a card; older ones stay."""
    connection.execute(insert(cards), {name: getattr(card, name) for name in card.__struct_fields__})


def of_version(connection: Connection, model: str, version: int) -> Card | None:
    """The card that holds for a version: of the newest version up to it, the text kept last."""
    query = (
        select(cards)
        .where(cards.c.model == model, cards.c.version <= version)
        .order_by(cards.c.version.desc(), cards.c.id.desc())
        .limit(1)
    )
    row = connection.execute(query).first()
    return None if row is None else Card(row.model, row.version, row.text, row.changed_at, row.changed_by)
