"""Verdicts of the gate, and those that wait."""

from __future__ import annotations

import msgspec
from sqlalchemy import ColumnElement, Connection, Row, insert, select, update

from modelyard.records.verdicts import HeldOut, Numbers, Verdict, VerdictState
from modelyard.store.schema import verdicts

_held_out = msgspec.json.Decoder(HeldOut)
_numbers = msgspec.json.Decoder(Numbers)
_faults = msgspec.json.Decoder(tuple[str, ...])
_SAME_NAME = (
    "model", "candidate", "champion", "state", "words", "asked_at", "asked_by", "why", "judged_at",
    "rolls_out", "rollout",
)  # fmt: skip


def add(connection: Connection, verdict: Verdict) -> int:
    """Keep a verdict (its id is not read); its id."""
    return int(connection.execute(insert(verdicts).returning(verdicts.c.id), _row(verdict)).scalar_one())


def change(connection: Connection, verdict: Verdict) -> None:
    """Keep a verdict as it is now."""
    connection.execute(update(verdicts).where(verdicts.c.id == verdict.id).values(_row(verdict)))


def get(connection: Connection, verdict: int) -> Verdict | None:
    """One verdict, or None."""
    return next(iter(_records(connection, verdicts.c.id == verdict)), None)


def waiting(connection: Connection, model: str, candidate: int) -> Verdict | None:
    """The oldest verdict of a version that waits, or None."""
    this = (verdicts.c.model == model) & (verdicts.c.candidate == candidate)
    found = _records(connection, this & (verdicts.c.state == VerdictState.WAITING))
    return found[-1] if found else None


def is_waiting(connection: Connection, model: str) -> bool:
    """Whether any version of a model waits to be judged."""
    this = (verdicts.c.model == model) & (verdicts.c.state == VerdictState.WAITING)
    return connection.execute(select(verdicts.c.id).where(this).limit(1)).first() is not None


def of_version(connection: Connection, model: str, candidate: int) -> list[Verdict]:
    """All verdicts of a version, newest first."""
    return _records(connection, (verdicts.c.model == model) & (verdicts.c.candidate == candidate))


def of_model(connection: Connection, model: str) -> list[Verdict]:
    """All verdicts of a model, newest first."""
    return _records(connection, verdicts.c.model == model)


def _records(connection: Connection, where: ColumnElement[bool]) -> list[Verdict]:
    query = select(verdicts).where(where).order_by(verdicts.c.id.desc())
    return [_record(row) for row in connection.execute(query)]


def _row(verdict: Verdict) -> dict[str, object]:
    row = {name: getattr(verdict, name) for name in _SAME_NAME}
    numbers = None if verdict.numbers is None else _json(verdict.numbers)
    return row | {"held_out": _json(verdict.held_out), "faults": _json(verdict.faults), "numbers": numbers}


def _record(row: Row[tuple[object, ...]]) -> Verdict:
    known = {name: row._mapping[name] for name in _SAME_NAME}  # noqa: SLF001 - its public name
    known |= {"id": row.id, "state": VerdictState(row.state)}
    numbers = None if row.numbers is None else _numbers.decode(row.numbers)
    return Verdict(
        **known, held_out=_held_out.decode(row.held_out), faults=_faults.decode(row.faults), numbers=numbers
    )


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
