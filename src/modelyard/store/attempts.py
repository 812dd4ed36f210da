"""How often somebody tried to come in lately: a leaking bucket a key, shared by all processes."""

from __future__ import annotations

from datetime import datetime, timedelta

from msgspec import Struct
from sqlalchemy import Connection, delete, select, update

from modelyard.store.database import insert_missing
from modelyard.store.schema import attempts

_FORGOTTEN = timedelta(days=1)


class Bucket(Struct, frozen=True):
    """So many attempts at once, and one more each so many seconds."""

    key: str
    most: int
    seconds: float


def level(before: float, elapsed: float, seconds: float) -> float:
    """What is left of a level after some seconds of leaking.

    >>> level(3.0, 60.0, 30.0)
    1.0
    """
    return max(0.0, before - max(0.0, elapsed) / seconds)


def take(connection: Connection, buckets: list[Bucket], at: datetime) -> float:
    """Count an attempt in all of these, or in none if one is full; the seconds to wait, 0 if it was counted.

    In the order of keys, so that two transactions never wait for each other.
    """
    connection.execute(delete(attempts).where(attempts.c.at < at - _FORGOTTEN))
    now: dict[str, float] = {}
    wait = 0.0
    for bucket in sorted(buckets, key=lambda b: b.key):
        insert_missing(connection, attempts, {"key": bucket.key, "level": 0.0, "at": at})
        query = select(attempts).where(attempts.c.key == bucket.key).with_for_update()
        row = connection.execute(query).one()
        now[bucket.key] = level(row.level, (at - row.at).total_seconds(), bucket.seconds)
        wait = max(wait, (now[bucket.key] + 1 - bucket.most) * bucket.seconds)
    if wait > 0:
        return wait
    for key, value in now.items():
        change = update(attempts).where(attempts.c.key == key)
        connection.execute(change.values(level=value + 1, at=at))
    return 0.0


def give_back(connection: Connection, keys: list[str]) -> None:
    """An attempt that was right does not count."""
    for key in sorted(keys):
        change = update(attempts).where(attempts.c.key == key, attempts.c.level >= 1)
        connection.execute(change.values(level=attempts.c.level - 1))
