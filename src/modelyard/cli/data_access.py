"""`yard data`: who may look behind marks, and the databases that data comes from."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from modelyard.cli import output
from modelyard.cli.data import Data, Why, address, print_kept
from modelyard.cli.sdk import open_yard
from modelyard.cli.tokens import days
from modelyard.records.datasets import Clearance, DataConnection, DatasetVersion, Mark
from modelyard.records.errors import InvalidError
from modelyard.records.references import check_name

app = typer.Typer()  # its commands become those of `yard data`

Person = Annotated[str, typer.Argument(metavar="PERSON", help="Whose, as it stands in histories.")]
MarkOption = Annotated[Mark, typer.Option(help="Of which columns.")]
Connection = Annotated[str, typer.Argument(metavar="CONNECTION", help="department/name.", show_default=False)]


@app.command()
def clear(
    dataset: Data,
    person: Person,
    mark: MarkOption = Mark.PERSONAL,
    expires: Annotated[str | None, typer.Option(help="How long it holds, as 12h, 90d or 8w.")] = None,
    as_json: output.Json = False,
) -> None:
    """Let somebody see columns with a mark. Nobody sees them without, owners and administrators neither.

    Example: yard data clear operations/flights anna --mark personal --expires 30d
    """
    lifetime = days(expires)
    until = None if lifetime is None else datetime.now(UTC) + timedelta(days=lifetime)
    body = {"principal": person, "mark": mark, "until": until}
    made = open_yard().connection.send("POST", f"{address(dataset)}/clearances", Clearance, body)
    if as_json:
        output.print_json(made)
        return
    ends = f"until {output.when(made.until)}" if made.until else "until it is revoked"
    output.note(f"{made.principal} may see {made.mark} columns of {made.dataset} {ends}.")


@app.command()
def clearances(dataset: Data, as_json: output.Json = False) -> None:
    """List who may look behind the marks of a dataset.

    Example: yard data clearances operations/flights
    """
    found = open_yard().connection.get(f"{address(dataset)}/clearances", list[Clearance])
    if as_json:
        output.print_json(found)
        return
    output.print_table(
        ("person", "mark", "until", "given by", "given"),
        [
            (c.principal, c.mark, output.when(c.until) or "revoked", c.given_by, output.when(c.given_at))
            for c in found
        ],
    )


@app.command()
def revoke(dataset: Data, person: Person, mark: MarkOption = Mark.PERSONAL) -> None:
    """Take somebody's clearance away; it holds from the next request on.

    Example: yard data revoke operations/flights anna --mark personal
    """
    body = {"principal": person, "mark": mark}
    open_yard().connection.send("POST", f"{address(dataset)}/clearances/revoke", object, body)
    output.note(f"{person} sees no {mark} columns of {dataset} any more.")


@app.command()
def connect(
    connection: Connection,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A file with the address, or - for standard input.")
    ],
    as_json: output.Json = False,
) -> None:
    """Keep a connection to a PostgreSQL database, encrypted.

    Its address holds a password, so it comes by a file. Give it a user that may read what models need and
    nothing else.

    Example: echo "postgresql://reader:PASSWORD@db.example.org/ops" | yard data connect operations/ops-db -
    """
    text = sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
    body = {"address": text.strip()}
    made = open_yard().connection.send("PUT", _place(connection), DataConnection, body)
    if as_json:
        output.print_json(made)
        return
    output.note(f"The connection {made.department}/{made.name} is kept: {made.address}.")


@app.command("connections")
def list_connections(
    department: Annotated[str, typer.Argument(metavar="DEPARTMENT", help="Whose.")],
    as_json: output.Json = False,
) -> None:
    """List the databases of a department, without their passwords.

    Example: yard data connections operations
    """
    path = f"/api/v1/departments/{check_name(department, 'department')}/connections"
    found = open_yard().connection.get(path, list[DataConnection])
    if as_json:
        output.print_json(found)
        return
    rows = [(c.name, c.address, c.created_by, output.when(c.created_at)) for c in found]
    output.print_table(("name", "address", "kept by", "kept"), rows)


@app.command()
def disconnect(connection: Connection) -> None:
    """Forget a connection; the datasets that came from it stay.

    Example: yard data disconnect operations/ops-db
    """
    open_yard().connection.send("DELETE", _place(connection), object)
    output.note(f"The connection {connection} is forgotten.")


@app.command()
def snapshot(
    dataset: Data,
    connection: Annotated[
        str | None, typer.Option(help="A connection of the department; by default the one of last time.")
    ] = None,
    query: Annotated[str | None, typer.Option(help="One SELECT; by default that of last time.")] = None,
    query_file: Annotated[Path | None, typer.Option(help="A file with the SELECT.")] = None,
    why: Why = "",
    as_json: output.Json = False,
) -> None:
    """Keep what a database answers as a version: one SELECT, in a read-only transaction.

    Example: yard data snapshot operations/flights --connection ops-db --query "SELECT * FROM flights"

    Example: yard data snapshot operations/flights
    """
    if query is not None and query_file is not None:
        raise InvalidError("The query is given twice.", "Give --query or --query-file.")
    text = query_file.read_text(encoding="utf-8") if query_file is not None else query
    body = {"connection": connection or "", "query": text or "", "why": why}
    path = f"{address(dataset)}/snapshot"
    print_kept(open_yard().connection.send("POST", path, DatasetVersion, body), as_json=as_json)


def _place(connection: str) -> str:
    department, slash, name = connection.partition("/")
    if not slash:
        raise InvalidError(f"{connection!r} is no connection.", "Write department/name.")
    check_name(department, "department")
    return f"/api/v1/departments/{department}/connections/{check_name(name, 'name of a connection')}"
