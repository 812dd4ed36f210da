"""`yard data`: datasets pushed, shown, pulled and compared."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from modelyard.cli import output
from modelyard.cli.sdk import open_yard
from modelyard.records import spans
from modelyard.records.datasets import (
    Changes,
    ColumnChange,
    DataColumn,
    Dataset,
    DatasetReference,
    DatasetVersion,
    Mark,
    Preview,
    TrainedModel,
)
from modelyard.records.errors import InvalidError

app = typer.Typer(no_args_is_help=True, help="Keep data that models are trained on, and who may see it.")

Data = Annotated[str, typer.Argument(metavar="DATASET", help="department/name.", show_default=False)]
Ref = Annotated[
    str, typer.Argument(metavar="REF", help="department/name, or department/name/7.", show_default=False)
]
Why = Annotated[str, typer.Option(help="A reason, kept with it.")]
_BAR = " ▁▂▃▄▅▆▇█"
_SHORT = 40  # characters of a value in a table


def address(ref: str) -> str:
    """The API's address of the dataset in a reference."""
    return f"/api/v1/datasets/{DatasetReference.parse(ref).dataset}"


@app.command()
def push(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A CSV (UTF-8, a header line) or Parquet file.")
    ],
    dataset: Data,
    why: Why = "",
    personal: Annotated[
        list[str] | None, typer.Option(help="A column about persons, kept from people; may be repeated.")
    ] = None,
    secret: Annotated[
        list[str] | None, typer.Option(help="A column kept from training, too; may be repeated.")
    ] = None,
    as_json: output.Json = False,
) -> None:
    """Push a version of a dataset. The same content again is the same version.

    Example: yard data push flights.csv operations/flights --why "January" --personal pilot
    """
    marks = dict.fromkeys(personal or (), Mark.PERSONAL) | dict.fromkeys(secret or (), Mark.SECRET)
    version = open_yard().push_data(file, dataset, why=why, marks={k: str(v) for k, v in marks.items()})
    print_kept(version, as_json=as_json)


def print_kept(version: DatasetVersion, *, as_json: bool) -> None:
    """Say which version a push became."""
    if as_json:
        output.print_json(version)
        return
    words = f"{version.rows} rows, {len(version.columns)} columns, {spans.size(version.size)}"
    output.note(f"{version.dataset}/{version.version} holds it: {words}.")


@app.command("list")
def list_all(as_json: output.Json = False) -> None:
    """List the datasets that you may see.

    Example: yard data list
    """
    found = open_yard().datasets()
    if as_json:
        output.print_json(found)
        return
    if not found:
        output.note("There is no dataset yet: yard data push FILE department/name.")
        return
    output.print_table(
        ("dataset", "latest", "rows", "columns", "size", "marked", "changed"),
        [_dataset(dataset) for dataset in found],
    )


def _dataset(found: Dataset) -> tuple[object, ...]:
    size, marked = spans.size(found.size), len(found.marks) or ""
    changed = output.when(found.changed_at)
    return found.dataset, found.latest, found.rows, found.columns, size, marked, changed


@app.command()
def show(ref: Ref, as_json: output.Json = False) -> None:
    """Show a version of a dataset: its columns and what is in them.

    Example: yard data show operations/flights
    """
    version = open_yard().show_data(ref)
    if as_json:
        output.print_json(version)
        return
    output.print_facts(
        [
            ("dataset", f"{version.dataset}/{version.version}"),
            ("rows", version.rows),
            ("size", spans.size(version.size)),
            ("digest", version.digest),
            ("came as", _origin(version)),
            ("why", version.why),
            ("pushed", f"{output.when(version.created_at)} by {version.created_by}"),
        ]
    )
    output.print_table(
        ("column", "type", "mark", "missing", "distinct", "values", "range or most frequent"),
        [_column(column, version.rows) for column in version.columns],
        title="\ncolumns",
    )


def _origin(version: DatasetVersion) -> str:
    origin = version.origin
    return origin.kind if not origin.query else f"{origin.connection}: {origin.query}"


def _column(column: DataColumn, rows: int) -> tuple[object, ...]:
    profile = column.profile
    if profile is None:
        return column.name, column.type, column.mark, None, None, "not yours to see", None
    missing = f"{profile.missing / rows:.1%}" if profile.missing else ""
    said = ", ".join(f"{c.value[:_SHORT]} ({c.count})" for c in profile.top[:3])
    if profile.low is not None:
        said = f"{profile.low} to {profile.high}"
    return column.name, column.type, column.mark, missing, profile.distinct, _bars(profile.counts), said


