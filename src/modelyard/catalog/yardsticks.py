"""What a version's predictions are compared with."""

from __future__ import annotations

from msgspec import Struct
from sqlalchemy import Connection

from modelyard.catalog import summaries
from modelyard.catalog.summaries import Summary
from modelyard.store import segments


class Yardstick(Struct, frozen=True):
    """What a version's predictions are compared with: where that is from, in words, and as a summary."""

    source: str
    summary: Summary


def yardstick_of(connection: Connection, model: str, version: int) -> Yardstick | None:
    """What a version is compared with; None where nothing is known yet."""
    kept = segments.profile(connection, model, version)
    return None if kept is None else Yardstick(kept[0], summaries.unpack(kept[1]))
