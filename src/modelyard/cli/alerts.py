"""`yard alerts`: what somebody should look at, and where it is sent."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from modelyard.cli import output
from modelyard.cli.sdk import open_yard
from modelyard.records.alerts import Alert, Channel, ChannelKind, ChannelWanted, NewChannel
from modelyard.records.errors import InvalidError
from modelyard.records.policies import Level
from modelyard.records.references import check_name

app = typer.Typer(no_args_is_help=True, help="See what needs attention, and say where alerts are sent.")

Place = Annotated[str, typer.Argument(metavar="CHANNEL", help="department/name.", show_default=False)]


@app.command("list")
def list_all(
    everything: Annotated[bool, typer.Option("--all", help="Also what is over, or seen.")] = False,
    as_json: output.Json = False,
) -> None:
    """List what somebody should look at, newest first.

    Example: yard alerts list --all
    """
    told = {"all": "true"} if everything else {}
    found = open_yard().connection.get("/api/v1/alerts", list[Alert], **told)
    if as_json:
        output.print_json(found)
        return
    if not found:
        output.note("Nothing needs anybody at the moment.")
        return
    rows = [(a.id, a.level, a.model, a.words, output.when(a.opened_at), _state(a)) for a in found]
    output.print_table(("id", "level", "model", "what", "since", "seen"), rows)


def _state(alert: Alert) -> str:
    if alert.acknowledged_by:
        return f"by {alert.acknowledged_by}"
    return f"over {output.when(alert.closed_at)}" if alert.closed_at else ""


@app.command()
def ack(
    department: Annotated[str, typer.Argument(metavar="DEPARTMENT", help="Whose alert.")],
    alert: Annotated[int, typer.Argument(metavar="ALERT", help="Its id, from `yard alerts list`.", min=1)],
    as_json: output.Json = False,
) -> None:
    """Say that you look at it: it is sent nowhere any more.

    Example: yard alerts ack operations 7
    """
    path = f"/api/v1/departments/{check_name(department, 'department')}/alerts/{alert}/acknowledge"
    seen = open_yard().connection.send("POST", path, Alert, {})
    if as_json:
        output.print_json(seen)
        return
    output.note(f"Alert {seen.id} of {seen.model} is acknowledged by {seen.acknowledged_by}.")


@app.command("channels")
def list_channels(
    department: Annotated[str, typer.Argument(metavar="DEPARTMENT", help="Whose.")],
    as_json: output.Json = False,
) -> None:
    """List where a department's alerts are sent.

    Example: yard alerts channels operations
    """
    path = f"/api/v1/departments/{check_name(department, 'department')}/channels"
    found = open_yard().connection.get(path, list[Channel])
    if as_json:
        output.print_json(found)
        return
    rows = [
        (c.name, c.kind, c.target, c.level, c.every, c.quiet, c.owner, output.when(c.sent_at), c.note)
        for c in found
    ]
    heads = ("name", "kind", "to", "from level", "minutes between", "quiet", "owner", "sent", "last failure")
    output.print_table(heads, rows)


@app.command()
def send(  # noqa: PLR0913, PLR0917 - each is an option of the command
    channel: Place,
    kind: Annotated[ChannelKind, typer.Argument(metavar="KIND", help="webhook, chat or email.")],
    address: Annotated[
        str, typer.Argument(metavar="ADDRESS", help="https://… or a mail address; - reads standard input.")
    ],
    level: Annotated[Level, typer.Option(help="From which level on.")] = Level.MEDIUM,
    every: Annotated[int, typer.Option(help="Minutes between two messages.", min=0, max=1_440)] = 15,
    quiet: Annotated[str, typer.Option(help="Hours in UTC when nothing is sent, as 22:00-07:00.")] = "",
    owner: Annotated[str, typer.Option(help="Who looks after it; by default you.")] = "",
    as_json: output.Json = False,
) -> None:
    """Send a department's alerts somewhere. The secret that signs a webhook is printed once.

    Example: yard alerts send operations/on-call email anna@example.org --level high --quiet 22:00-07:00

    Example: yard alerts send operations/hook webhook https://hooks.example.org/yard
    """
    where = sys.stdin.read().strip() if address == "-" else address
    wanted = ChannelWanted(kind, where, level, every, quiet, owner)
    made = open_yard().connection.send("PUT", _place(channel), NewChannel, wanted)
    if as_json:
        output.print_json(made)
        return
    output.note(f"Alerts from {made.channel.level} on go to {made.channel.target}.")
    if made.secret:
        output.note("This secret signs them; it is shown this once:")
        sys.stdout.write(made.secret + "\n")


@app.command()
def test(channel: Place) -> None:
    """Send a message that says that it is a test.

    Example: yard alerts test operations/on-call
    """
    sent = open_yard().connection.send("POST", f"{_place(channel)}/test", Channel, {})
    output.note(f"A test was sent to {sent.target}.")


@app.command()
def remove(channel: Place) -> None:
    """Send nothing there any more.

    Example: yard alerts remove operations/on-call
    """
    open_yard().connection.send("DELETE", _place(channel), object)
    output.note(f"Nothing is sent to {channel} any more.")


def _place(channel: str) -> str:
    department, slash, name = channel.partition("/")
    if not slash:
        raise InvalidError(f"{channel!r} is no channel.", "Write department/name.")
    check_name(department, "department")
    return f"/api/v1/departments/{department}/channels/{check_name(name, 'name of a channel')}"
