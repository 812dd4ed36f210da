"""`yard gate` and `yard verdicts`: a version judged on rows that no training has seen."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from modelyard.cli import output
from modelyard.cli.models import Model, Why
from modelyard.cli.sdk import open_yard
from modelyard.cli.suggest import suggestions
from modelyard.records import spans
from modelyard.records.errors import InvalidError
from modelyard.records.references import Reference
from modelyard.records.verdicts import Numbers, Verdict, VerdictState

_WAIT = 30  # seconds of one request
_NOT_PASSED = 1
_TYPES = {".csv": "text/csv", ".parquet": "application/vnd.apache.parquet"}

Version = Annotated[str, typer.Argument(metavar="REF", help="department/name/7.", show_default=False)]


def gate(
    ref: Version,
    target: Annotated[str, typer.Option(help="The column with what really came.")],
    data: Annotated[
        Path | None, typer.Option(help="A CSV or Parquet file of rows that no training has seen.")
    ] = None,
    dataset: Annotated[
        str,
        typer.Option(help="Or a dataset, whose newest rows are taken: department/name, or a version of it."),
    ] = "",
    rollout: Annotated[bool, typer.Option(help="Roll it out by the policy if it passes.")] = True,
    why: Why = "",
    as_json: output.Json = False,
) -> None:
    """Judge a version beside the champion on held-out rows; if it passes, its rollout begins.

    Exit code 0 says that it passed.

    Example: yard gate finance/fuel-cost/2 --data march.csv --target cost
    """
    yard, at = open_yard(), Reference.parse(ref)
    if at.version is None:
        raise InvalidError(f"{ref} names no version.", f"Write {at.model}/7.", field="reference")
    path = f"/api/v1/models/{at.model}"
    place = f"{path}/versions/{at.version}/verdicts"
    told = {"target": target, "why": why}
    with suggestions(yard, ref):
        if data is not None:
            told["rolls_out"] = "true" if rollout else "false"
            found = yard.connection.upload(f"{place}/file", Verdict, data, _kind(data), **told)
        elif dataset:
            body = {**told, "dataset": dataset, "rolls_out": rollout}
            found = yard.connection.send("POST", place, Verdict, body)
        else:
            raise InvalidError("No rows are named.", "Give --data FILE or --dataset NAME.", field="data")
    said = ""
    while found.state is VerdictState.WAITING:
        if found.words != said:
            output.note(said := found.words)
        found = yard.connection.get(f"{path}/verdicts/{found.id}", Verdict, wait=_WAIT)
    _print(found, as_json=as_json)
    if found.state is not VerdictState.PASSED:
        raise typer.Exit(_NOT_PASSED)


def _kind(file: Path) -> str:
    kind = _TYPES.get(file.suffix.lower())
    if kind is None:
        raise InvalidError(f"{file} is neither .csv nor .parquet.", "Give one of these.", field="data")
    return kind


def verdicts(model: Model, as_json: output.Json = False) -> None:
    """List what the gate found about a model's versions, newest first.

    Example: yard verdicts finance/fuel-cost
    """
    yard = open_yard()
    with suggestions(yard, model):
        path = f"/api/v1/models/{Reference.parse(model).model}/verdicts"
        found = yard.connection.get(path, list[Verdict])
    if as_json:
        output.print_json(found)
        return
    output.print_table(
        ("when", "version", "champion", "verdict", "why"),
        [(output.when(v.judged_at or v.asked_at), v.candidate, v.champion, v.state, v.words) for v in found],
    )
    if not found:
        output.note(f"Nothing was judged yet: yard gate {model}/NUMBER --data FILE --target COLUMN.")


def _print(found: Verdict, *, as_json: bool) -> None:
    if as_json:
        output.print_json(found)
        return
    rows: list[tuple[str, object]] = [
        ("version", f"{found.model}/{found.candidate}"),
        ("champion", found.champion),
        ("verdict", found.state),
        ("words", found.words),
        ("rows", found.held_out.words),
    ]
    rows += [("against it", fault) for fault in found.faults[1:]]
    if found.numbers:
        rows += list(_facts(found.numbers))
    rows.append(("rollout", f"begun: yard rollout show {found.model}" if found.rollout else None))
    output.print_facts(rows)
    if found.numbers and found.numbers.slices:
        output.print_table(
            ("where", "is", "rows", "candidate", "champion", "worse by"),
            [
                (s.column, s.value, s.rows, f"{s.candidate:.4g}", f"{s.champion:.4g}", f"{s.worse:+.1%}")
                for s in found.numbers.slices
            ],
            title="\nslices, the worst first",
        )


def _facts(numbers: Numbers) -> Iterator[tuple[str, object]]:
    better = f"{numbers.better:.4g}, surely between {numbers.low:.4g} and {numbers.high:.4g}"
    yield str(numbers.metric), f"{numbers.candidate:.4g}, champion {numbers.champion:.4g}"
    yield "better by", better
    yield "compared", f"{numbers.rows:,} rows; {numbers.left_out:,} left out, {numbers.failed:,} failed"
    yield "one row takes", f"{_ms(numbers.candidate_seconds)}, champion {_ms(numbers.champion_seconds)}"
    sizes = (numbers.candidate_size, numbers.champion_size)
    yield "size", "{}, champion {}".format(*map(spans.size, sizes))


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.3g} ms"
