"""`yard doctor` and `yard version`: what is wrong, and what to do about it."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

import modelyard
from modelyard.cli import machine, output
from modelyard.cli.sdk import open_yard
from modelyard.cli.server import NotInstalledError, installed
from modelyard.records.alerts import Channel
from modelyard.records.audit import YARD
from modelyard.records.backups import BackupState
from modelyard.records.checkup import Checkup, of_backups, of_checkup, of_nodes, of_walls, of_workers
from modelyard.records.diagnosis import Finding
from modelyard.records.errors import ForbiddenError, YardError
from modelyard.records.nodes import Node
from modelyard.workers.certificates import certificates

_MARKS = {"ok": "ok", "note": "note", "problem": "PROBLEM"}
_HANDBOOK = "docs/operator.md"


def doctor(
    data: Annotated[
        Path | None, typer.Option(help="The yard's data folder, if it is on this machine.")
    ] = None,
    as_json: output.Json = False,
) -> None:
    """Look for what is wrong, on this machine and in the yard, and say what to do.

    Each finding has a code; the operator's handbook (docs/operator.md) has a paragraph for each. The exit
    code is 1 if there is a problem.

    Example: yard doctor
    """
    findings = _each_once([*_machine(data), *_yard()])
    if as_json:
        output.print_json(findings)
    else:
        _tell(findings)
    raise typer.Exit(1 if any(f.state == "problem" for f in findings) else 0)


def _each_once(findings: list[Finding]) -> list[Finding]:
    """Without what the node tells of a machine that was looked at here, too."""
    known = {(f.code, f.words): f for f in reversed(findings) if f.code}
    return [f for f in findings if not f.code or known[f.code, f.words] is f]


def _tell(findings: list[Finding]) -> None:
    output.print_table(
        ("", "what", "found", "what to do"),
        [(_MARKS[f.state], f.what, f.words, f.hint) for f in findings],
    )
    for finding in findings:
        if finding.code:
            output.note(f"{finding.code}: {finding.command}")
    if any(finding.code for finding in findings):
        output.note(f"What each of these means, by its code: {_HANDBOOK}")


def version(as_json: output.Json = False) -> None:
    """Print the version of the software here.

    Example: yard version
    """
    facts = {"modelyard": modelyard.__version__, "python": platform.python_version()}
    if as_json:
        output.print_json(facts)
    else:
        sys.stdout.write(f"modelyard {facts['modelyard']} (Python {facts['python']})\n")


def _machine(data: Path | None) -> Iterator[Finding]:
    yield Finding("ok", "software", f"modelyard {modelyard.__version__}, Python {platform.python_version()}")
    try:
        with installed():
            from modelyard import up  # noqa: F401, PLC0415 - an optional dependency
            from modelyard.settings import Settings  # noqa: PLC0415 - the same
            from modelyard.web.provider import read_provider  # noqa: PLC0415 - the same
            from modelyard.workers import runtimes, sandbox  # noqa: PLC0415 - the same
    except NotInstalledError as error:
        words = "not installed here, only SDK and command"
        command = "pip install 'modelyard[server]'"
        yield Finding("note", "server", words, error.hint, "server-missing", command)
        return
    settings = Settings.from_environment(data=data)
    yield from machine.folder(settings.data)
    yield machine.sqlite()
    yield from machine.languages(runtimes, settings.programs)
    yield of_walls(sandbox.missing(), allowed=settings.allow_uncontained)
    issuer = read_provider(settings.oidc_file).issuer if settings.oidc_file else ""
    yield from certificates((settings.address, settings.blobs_endpoint, issuer))


def _yard() -> Iterator[Finding]:
    yard = open_yard()
    try:
        url = yard.connection.address.url
    except YardError as error:
        yield Finding("note", "yard", error.message, error.hint, "yard-unknown", "yard login URL")
        return
    yield from certificates((url,))
    try:
        said = yard.connection.get("/api/v1/yard", dict[str, Any])
    except YardError as error:
        command = f"curl -i {url}/health/live"
        yield Finding("problem", f"yard {url}", error.message, error.hint, "yard-unreachable", command)
        return
    yield _readiness(url, said)
    try:
        yield from _inside(yard.connection)
    except ForbiddenError:
        return


def _told_to(connection: Any) -> Iterator[Finding]:  # noqa: ANN401 - of the SDK
    """Whether anybody is told of what is wrong with the yard; auditors may not know where such goes."""
    try:
        channels = connection.get(f"/api/v1/departments/{YARD}/channels", list[Channel])
    except YardError:
        return
    what = "alerts of the yard"
    if channels:
        yield Finding("ok", what, f"go to {', '.join(sorted(c.target for c in channels))}")
        return
    words = "nobody is told when a node dies, a disk fills or a backup fails"
    command = f"yard alerts send {YARD}/on-call email YOU@EXAMPLE.ORG"
    yield Finding("note", what, words, "Say where to.", "alerts-nowhere", command)


def _readiness(url: str, said: dict[str, Any]) -> Finding:
    what = f"yard {url}"
    held = f"{said['models']} models, {said['versions']} checked versions"
    if said["ready"]:
        return Finding("ok", what, f"{said['version']}, ready; {held}")
    words = f"{said['version']}, not ready: {said['reason']}; {held}"
    hint = "It gets its routes from the engine; the log says what that waits for."
    return Finding("problem", what, words, hint, "yard-not-ready", "journalctl -u modelyard -n 50")


def _inside(connection: Any) -> Iterator[Finding]:  # noqa: ANN401 - of the SDK
    """What those see who look after the yard."""
    try:
        workers = connection.get("/api/v1/workers", list[dict[str, Any]])
    except ForbiddenError:
        raise
    except YardError as error:
        command = "journalctl -u modelyard -n 50"
        yield Finding("problem", "engine", error.message, error.hint, "engine-away", command)
        workers = []
    try:
        yield from of_checkup(connection.get("/api/v1/checkup", Checkup), datetime.now(UTC))
        yield from of_nodes(connection.get("/api/v1/nodes", list[Node]))
        yield from of_backups(connection.get("/api/v1/backups", BackupState), datetime.now(UTC))
    except YardError as error:
        command = "systemctl status postgresql"
        yield Finding("problem", "database", error.message, error.hint, "database-away", command)
    yield from _told_to(connection)
    yield from of_workers(
        (w["version_id"], w["language"], w["state"], w["memory"], w["restarts"]) for w in workers
    )
