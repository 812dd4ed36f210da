"""`yard nodes`: the machines that are the yard."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

import typer

from modelyard.cli import output
from modelyard.cli.sdk import open_yard
from modelyard.records.conditions import machine
from modelyard.records.nodes import Node

app = typer.Typer(help="The machines that are the yard.", no_args_is_help=False)
_PATH = "/api/v1/nodes"


@app.callback(invoke_without_command=True)
def nodes(context: typer.Context, as_json: output.Json = False) -> None:
    """List the nodes of the yard: which live, how much room is left, and what is wrong with the others.

    Example: yard nodes
    """
    if context.invoked_subcommand is None:
        _print(open_yard().connection.get(_PATH, list[Node]), as_json=as_json)


@app.command()
def forget(
    node: Annotated[str, typer.Argument(metavar="NODE", help="Its id, as listed.")],
    as_json: output.Json = False,
) -> None:
    """Let go of a node that will not come back. One that lives is listed again at once.

    Example: yard nodes forget 5f1c0a9b3d2e4f60
    """
    path = f"{_PATH}/{quote(node, safe='')}"
    _print(open_yard().connection.send("DELETE", path, list[Node]), as_json=as_json)


def _print(found: list[Node], *, as_json: bool) -> None:
    if as_json:
        output.print_json(found)
        return
    rows = [
        (
            f"{n.address}{' (answers)' if n.here else ''}",
            n.id,
            n.state,
            n.release,
            output.when(n.seen_at),
            machine(n.condition) if n.condition else None,
            f"{n.words} {n.hint}".strip() or n.room or None,
        )
        for n in found
    ]
    output.print_table(("node", "id", "state", "release", "heard of", "machine", "what to know"), rows)
