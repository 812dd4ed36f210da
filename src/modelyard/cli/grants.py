"""`yard grant`: single models and datasets for others, and the matrix of roles."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from modelyard.cli import output
from modelyard.cli.sdk import open_yard
from modelyard.cli.tokens import days
from modelyard.records.errors import InvalidError
from modelyard.records.people import Kind, Need, Role, Share, matrix_rows
from modelyard.records.references import Reference, check_name

app = typer.Typer(no_args_is_help=True, help="Grant one model or dataset to others; print who may do what.")

Department = Annotated[str | None, typer.Option("--department", "-d", help="The department that granted.")]


@app.command()
def matrix(as_json: output.Json = False) -> None:
    """Print what each role may do. What is not there is refused.

    Example: yard grant matrix
    """
    rows = matrix_rows()
    if as_json:
        output.print_json({need: dict(zip(Role, row, strict=True)) for need, row in rows.items()})
        return
    cells = [(need, *("yes" if has else None for has in row)) for need, row in rows.items()]
    output.print_table(("may", *Role), cells)


@app.command("list")
def list_grants(department: Department = None, as_json: output.Json = False) -> None:
    """List what a department (without one: every department) has granted to others, newest first.

    Example: yard grant list --department finance
    """
    path = "/api/v1/grants" if department is None else _address(department)
    found = open_yard().connection.get(path, list[Share])
    if as_json:
        output.print_json(found)
        return
    output.print_table(
        ("id", "what", "name", "right", "to", "given", "by", "ends"),
        [
            (s.id, s.kind, s.name, s.right, _receiver(s), output.when(s.created_at), s.created_by, _end(s))
            for s in found
        ],
    )


@app.command()
def give(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The model or dataset, as department/name.")],
    right: Annotated[Need, typer.Option(help="see, predict (models) or read-data; seeing goes along.")],
    to: Annotated[str | None, typer.Option(help="A department, whose members have it.")] = None,
    person: Annotated[str | None, typer.Option(help="One person or service, instead.")] = None,
    dataset: Annotated[bool, typer.Option("--dataset", help="The name is a dataset's.")] = False,
    expires: Annotated[str | None, typer.Option(help="How long it holds, as 12h, 90d or 8w.")] = None,
    as_json: output.Json = False,
) -> None:
    """Let another department, or one person, see, ask or read one model or dataset.

    Members of a department have it as far as their own role there goes: its viewers see, its callers predict.

    Example: yard grant give finance/fuel-cost --right predict --to operations --expires 90d
    """
    if (to is None) == (person is None):
        raise InvalidError("A grant is to a department or to one person.", "Give --to or --person.")
    thing = Reference.parse(name)
    body = {
        "name": thing.name,
        "kind": Kind.DATASET if dataset else Kind.MODEL,
        "right": right,
        "department": to,
        "principal": person,
        "expires_in_days": days(expires),
    }
    made = open_yard().connection.send("POST", _address(thing.department), Share, body)
    if as_json:
        output.print_json(made)
    else:
        output.note(
            f"Grant {made.id}: {_receiver(made)} may {made.right} {made.name}; it ends: {_end(made)}."
        )


@app.command()
def revoke(
    grant: Annotated[
        int, typer.Argument(metavar="GRANT", help="The grant's id, from `yard grant list`.", min=1)
    ],
    department: Annotated[str, typer.Option("--department", "-d", help="The department that granted.")],
    as_json: output.Json = False,
) -> None:
    """End a grant at once.

    Example: yard grant revoke 3 --department finance
    """
    ended = open_yard().connection.send("DELETE", f"{_address(department)}/{grant}", Share)
    if as_json:
        output.print_json(ended)
    else:
        output.note(f"Grant {ended.id} on {ended.name} is revoked.")


def _address(department: str) -> str:
    return f"/api/v1/departments/{check_name(department, 'department')}/grants"


def _receiver(share: Share) -> str:
    return f"department {share.to_department}" if share.to_department else str(share.to_principal)


def _end(share: Share) -> str:
    if share.revoked_at is not None:
        return f"revoked {output.when(share.revoked_at)}"
    if share.expires_at is None:
        return "never"
    ended = "ended " if share.expires_at <= datetime.now(UTC) else ""
    return ended + output.when(share.expires_at)
