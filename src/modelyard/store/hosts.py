"""Hosts outside that an owner has approved for the jobs of a model: one list a model."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec
from sqlalchemy import Connection, delete, insert, select

from modelyard.records.hosts import Hosts
from modelyard.store.schema import approved_hosts

_read = msgspec.json.Decoder(tuple[str, ...])


def get(connection: Connection, model: str) -> Hosts:
    """What is approved; nothing where nobody has approved anything."""
    row = connection.execute(select(approved_hosts).where(approved_hosts.c.model == model)).first()
    if row is None:
        return Hosts(model)
    return Hosts(model, _read.decode(row.hosts), row.approved_by, row.approved_at, row.why)


def put(  # whose, which, and by whom, when and why
    connection: Connection, model: str, hosts: Sequence[str], *, by: str, at: datetime, why: str
) -> None:
    """Approve exactly these; of no host, none is approved any more."""
    connection.execute(delete(approved_hosts).where(approved_hosts.c.model == model))
    if hosts:
        text = msgspec.json.encode(tuple(hosts)).decode()
        row = {"model": model, "hosts": text, "approved_at": at, "approved_by": by, "why": why}
        connection.execute(insert(approved_hosts), row)
