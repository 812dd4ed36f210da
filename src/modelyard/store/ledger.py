"""The ledger's rows: what nodes counted, what jobs took, what is kept, rates, budgets and statements."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from enum import StrEnum

import msgspec
from msgspec import structs
from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    delete,
    false,
    func,
    insert,
    or_,
    select,
    true,
    update,
)

from modelyard.records.jobs import Usage
from modelyard.records.ledger import Budget, Quantities, Rates
from modelyard.records.meters import Batch
from modelyard.records.money import millionths, of_millionths
from modelyard.records.months import Month
from modelyard.records.worth import Measured, Statement, Worth
from modelyard.store.database import add_up, insert_missing
from modelyard.store.schema import (
    alerts,
    alias_history,
    dataset_versions,
    jobs,
    labelled,
    ledger_budgets,
    ledger_counts,
    ledger_jobs,
    ledger_measured,
    ledger_nodes,
    ledger_rates,
    ledger_storage,
    ledger_worths,
    models,
    segments,
    version_files,
    version_forms,
)

_COUNTED = ("answered", "refused", "failed", "rows", "cpu")
_usage = msgspec.json.Decoder(Usage)
_worth = msgspec.json.Decoder(Worth)
_measured = msgspec.json.Decoder(Measured)
_MILLION = 1_000_000
_AT_ONCE = 500  # rows of a statement


class Kept(StrEnum):
    """What takes room."""

    VERSIONS = "versions"
    PREDICTIONS = "predictions"
    DATASETS = "datasets"


# What was counted


def take(connection: Connection, node: str, batch: Batch, at: datetime) -> bool:
    """Add a node's batch to the counts, once: False where it was the last that came from there."""
    first = {"node": node, "batch": "", "at": at}
    insert_missing(connection, ledger_nodes, first)
    this = ledger_nodes.c.node == node
    last = connection.scalar(select(ledger_nodes.c.batch).where(this).with_for_update())
    if last == batch.name:
        return False
    connection.execute(update(ledger_nodes).where(this).values(batch=batch.name, at=at))
    rows = []
    for place, counts in sorted(batch.counts.items()):
        model, _, number = place.partition("@")[0].rpartition("/")
        day = datetime.fromisoformat(place.partition("@")[2]).replace(tzinfo=UTC)
        key = {"model": model, "version": int(number), "day": day, "node": node}
        rows.append(key | structs.asdict(counts))
    add_up(connection, ledger_counts, rows, _COUNTED)
    return True


def counted(
    connection: Connection, month: Month, places: Iterable[str] | None = None, model: str | None = None
) -> dict[str, Quantities]:
    """What was answered in a month, by model of these departments (None: of all), or of this one alone."""
    within = (ledger_counts.c.day >= month.begins) & (ledger_counts.c.day < month.ends)
    within &= _theirs(ledger_counts.c.model, places) if model is None else ledger_counts.c.model == model
    sums = [func.sum(ledger_counts.c[name]).label(name) for name in _COUNTED]
    query = select(ledger_counts.c.model, *sums).where(within).group_by(ledger_counts.c.model)
    return {
        row.model: Quantities(**{name: int(row._mapping[name]) for name in _COUNTED})  # noqa: SLF001
        for row in connection.execute(query)
    }


def daily(connection: Connection, month: Month, wanted: Iterable[str]) -> dict[str, dict[datetime, int]]:
    """Rows that these models answered on each day of a month."""
    within = (ledger_counts.c.day >= month.begins) & (ledger_counts.c.day < month.ends)
    within &= ledger_counts.c.model.in_(sorted(wanted))
    columns = (ledger_counts.c.model, ledger_counts.c.day)
    query = select(*columns, func.sum(ledger_counts.c.rows).label("n")).where(within).group_by(*columns)
    found: dict[str, dict[datetime, int]] = {}
    for row in connection.execute(query):
        found.setdefault(row.model, {})[row.day] = int(row.n)
    return found


def _theirs(name: ColumnElement[str], places: Iterable[str] | None) -> ColumnElement[bool]:
    """Whether what is called `department/…` is of one of these departments; a name has no wildcard in it."""
    return true() if places is None else or_(false(), *(name.like(f"{place}/%") for place in sorted(places)))


# What jobs took


def note_jobs(connection: Connection) -> int:
    """Write down what the jobs took that have ended since the last look; how many."""
    known = select(ledger_jobs.c.job).where(ledger_jobs.c.job == jobs.c.id).exists()
    query = select(jobs.c.id, jobs.c.model, jobs.c.ended_at, jobs.c.usage)
    query = query.where(jobs.c.ended_at.is_not(None), ~known).order_by(jobs.c.id).limit(_AT_ONCE)
    rows = []
    for job in connection.execute(query):
        used = _usage.decode(job.usage)
        took = {"cpu": round(used.cpu_seconds * _MILLION), "memory": used.peak_memory}
        rows.append({"job": job.id, "model": job.model, "ended_at": job.ended_at} | took)
    for row in rows:
        insert_missing(connection, ledger_jobs, row)
    return len(rows)


