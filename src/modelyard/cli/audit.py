"""The audit: read, exported, verified."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from modelyard.cli import output
from modelyard.cli.audit_calls import AuditCalls
from modelyard.cli.sdk import open_yard
from modelyard.records import spans
from modelyard.records.audit import Entry, Mark, Verified
from modelyard.records.errors import InvalidError, MalformedError

_SHORT = 90  # characters of what an entry says, in a table


def audit(  # noqa: PLR0913, PLR0917 - each is an option
    by: Annotated[str, typer.Option(help="Only what this person or service did.")] = "",
    action: Annotated[str, typer.Option(help="Only this, as version.publish; `version.` finds all.")] = "",
    subject: Annotated[str, typer.Option(help="Only what is about this, as finance/fuel-cost.")] = "",
    request: Annotated[str, typer.Option(help="Only what the request with this id did.")] = "",
    since: Annotated[str, typer.Option(help="From this time on (ISO 8601; UTC if no zone).")] = "",
    until: Annotated[str, typer.Option(help="Up to this time.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=1_000, help="At most so many, the newest.")] = 50,
    export: Annotated[
        Path | None,
        typer.Option(help="Write all of them to this file: CSV, or JSON lines if it ends in .jsonl."),
    ] = None,
    verify: Annotated[bool, typer.Option("--verify", help="Check that nothing was changed or cut.")] = False,
    checkpoint: Annotated[
        Path | None,
        typer.Option(help="With --verify: a result of `--verify --json` that you kept elsewhere."),
    ] = None,
    as_json: output.Json = False,
) -> None:
    """Show who did what: changes, sign-ins, grants, data and models read, and attempts that were refused.

    Example: yard audit --subject finance --since 2026-11-01
    """
    calls = AuditCalls(open_yard().connection)
    if verify:
        _verify(calls, checkpoint, as_json=as_json)
        return
    asked = {"by": by, "action": action, "subject": subject, "request_id": request}
    asked |= {"since": _time(since, "since"), "until": _time(until, "until")}
    given = {name: value for name, value in asked.items() if value}
    if export is not None:
        size = calls.export(export, "json" if export.suffix == ".jsonl" else "csv", given)
        output.note(f"{export} holds {spans.size(size)}.")
        return
    found = calls.entries(limit, given)
    if as_json:
        output.print_json(found)
        return
    output.print_table(("number", "when", "by", "action", "subject", "from", "what"), map(_row, found))
    if len(found) == limit:
        output.note(f"These are the newest {limit}; --limit and --export show more.")


def _row(entry: Entry) -> tuple[object, ...]:
    what = entry.after or entry.before or ""
    cut = what if len(what) <= _SHORT else what[: _SHORT - 1] + "…"
    origin = f"{entry.origin} ({entry.via})" if entry.via else entry.origin
    return entry.number, output.when(entry.at), entry.by, entry.action, entry.subject, origin, cut


def _verify(calls: AuditCalls, checkpoint: Path | None, *, as_json: bool) -> None:
    found = calls.verify(None if checkpoint is None else _read(checkpoint))
    if as_json:
        output.print_json(found)
    else:
        seen = ", ".join(str(mark.number) for mark in found.marks) or "none yet"
        output.print_facts(
            [
                ("entries", found.entries),
                ("hash of the last", found.hash),
                ("compared with checkpoints at", seen),
                ("verified", output.when(found.at)),
            ]
        )
        for fault in found.faults:
            output.note(f"entry {fault.number}: {fault.words}")
        output.note(
            "The audit is NOT what was written." if found.faults else "The audit is what was written."
        )
    if found.faults:
        raise typer.Exit(1)


def _read(file: Path) -> Mark:
    try:
        kept = msgspec.json.decode(file.read_bytes(), type=Verified)
    except msgspec.MsgspecError as error:
        hint = "Give a file that `yard audit --verify --json` wrote."
        raise MalformedError(f"{file} is no checkpoint: {error}.", hint) from error
    return Mark(kept.entries, kept.hash)


def read_time(text: str, what: str) -> datetime:
    """A time as a person types it; UTC if it has no zone.

    >>> read_time("2026-03-01", "at").isoformat()
    '2026-03-01T00:00:00+00:00'
    """
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        hint = "Write it as 2026-03-01 or 2026-03-01T14:30, in UTC, or with a zone as +01:00."
        raise InvalidError(f"{text!r} is not a time.", hint, field=what) from error
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time


def _time(text: str, what: str) -> str:
    return read_time(text, what).isoformat() if text else ""
