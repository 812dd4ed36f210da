"""`yard hosts`: which hosts outside the yard the jobs of a model may reach."""

from __future__ import annotations

from typing import Annotated

import typer

from modelyard.cli import output
from modelyard.cli.host_calls import HostCalls, print_hosts
from modelyard.cli.models import Model, Why
from modelyard.cli.sdk import open_yard

app = typer.Typer(no_args_is_help=True, help="Which hosts outside the jobs of a model may reach.")


@app.command("show")
def show_hosts(model: Model, as_json: output.Json = False) -> None:
    """Show which hosts are approved, and what jobs that wait ask for.

    Example: yard hosts show finance/fuel-cost
    """
    found = HostCalls(open_yard().connection, model).hosts()
    if as_json:
        output.print_json(found)
    else:
        print_hosts(found)


@app.command()
def approve(
    model: Model,
    hosts: Annotated[list[str], typer.Argument(metavar="HOST:PORT…", help="Exactly these, and no others.")],
    why: Why = "",
    as_json: output.Json = False,
) -> None:
    """Let a model's jobs reach these hosts, in place of those before; jobs that wait for it go on.

    It takes an owner of the department. A project that names other hosts one day has to be approved anew.

    Example: yard hosts approve finance/fuel-cost files.example.org:443
    """
    _approve(model, hosts, why, as_json=as_json)


@app.command()
def withdraw(model: Model, why: Why = "", as_json: output.Json = False) -> None:
    """Take the approval back: jobs that run with it are ended within seconds.

    Example: yard hosts withdraw finance/fuel-cost --why "the supplier has changed"
    """
    _approve(model, [], why, as_json=as_json)


def _approve(model: str, hosts: list[str], why: str, *, as_json: bool) -> None:
    found = HostCalls(open_yard().connection, model).approve(hosts, why)
    if as_json:
        output.print_json(found)
    else:
        named = ", ".join(found.approved)
        output.note(f"Jobs of {found.model} may reach {named or 'nothing outside'} now.")