def of_jobs(
    connection: Connection, month: Month, places: Iterable[str] | None = None
) -> dict[str, Quantities]:
    """What the jobs took that ended in a month, by model of these departments (None: of all)."""
    within = (ledger_jobs.c.ended_at >= month.begins) & (ledger_jobs.c.ended_at < month.ends)
    within &= _theirs(ledger_jobs.c.model, places)
    columns = (
        ledger_jobs.c.model,
        func.count().label("n"),
        func.sum(ledger_jobs.c.cpu).label("cpu"),
        func.max(ledger_jobs.c.memory).label("memory"),
    )
    query = select(*columns).where(within).group_by(ledger_jobs.c.model)
    return {
        row.model: Quantities(jobs=int(row.n), job_cpu=int(row.cpu), job_memory=int(row.memory))
        for row in connection.execute(query)
    }


# What is kept


def kept(connection: Connection) -> dict[tuple[Kept, str], int]:
    """Bytes that are kept now, by kind and model or dataset; a file that versions of a model share is one."""
    found: dict[tuple[Kept, str], int] = {}

    def add(kind: Kept, query: Select[str, int]) -> None:
        for name, size in connection.execute(query):
            found[kind, name] = found.get((kind, name), 0) + int(size)

    for table in (version_files, version_forms):
        files = select(table.c.model, table.c.digest, table.c.size).distinct().subquery()
        add(Kept.VERSIONS, select(files.c.model, func.sum(files.c.size)).group_by(files.c.model))
    shipped = select(segments.c.model, func.sum(segments.c.size)).where(segments.c.gone_at.is_(None))
    add(Kept.PREDICTIONS, shipped.group_by(segments.c.model))
    sizes = select(dataset_versions.c.dataset, func.sum(dataset_versions.c.size))
    add(Kept.DATASETS, sizes.group_by(dataset_versions.c.dataset))
    return found


def note_storage(connection: Connection, found: Mapping[tuple[Kept, str], int], now: datetime) -> None:
    """Write down what is kept on a day; of several looks on one day the largest counts."""
    day = now.replace(hour=0, minute=0, second=0, microsecond=0)
    month = str(Month.of(now))
    query = select(ledger_storage).where(ledger_storage.c.month == month)
    known = {(row.kind, row.name): row for row in connection.execute(query)}
    new, changed = [], []
    for (kind, name), size in found.items():
        key = {"month": month, "kind": kind.value, "name": name}
        before = known.get((kind.value, name))
        if before is None:
            new.append(key | {"byte_days": 0, "day": day, "bytes": size})
        elif before.day < day:
            summed = before.byte_days + before.bytes
            changed.append(key | {"byte_days": summed, "day": day, "bytes": size})
        elif size > before.bytes:
            changed.append(key | {"byte_days": before.byte_days, "day": day, "bytes": size})
    for row in changed:
        this = (ledger_storage.c.month == month) & (ledger_storage.c.kind == row["kind"])
        connection.execute(delete(ledger_storage).where(this, ledger_storage.c.name == row["name"]))
    if rows := [*new, *changed]:
        connection.execute(insert(ledger_storage), rows)


def stored(
    connection: Connection, month: Month, places: Iterable[str] | None = None
) -> dict[tuple[Kept, str], int]:
    """Bytes times days of a month, by kind and model or dataset of these departments (None: of all)."""
    query = select(ledger_storage).where(
        ledger_storage.c.month == str(month), _theirs(ledger_storage.c.name, places)
    )
    return {(Kept(row.kind), row.name): int(row.byte_days + row.bytes) for row in connection.execute(query)}


# Rates and budgets


def rates(connection: Connection) -> list[Rates]:
    """All rates, by the month from which on they hold."""
    query = select(ledger_rates).order_by(ledger_rates.c.since)
    return [
        Rates(
            row.since,
            row.currency,
            of_millionths(row.cpu_hour),
            of_millionths(row.gb_month),
            row.set_by,
            row.set_at,
        )
        for row in connection.execute(query)
    ]


def put_rates(connection: Connection, found: Rates) -> None:
    """Keep rates, in place of those from the same month on."""
    connection.execute(delete(ledger_rates).where(ledger_rates.c.since == found.since))
    row = structs.asdict(found)
    row |= {"cpu_hour": millionths(found.cpu_hour), "gb_month": millionths(found.gb_month)}
    connection.execute(insert(ledger_rates), row)


def budgets(connection: Connection) -> dict[str, Budget]:
    """All budgets, by department or model."""
    return {
        row.place: Budget(row.place, of_millionths(row.amount), row.currency, row.set_by, row.set_at)
        for row in connection.execute(select(ledger_budgets).order_by(ledger_budgets.c.place))
    }


