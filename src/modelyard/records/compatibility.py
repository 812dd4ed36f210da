"""Whether a candidate accepts what callers send to the champion, and answers what they read."""

from __future__ import annotations

from modelyard.records.references import shown
from modelyard.records.signatures import Column, ColumnType, Signature


def refusal(champion: Signature, candidate: Signature) -> str:
    """Why callers of the champion could not be answered by the candidate, in words; empty if they can.

    A column may be left out or come in another order, and a whole number may become a fraction. What the
    champion takes the candidate must take: missing values and levels, too.
    """
    known = {column.name: column for column in champion.inputs}
    for column in candidate.inputs:
        if found := _refused(known.get(column.name), column):
            return found
    return _other_answers(champion, candidate)


def _refused(before: Column | None, after: Column) -> str:
    name = shown(after.name)
    if before is None:
        if after.missing:
            return ""
        return f"it needs the column {name}, which callers do not send"
    widened = (before.type, after.type) == (ColumnType.INT64, ColumnType.FLOAT64)
    if before.type is not after.type and not widened:
        return f"it takes the column {name} as {after.type}, and callers send {before.type}"
    if before.missing and not after.missing:
        return f"it refuses missing values in the column {name}, which callers may send"
    if after.levels is not None:
        lost = sorted(set(before.levels) - set(after.levels)) if before.levels is not None else None
        if lost is None or lost:
            what = f"the level {shown(lost[0])}" if lost else "values other than its levels"
            return f"it refuses {what} of the column {name}, which callers may send"
    return ""


def _other_answers(champion: Signature, candidate: Signature) -> str:
    if champion.task is not candidate.task:
        return f"it answers as {candidate.task}, and callers read {champion.task}"
    have = {(column.name, column.type) for column in candidate.outputs}
    lost = [column.name for column in champion.outputs if (column.name, column.type) not in have]
    return f"it does not answer {shown(lost[0])}, which callers read" if lost else ""
