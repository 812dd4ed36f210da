"""`yard token`: who may come in."""

from __future__ import annotations

import re
import sys
from typing import Annotated

import typer

import modelyard
from modelyard.cli import output
from modelyard.cli.sdk import open_yard
from modelyard.records.errors import InvalidError
from modelyard.records.people import YARD_ROLES, NewToken, Role, Token
from modelyard.records.references import check_name

app = typer.Typer(no_args_is_help=True, help="Make, list and revoke tokens.")

Department = Annotated[
    str | None, typer.Option("--department", "-d", help="The department; by default your own.")
]
_TIME = re.compile(r"([0-9]{1,5})([mhdw])", re.ASCII)
_DAYS = {"m": 1 / 1440, "h": 1 / 24, "d": 1, "w": 7}


@app.command()
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is for, as 'gate screens'.")],
    role: Annotated[Role, typer.Option(help="What its holder may do.")],
    department: Department = None,
    principal: Annotated[
        str | None, typer.Option(help="Who it is for, as it stands in histories; by default the name.")
    ] = None,
    expires: Annotated[str | None, typer.Option(help="How long it lives, as 12h, 90d or 8w.")] = None,
    limit: Annotated[
        float | None, typer.Option(help="Rows a second it may have predicted; by default no limit.")
    ] = None,
    as_json: output.Json = False,
) -> None:
    """Make a token. Its secret is printed once, on standard output, and kept nowhere.

    Roles of a department: viewer sees its models, caller predicts, builder publishes, owner promotes and
    makes tokens. Roles of the whole yard: auditor, administrator.

    Example: yard token create gate-screens --role caller --department operations --expires 90d
    """
    yard = open_yard()
    body = {"name": name, "principal": principal or name, "role": role, "expires_in_days": days(expires)}
    body["rows_per_second"] = limit
    made = yard.connection.send("POST", _address(yard, role, department), NewToken, body)
    if as_json:
        output.print_json(made)
        return
    token = made.token
    ends = f"expires {output.when(token.expires_at)}" if token.expires_at else "does not expire"
    where = token.department or "the whole yard"
    output.note(f"Token {token.id}: {token.principal}, {token.role} in {where}; {ends}. Keep it as a key.")
    sys.stdout.write(made.secret + "\n")


@app.command("list")
def list_tokens(department: Department = None, as_json: output.Json = False) -> None:
    """List tokens, newest first; never their secrets.

    Example: yard token list --department operations
    """
    yard = open_yard()
    tokens = yard.connection.get(_address(yard, None, department), list[Token])
    if as_json:
        output.print_json(tokens)
        return
    output.print_table(
        ("id", "name", "principal", "role", "department", "created", "by", "ends"),
        [
            (
                t.id,
                t.name,
                t.principal,
                t.role,
                t.department,
                output.when(t.created_at),
                t.created_by,
                _end(t),
            )
            for t in tokens
        ],
    )


@app.command()
def revoke(
    token: Annotated[
        int, typer.Argument(metavar="TOKEN", help="The token's id, from `yard token list`.", min=1)
    ],
    department: Department = None,
    as_json: output.Json = False,
) -> None:
    """End a token at once.

    Example: yard token revoke 7
    """
    yard = open_yard()
    ended = yard.connection.send("DELETE", f"{_address(yard, None, department)}/{token}", Token)
    if as_json:
        output.print_json(ended)
    else:
        output.note(f"Token {ended.id} ({ended.name}, {ended.principal}) is revoked.")


def days(text: str | None) -> float | None:
    """A lifetime in days.

    Raises:
        InvalidError: it is not written as 30m, 12h, 90d or 8w.

    >>> days("8w")
    56
    """
    if text is None:
        return None
    found = _TIME.fullmatch(text)
    if found is None or int(found[1]) == 0:
        raise InvalidError(f"{text!r} is not a time.", "Write it as 30m, 12h, 90d or 8w.", field="expires")
    return int(found[1]) * _DAYS[found[2]]


def _address(yard: modelyard.Yard, role: Role | None, department: str | None) -> str:
    """Where the tokens are: a department's owner has those of the department, an administrator all."""
    if role in YARD_ROLES:
        if department is not None:
            raise InvalidError(f"The role {role} is held in the whole yard.", "Leave --department out.")
        return "/api/v1/tokens"
    department = department or yard.whoami().department
    if department is not None:
        return f"/api/v1/departments/{check_name(department, 'department')}/tokens"
    if role is not None:
        raise InvalidError(f"The role {role} is held in a department.", "Say which with --department.")
    return "/api/v1/tokens"


def _end(token: Token) -> str:
    if token.revoked_at is not None:
        return f"revoked {output.when(token.revoked_at)}"
    return output.when(token.expires_at) or "never"
