"""`yard users`: persons and services, and the roles they hold."""

from __future__ import annotations

import sys
from typing import Annotated
from urllib.parse import quote

import typer

from modelyard.cli import output
from modelyard.cli.sdk import open_yard
from modelyard.cli.tokens import days
from modelyard.records.errors import InvalidError
from modelyard.records.people import YARD_ROLES, NewLink, Principal, Role
from modelyard.records.references import check_name
from modelyard.records.spans import seconds_of, span

app = typer.Typer(no_args_is_help=True, help="Invite people, give roles, keep somebody out.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="The person's or service's name.")]
Department = Annotated[
    str | None, typer.Option("--department", "-d", help="The department; without it the whole yard.")
]
Holds = Annotated[str, typer.Option(help="How long the link holds, as 12h or 7d; at most 30d.")]
_USERS = "/api/v1/users"


@app.command("list")
def list_users(department: Department = None, as_json: output.Json = False) -> None:
    """List persons and services with their roles; of one department, for its owners.

    Example: yard users list --department finance
    """
    path = _USERS if department is None else _members(department)
    found = open_yard().connection.get(path, list[Principal])
    if as_json:
        output.print_json(found)
        return
    output.print_table(
        ("name", "kind", "roles", "signs in with", "since", "by"),
        [(u.name, u.kind, _roles(u), _way_in(u), output.when(u.created_at), u.created_by) for u in found],
    )


@app.command()
def invite(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Small letters, digits and . _ @ + -, as maria@example.com.")
    ],
    role: Annotated[Role | None, typer.Option(help="What they may do.")] = None,
    department: Department = None,
    holds: Holds = "7d",
    as_json: output.Json = False,
) -> None:
    """Make a person. Prints a link by which they set a password, once; give it to them and to nobody else.

    Example: yard users invite maria@example.com --role builder --department finance
    """
    if role is not None and (department is None) != (role in YARD_ROLES):
        wrong = "is held in a department" if department is None else "is held in the whole yard"
        raise InvalidError(f"The role {role} {wrong}.", "Add or leave out --department.")
    body = {"name": name, "role": role, "department": department, "link_days": days(holds)}
    _print_link(open_yard().connection.send("POST", _USERS, NewLink, body), as_json=as_json)


@app.command()
def reset(name: Name, holds: Holds = "1d", as_json: output.Json = False) -> None:
    """Print a link by which a person sets a new password, once. Their sessions and tokens end when they do.

    Example: yard users reset maria@example.com
    """
    body = {"link_days": days(holds)}
    made = open_yard().connection.send("POST", f"{_USERS}/{_part(name)}/link", NewLink, body)
    _print_link(made, as_json=as_json)


@app.command("role")
def set_role(
    name: Name,
    role: Annotated[Role, typer.Argument(metavar="ROLE", help="What they may do from now on.")],
    department: Department = None,
    as_json: output.Json = False,
) -> None:
    """Give a role in a department, or (auditor, administrator) in the whole yard, in place of the one before.

    Example: yard users role maria@example.com owner --department finance
    """
    path = f"{_USERS}/{_part(name)}/role" if department is None else f"{_members(department)}/{_part(name)}"
    _print(open_yard().connection.send("PUT", path, Principal, {"role": role}), as_json=as_json)


@app.command()
def remove(name: Name, department: Department = None, as_json: output.Json = False) -> None:
    """Take the role in a department away, or that in the whole yard. Tokens lose it at once.

    Example: yard users remove maria@example.com --department finance
    """
    path = f"{_USERS}/{_part(name)}/role" if department is None else f"{_members(department)}/{_part(name)}"
    _print(open_yard().connection.send("DELETE", path, Principal), as_json=as_json)


@app.command()
def disable(name: Name, as_json: output.Json = False) -> None:
    """Keep somebody out at once, with all their tokens and sessions.

    Example: yard users disable maria@example.com
    """
    _print(_disable(name, disabled=True), as_json=as_json)


@app.command()
def enable(name: Name, as_json: output.Json = False) -> None:
    """Let somebody in again; their tokens work as before.

    Example: yard users enable maria@example.com
    """
    _print(_disable(name, disabled=False), as_json=as_json)


