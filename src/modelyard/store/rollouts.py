"""Rollouts, what they have shown so far, and their story step by step."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from sqlalchemy import ColumnElement, Connection, Row, insert, select, update

from modelyard.records.rollouts import Evidence, Rollout, RolloutState, RolloutStep, Rules, Trial
from modelyard.store.schema import rollout_steps, rollouts

_rules = msgspec.json.Decoder(Rules)
_evidence = msgspec.json.Decoder(Evidence)
_SAME_NAME = (
    "model", "candidate", "champion", "state", "stage", "stage_began_at", "stage_asked", "approved_by",
    "words", "why", "began_at", "began_by", "ended_at",
)  # fmt: skip


def add(connection: Connection, rollout: Rollout) -> int:
    """Keep a rollout that begins (its id is not read) of a locked model that has none; its id."""
    row = {name: getattr(rollout, name) for name in _SAME_NAME}
    row |= {"active": rollout.model, "rules": _json(rollout.rules), "evidence": _json(rollout.evidence)}
    found = connection.execute(insert(rollouts).returning(rollouts.c.id), row).scalar_one()
    return int(found)


def change(connection: Connection, rollout: Rollout) -> None:
    """Keep a rollout as it is now, but for its evidence, which `count` alone writes."""
    row = {name: getattr(rollout, name) for name in _SAME_NAME}
    row["active"] = rollout.model if rollout.state.goes_on else None
    connection.execute(update(rollouts).where(rollouts.c.id == rollout.id).values(row))


def tell(connection: Connection, rollout: int, step: RolloutStep) -> None:
    """Add a step to a rollout's story."""
    row = {"rollout": rollout, "at": step.at, "state": step.state, "stage": step.stage}
    connection.execute(insert(rollout_steps), row | {"by": step.by, "words": step.words})


def count(connection: Connection, rollout: int, evidence: Evidence) -> bool:
    """Add to what a rollout has shown; False where it does not go on any more."""
    this = (rollouts.c.id == rollout) & rollouts.c.active.is_not(None)
    kept = connection.execute(select(rollouts.c.evidence).where(this).with_for_update()).scalar()
    if kept is None:
        return False
    total = _evidence.decode(kept) + evidence
    connection.execute(update(rollouts).where(this).values(evidence=_json(total)))
    return True


def active(connection: Connection, model: str) -> Rollout | None:
    """The model's rollout that goes on, or None; without its steps."""
    return next(iter(_records(connection, rollouts.c.active == model)), None)


def get(connection: Connection, rollout: int) -> Rollout | None:
    """One rollout with its steps, or None."""
    return next(iter(_told(connection, rollouts.c.id == rollout)), None)


def of_model(connection: Connection, model: str) -> list[Rollout]:
    """All rollouts of a model with their steps, newest first."""
    return _told(connection, rollouts.c.model == model)


def of_departments(connection: Connection, departments: Iterable[str] | None) -> list[Rollout]:
    """The rollouts that go on in these departments (None: in all), by model, without their steps."""
    found = _records(connection, rollouts.c.active.is_not(None))
    known = None if departments is None else frozenset(departments)
    mine = [r for r in found if known is None or r.model.split("/", maxsplit=1)[0] in known]
    return sorted(mine, key=lambda r: r.model)


def trials(connection: Connection) -> dict[str, Trial]:
    """What fronts need of the rollouts that go on, by model."""
    return {
        rollout.model: trial
        for rollout in _records(connection, rollouts.c.active.is_not(None))
        if (trial := _trial(rollout))
    }


def _trial(rollout: Rollout) -> Trial | None:
    stage, rules = rollout.now, rollout.rules
    if stage is None:
        return None
    return Trial(
        rollout=rollout.id,
        candidate=rollout.candidate,
        kind=stage.kind,
        share=stage.share,
        sticky=rules.sticky,
        latency_times=rules.latency_times,
        latency_seconds=rules.latency_seconds,
        edges=rules.edges,
    )


def _told(connection: Connection, where: ColumnElement[bool]) -> list[Rollout]:
    found = _records(connection, where)
    steps: dict[int, list[RolloutStep]] = {}
    ids = [rollout.id for rollout in found]
    query = select(rollout_steps).where(rollout_steps.c.rollout.in_(ids)).order_by(rollout_steps.c.id)
    for row in connection.execute(query):
        step = RolloutStep(row.at, RolloutState(row.state), row.stage, row.by, row.words)
        steps.setdefault(row.rollout, []).append(step)
    return [msgspec.structs.replace(r, steps=tuple(steps.get(r.id, ()))) for r in found]


def _records(connection: Connection, where: ColumnElement[bool]) -> list[Rollout]:
    query = select(rollouts).where(where).order_by(rollouts.c.id.desc())
    return [_record(row) for row in connection.execute(query)]


def _record(row: Row[tuple[object, ...]]) -> Rollout:
    known = {name: row._mapping[name] for name in _SAME_NAME}  # noqa: SLF001 - its public name
    known |= {"id": row.id, "state": RolloutState(row.state)}
    return Rollout(**known, rules=_rules.decode(row.rules), evidence=_evidence.decode(row.evidence))


def _json(record: Rules | Evidence) -> str:
    return msgspec.json.encode(record).decode()
