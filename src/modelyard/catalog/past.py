"""Which version answered at a time, trained on which data, promoted by whom."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from sqlalchemy import Connection

from modelyard.catalog import looked_up
from modelyard.records.audit import Query
from modelyard.records.errors import NotFoundError
from modelyard.records.history import Answering, Trial
from modelyard.records.models import AliasChange
from modelyard.records.references import CHAMPION, Reference
from modelyard.records.rollouts import Rollout
from modelyard.store import aliases, audit, rollouts, versions
from modelyard.store.database import Database

_DATASET = "dataset:"


def answering(database: Database, reference: Reference, at: datetime) -> Answering:
    """What a reference meant at a time.

    Args:
        at: UTC if it has no zone.

    Raises:
        NotFoundError: there was no such model, version or alias at the time.
    """
    moment = at.replace(tzinfo=UTC) if at.tzinfo is None else at
    model = reference.model
    with database.read() as connection:
        looked_up.known(connection, model)
        changes = aliases.history(connection, model)
        pointers = pointers_at(changes, moment)
        alias = "" if reference.version is not None else reference.alias or CHAMPION
        number = reference.version if reference.version is not None else pointers.get(alias)
        if number is None:
            raise NotFoundError(
                f"{model}@{alias} pointed to nothing at {moment.isoformat()}.",
                f"See when it did: yard history {model}.",
            )
        return _told(connection, model, number, alias, moment, changes)


def pointers_at(changes: Iterable[AliasChange], at: datetime) -> dict[str, int]:
    """Where each alias pointed at a time.

    Args:
        changes: newest first.
    """
    pointers: dict[str, int] = {}
    known = set()
    for change in changes:
        if change.at <= at and change.alias not in known:
            known.add(change.alias)
            if change.after is not None:
                pointers[change.alias] = change.after
    return pointers


def _told(  # which version by which alias, when, and what is known of all aliases
    connection: Connection, model: str, number: int, alias: str, at: datetime, changes: list[AliasChange]
) -> Answering:
    version = versions.get(connection, model, number)
    if version is None or version.created_at > at:
        raise NotFoundError(
            f"{model} had no version {number} at {at.isoformat()}.", f"See yard show {model}."
        )
    own = [change for change in changes if change.alias == alias]
    moved = next((change for change in own if change.at <= at), None)
    later = [change.at for change in own if change.at > at]
    lineage = version.bundle.lineage
    return Answering(
        model=model,
        at=at,
        alias=alias,
        version=number,
        aliases=tuple(sorted(name for name, to in pointers_at(changes, at).items() if to == number)),
        promoted_at=moved.at if moved else None,
        promoted_by=moved.by if moved else "",
        why=moved.why if moved else "",
        entry=_entry(connection, "alias.", f"{model}@{alias}", at) if moved else None,
        until=min(later, default=None),
        published_at=version.created_at,
        published_by=version.created_by,
        published_entry=_entry(connection, "version.publish", f"{model}/{number}", at),
        digest=version.digest,
        language=version.bundle.language,
        metrics=version.bundle.metrics,
        data=tuple(f"{k.removeprefix(_DATASET)}/{v}" for k, v in lineage.items() if k.startswith(_DATASET)),
        lineage={k: v for k, v in lineage.items() if not k.startswith(_DATASET)},
        trial=_trial(rollouts.of_model(connection, model), at),
    )


def _entry(connection: Connection, action: str, subject: str, at: datetime) -> int | None:
    """The number of the newest entry up to a time; entries are written just after what they tell of."""
    query = Query(action=action, subject=subject)
    entries = audit.found(connection, query, None, 1_000)
    times = [entry for entry in entries if entry.at <= at] or entries[-1:]
    return times[0].number if times else None


def _trial(found: Iterable[Rollout], at: datetime) -> Trial | None:
    for rollout in found:
        if rollout.began_at <= at and (rollout.ended_at is None or at < rollout.ended_at):
            step = [step for step in rollout.steps if step.at <= at][-1]
            stages = rollout.rules.stages
            stage = stages[step.stage].words if step.stage < len(stages) else "all stages are through"
            return Trial(rollout.candidate, stage, step.words)
    return None