def put_budget(connection: Connection, budget: Budget) -> None:
    """Keep a budget, in place of the one that was."""
    drop_budget(connection, budget.place)
    row = {"place": budget.place, "amount": millionths(budget.amount), "currency": budget.currency}
    connection.execute(insert(ledger_budgets), row | {"set_by": budget.set_by, "set_at": budget.set_at})


def drop_budget(connection: Connection, place: str) -> bool:
    """Forget a budget; whether there was one."""
    return connection.execute(delete(ledger_budgets).where(ledger_budgets.c.place == place)).rowcount > 0


def settle_warnings(connection: Connection, keys: Iterable[str], now: datetime) -> None:
    """Close the alerts of budgets that are not among these."""
    over = alerts.c.key.like("budget:%") & alerts.c.closed_at.is_(None) & alerts.c.key.not_in(list(keys))
    connection.execute(update(alerts).where(over).values(closed_at=now))


# What is stated, and measured


def statements(connection: Connection, model: str | None = None) -> dict[str, Statement]:
    """What owners state, by model."""
    query = select(ledger_worths)
    if model is not None:
        query = query.where(ledger_worths.c.model == model)
    return {
        row.model: Statement(_worth.decode(row.worth), row.stated_by, row.stated_at)
        for row in connection.execute(query)
    }


def put_statement(connection: Connection, model: str, stated: Statement) -> None:
    """Keep a statement, in place of the one that was; what was measured for that goes."""
    drop_statement(connection, model)
    row = {"model": model, "worth": msgspec.json.encode(stated.worth).decode()}
    told = {"stated_by": stated.stated_by, "stated_at": stated.stated_at}
    connection.execute(insert(ledger_worths), row | told)


def drop_statement(connection: Connection, model: str) -> bool:
    """Forget a statement and what was measured for it; whether there was one."""
    connection.execute(delete(ledger_measured).where(ledger_measured.c.model == model))
    return connection.execute(delete(ledger_worths).where(ledger_worths.c.model == model)).rowcount > 0


def measured(connection: Connection, month: str, model: str | None = None) -> dict[str, Measured]:
    """What was measured in a month, by model."""
    where: ColumnElement[bool] = ledger_measured.c.month == month
    if model is not None:
        where &= ledger_measured.c.model == model
    query = select(ledger_measured).where(where)
    return {row.model: _measured.decode(row.measured) for row in connection.execute(query)}


def made_of(connection: Connection, model: str, month: str) -> str:
    """What the measurement of a month was made of; an empty string where there is none."""
    this = (ledger_measured.c.model == model) & (ledger_measured.c.month == month)
    return str(connection.scalar(select(ledger_measured.c.made_of).where(this)) or "")


def put_measured(connection: Connection, model: str, month: str, source: str, found: Measured) -> None:
    """Keep what was measured, in place of what was."""
    this = (ledger_measured.c.model == model) & (ledger_measured.c.month == month)
    connection.execute(delete(ledger_measured).where(this))
    row = {"model": model, "month": month, "made_of": source}
    connection.execute(insert(ledger_measured), row | {"measured": msgspec.json.encode(found).decode()})


def labelled_months(
    connection: Connection, wanted: Iterable[str], since: datetime | None
) -> dict[str, set[Month]]:
    """The months of which labelled rows of these models have changed since (None: at all)."""
    query = select(labelled.c.model, labelled.c.day).where(labelled.c.model.in_(list(wanted)))
    if since is not None:
        query = query.where(labelled.c.changed_at >= since)
    found: dict[str, set[Month]] = {}
    for row in connection.execute(query):
        found.setdefault(row.model, set()).add(Month.of(row.day))
    return found


def with_outcomes(connection: Connection, month: Month) -> frozenset[str]:
    """The models for whose answers of a month outcomes have come."""
    query = select(labelled.c.model).where(labelled.c.day >= month.begins, labelled.c.day < month.ends)
    return frozenset(connection.scalars(query.distinct()))


# What changed


def happened(connection: Connection, month: Month) -> list[tuple[datetime, str, str, str]]:
    """When, which model, what and by whom: models that came, and champions that changed."""
    made = select(models).where(models.c.created_at >= month.begins, models.c.created_at < month.ends)
    new = {row.model: row for row in connection.execute(made)}
    found = []
    moved = select(alias_history).where(
        alias_history.c.alias == "champion",
        alias_history.c.changed_at >= month.begins,
        alias_history.c.changed_at < month.ends,
    )
    for row in connection.execute(moved):
        words = _moved(row.before, row.after)
        if row.before is None and new.pop(row.model, None) is not None:
            words = f"a new model; {words}"
        words += " (taken back)" if row.cause == "rollback" else ""
        found.append((row.changed_at, row.model, words, row.changed_by))
    found += [(row.created_at, row.model, "a new model", row.created_by) for row in new.values()]
    return sorted(found)


def _moved(before: int | None, after: int | None) -> str:
    if after is None:
        return "no version is in use any more"
    return f"version {after} is in use" if before is None else f"version {after} took over from {before}"
