"""Nodes: when each was heard of, by the database's clock."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime

import msgspec
from sqlalchemy import Connection, Row, and_, delete, select, update

from modelyard.records.conditions import Condition
from modelyard.records.nodes import Heard
from modelyard.store.database import clock, insert_missing
from modelyard.store.schema import nodes

_CONDITION = msgspec.json.Decoder(Condition)


def enter(connection: Connection, node: Heard) -> None:
    """A node's engine has started; what it says goes before what is known, but for the number of its beat."""
    row = {name: getattr(node, name) for name in Heard.__struct_fields__ if name != "condition"}
    if insert_missing(connection, nodes, row):
        return
    mine = nodes.c.id == node.id
    before = connection.execute(select(nodes).where(mine).with_for_update()).one()
    moved = before.address != node.address
    row |= {"former": before.address if moved else before.former, "beat": before.beat + 1}
    connection.execute(update(nodes).where(mine).values(row))


def beat(connection: Connection, node_id: str, boot: str, clock_off: float) -> int | None:
    """A node says that it lives; the number of that beat, None if another engine beats under its id."""
    mine = and_(nodes.c.id == node_id, nodes.c.boot == boot)
    told = {"seen_at": clock(connection), "beat": nodes.c.beat + 1, "clock_off": clock_off, "stopped": False}
    found: int | None = connection.scalar(update(nodes).where(mine).values(told).returning(nodes.c.beat))
    return found


def tell(connection: Connection, node_id: str, condition: Condition) -> None:
    """A node says how its machine is."""
    told = {"condition": msgspec.json.encode(condition).decode()}
    connection.execute(update(nodes).where(nodes.c.id == node_id).values(told))


def leave(connection: Connection, node_id: str, boot: str) -> None:
    """A node goes down as it should."""
    mine = and_(nodes.c.id == node_id, nodes.c.boot == boot)
    connection.execute(update(nodes).where(mine).values(seen_at=clock(connection), stopped=True))


def get(connection: Connection, node_id: str) -> Heard | None:
    """One node, or None."""
    row = connection.execute(select(nodes).where(nodes.c.id == node_id)).first()
    return None if row is None else _record(row)


def every(connection: Connection) -> list[Heard]:
    """All nodes."""
    return [_record(row) for row in connection.execute(select(nodes))]


def forget(connection: Connection, node_id: str) -> bool:
    """Let go of a node; whether there was one."""
    return connection.execute(delete(nodes).where(nodes.c.id == node_id)).rowcount == 1


def forget_all(connection: Connection) -> int:
    """Let go of all nodes; how many there were."""
    return connection.execute(delete(nodes)).rowcount


def forget_older(connection: Connection, than: datetime) -> None:
    """Let go of those that were not heard of since then."""
    connection.execute(delete(nodes).where(nodes.c.seen_at < than))


def _record(row: Row[tuple[object, ...]]) -> Heard:
    told = dict(row._mapping)  # noqa: SLF001 - its public name
    return Heard(**{**told, "condition": _condition(told["condition"])})


def _condition(told: str | None) -> Condition | None:
    """What a node has told; None if it has not, or in words of a newer release."""
    with suppress(msgspec.MsgspecError):
        return _CONDITION.decode(told) if told else None
    return None