def _bars(counts: tuple[int, ...]) -> str:
    most = max(counts, default=0)
    return "".join(_BAR[-(-count * (len(_BAR) - 1) // most)] for count in counts) if most else ""


@app.command()
def rows(
    ref: Ref,
    count: Annotated[int, typer.Option(help="How many.", min=1, max=1000)] = 10,
    start: Annotated[int, typer.Option(help="The first, from 0.", min=0)] = 0,
    as_json: output.Json = False,
) -> None:
    """Show some rows; columns that are marked are left out, unless you have a clearance.

    Example: yard data rows operations/flights --count 5
    """
    yard = open_yard()
    path = f"{address(ref)}/versions/{yard.show_data(ref).version}/rows"
    found = yard.connection.get(path, Preview, start=start, count=count)
    if as_json:
        output.print_json(found)
        return
    output.print_table(found.columns, found.values)
    if found.hidden:
        output.note(f"Marked, and not shown: {', '.join(found.hidden)}.")


@app.command()
def pull(
    ref: Ref,
    to: Annotated[Path, typer.Option("--output", "-o", help="The file; .csv or .parquet says its form.")],
    raw: Annotated[
        bool, typer.Option(help="CSV: leave texts alone that a spreadsheet would run as formulas.")
    ] = False,
) -> None:
    """Write a version's rows into a file, without marked columns that you have no clearance for.

    Example: yard data pull operations/flights/3 -o flights.parquet
    """
    from modelyard.client import data  # noqa: PLC0415 - `yard --help` does without an HTTP client

    form = {".csv": "csv", ".parquet": "parquet"}.get(to.suffix.lower())
    if form is None:
        raise InvalidError(f"{to} has no ending that says its form.", "Name it .csv or .parquet.")
    formulas = "kept" if raw else "escaped"
    found = data.download(open_yard().connection, ref, to, form, formulas=formulas)
    output.note(f"{to} has the rows of {found.dataset}/{found.version}: {spans.size(to.stat().st_size)}.")


@app.command()
def diff(
    before: Annotated[str, typer.Argument(metavar="A", help="department/name/7.", show_default=False)],
    after: Annotated[
        str, typer.Argument(metavar="B", help="department/name/8; by default the newest.", show_default=False)
    ] = "",
    key: Annotated[
        list[str] | None, typer.Option(help="A column by which rows are known; may be repeated.")
    ] = None,
    as_json: output.Json = False,
) -> None:
    """Show what changed between two versions: columns, rows, distributions.

    With a key, rows are matched by it and changed ones are counted; without, whole rows are compared.

    Example: yard data diff operations/flights/3 operations/flights/4 --key flight
    """
    yard = open_yard()
    old = DatasetReference.parse(before)
    new = DatasetReference.parse(after or old.dataset)
    if old.version is None or old.dataset != new.dataset:
        hint = f"Write {old.dataset}/1 {old.dataset}/2."
        raise InvalidError("Two versions of one dataset are compared.", hint)
    number = new.version or yard.show_data(new.dataset).version
    path = f"{address(before)}/versions/{number}/changes"
    found = yard.connection.get(path, Changes, since=old.version, key=list(key or ()))
    if as_json:
        output.print_json(found)
        return
    _print_changes(found)


def _print_changes(found: Changes) -> None:
    output.print_facts(
        [
            ("before", f"{found.before}: {found.rows_before} rows"),
            ("after", f"{found.after}: {found.rows_after} rows"),
            ("matched by", ", ".join(found.key) or "whole rows"),
            ("added", found.added),
            ("removed", found.removed),
            ("changed", found.changed or None),
            ("same", found.same),
            ("repeated keys", found.repeated or None),
            ("not shown", ", ".join(found.hidden)),
        ]
    )
    output.print_table(
        ("column", "what", "type", "missing", "mean", "moved by", "rows changed"),
        [_change(column) for column in found.columns],
        title="\ncolumns",
    )


def _change(column: ColumnChange) -> tuple[object, ...]:
    return (
        column.name,
        "" if column.what == "same" else column.what,
        _both(column.before, column.after),
        _both(_share(column.missing_before), _share(column.missing_after)),
        _both(_number(column.mean_before), _number(column.mean_after)),
        None if column.effect is None else f"{column.effect:.3f}",
        column.changed,
    )


def _both(before: object, after: object) -> str:
    parts = dict.fromkeys(str(part) for part in (before, after) if part is not None)
    return " → ".join(parts)


def _share(value: float | None) -> str | None:
    return None if value is None else f"{value:.1%}"


def _number(value: float | None) -> str | None:
    return None if value is None else f"{value:.6g}"


@app.command("models")
def trained(ref: Ref, as_json: output.Json = False) -> None:
    """Show which models were trained on a dataset, or on one version of it.

    Example: yard data models operations/flights
    """
    at = DatasetReference.parse(ref)
    told = {} if at.version is None else {"version": at.version}
    found = open_yard().connection.get(f"{address(ref)}/models", list[TrainedModel], **told)
    if as_json:
        output.print_json(found)
        return
    if not found:
        output.note(f"No model that you may see says that it was trained on {ref}.")
        return
    rows = [(f"{t.model}/{t.version}", f"{t.dataset}/{t.dataset_version}") for t in found]
    output.print_table(("model", "trained on"), rows)


@app.command()
def mark(
    dataset: Data,
    columns: Annotated[list[str], typer.Argument(metavar="COLUMN=MARK…", help="personal, secret or none.")],
    as_json: output.Json = False,
) -> None:
    """Mark columns of all versions, or take marks away (an owner may).

    A personal column is kept from people, a secret one from training as well.

    Example: yard data mark operations/flights pilot=personal tail_number=none
    """
    marks: dict[str, str | None] = {}
    for text in columns:
        name, equals, word = text.rpartition("=")
        if not equals or word not in (*Mark, "none"):
            hint = "Write COLUMN=personal, COLUMN=secret or COLUMN=none."
            raise InvalidError(f"{text!r} is no mark.", hint)
        marks[name] = None if word == "none" else word
    found = open_yard().connection.send("PUT", f"{address(dataset)}/marks", Dataset, {"marks": marks})
    if as_json:
        output.print_json(found)
        return
    said = ", ".join(f"{name} is {word}" for name, word in sorted(found.marks.items()))
    output.note(f"{found.dataset}: {said or 'no column is marked'}.")