@app.command()
def join(
    name: Name,
    subject: Annotated[
        str, typer.Argument(metavar="SUBJECT", help="What the identity provider calls them (`sub`).")
    ],
    issuer: Annotated[str, typer.Option(help="The provider's address, as in oidc.toml.")],
    as_json: output.Json = False,
) -> None:
    """Let a person sign in with the identity provider's account of that subject, too.

    Example: yard users join maria 5f2c1e --issuer https://login.example.com
    """
    path = f"{_USERS}/{_part(name)}/identity"
    body = {"issuer": issuer, "subject": subject}
    _print(open_yard().connection.send("PUT", path, Principal, body), as_json=as_json)


@app.command()
def department(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The new department's name.")],
) -> None:
    """Make a department. Publishing into it as an administrator makes it, too.

    Example: yard users department finance
    """
    open_yard().connection.send("POST", "/api/v1/departments", list[str], {"name": name})
    output.note(f"The department {name} is there.")


@app.command()
def trust(name: Annotated[str, typer.Argument(metavar="NAME", help="The department.")]) -> None:
    """Let a department bring models and jobs that are code. Departments are trusted from the beginning.

    Example: yard users trust finance
    """
    _trust(name, trusted=True)
    output.note(f"{name} may bring code of its own.")


@app.command()
def distrust(name: Annotated[str, typer.Argument(metavar="NAME", help="The department.")]) -> None:
    """Stop a department's code: its models that are code end now, new ones and jobs are refused.

    Models that are data alone, portable forms among them, go on answering.

    Example: yard users distrust finance
    """
    _trust(name, trusted=False)
    output.note(f"No code of {name} runs now; portable models go on. Back: yard users trust {name}")


@app.command()
def grace(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="The department; all are listed without.")
    ] = None,
    length: Annotated[
        str | None, typer.Argument(metavar="LENGTH", help="As 30m, 2h or 1d; `usual` for half an hour.")
    ] = None,
    as_json: output.Json = False,
) -> None:
    """How long a department's predictions go on while the database is away: half an hour if nobody says.

    Until then nobody can know whether a token was revoked. All else is refused after a minute.

    Example: yard users grace finance 2h
    """
    connection = open_yard().connection
    if name is None or length is None:
        found = connection.get("/api/v1/grace", dict[str, float])
    else:
        path = f"/api/v1/grace/{check_name(name, 'department')}"
        found = connection.send("PUT", path, dict[str, float], {"seconds": _seconds(length)})
    shown = {place: seconds for place, seconds in found.items() if name in (None, place)}
    if as_json:
        output.print_json(shown)
    else:
        rows = [(place, span(seconds)) for place, seconds in shown.items()]
        output.print_table(("department", "predictions without the database"), rows)


def _seconds(length: str) -> int | None:
    if length == "usual":
        return None
    seconds = seconds_of(length)
    if seconds is None:
        raise InvalidError(f"{length!r} is no length of time.", "Write 30m, 2h or 1d.", field="length")
    return seconds


def _trust(name: str, *, trusted: bool) -> None:
    path = f"/api/v1/trust/{check_name(name, 'department')}"
    open_yard().connection.send("PUT", path, list[str], {"trusted": trusted})


def _disable(name: str, *, disabled: bool) -> Principal:
    path = f"{_USERS}/{_part(name)}/disabled"
    return open_yard().connection.send("PUT", path, Principal, {"disabled": disabled})


def _members(department: str) -> str:
    return f"/api/v1/departments/{check_name(department, 'department')}/members"


def _part(name: str) -> str:
    if not name or "/" in name or "\\" in name or name in (".", ".."):
        raise InvalidError(f"{name!r} is no name.", "See who is there: yard users list.")
    return quote(name, safe="@+")


def _print_link(made: NewLink, *, as_json: bool) -> None:
    if as_json:
        output.print_json(made)
        return
    what = "Sets a new password of" if made.is_reset else "Sets the password of"
    output.note(f"{what} {made.principal}, once, until {output.when(made.expires_at)}. Keep it as a key.")
    sys.stdout.write(open_yard().connection.address.url.rstrip("/") + made.path + "\n")


def _print(user: Principal, *, as_json: bool) -> None:
    if as_json:
        output.print_json(user)
    else:
        state = " and is disabled" if user.disabled_at else ""
        output.note(f"{user.name} holds {_roles(user) or 'no role'}{state}.")


def _roles(user: Principal) -> str:
    whole = [str(user.role)] if user.role else []
    return ", ".join(whole + [f"{role} in {place}" for place, role in user.departments.items()])


def _way_in(user: Principal) -> str:
    if user.disabled_at is not None:
        return "nothing: disabled"
    return "password" if user.has_password else "tokens" if user.kind == "service" else "invitation"
