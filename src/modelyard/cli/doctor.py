"""`yard doctor` and `yard version`: what is wrong, and what to do about it."""

from __future__ import annotations

import os
import platform
import shutil
import sqlite3
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from msgspec import Struct

import modelyard
from modelyard.cli import output
from modelyard.cli.sdk import open_yard
from modelyard.cli.server import NotInstalledError, installed
from modelyard.records.backups import BackupState
from modelyard.records.errors import ForbiddenError, YardError
from modelyard.records.nodes import Node

_OLD_BACKUP = timedelta(days=8)
_LITTLE_DISK = 2 * 1024**3
_MARKS = {"ok": "ok", "note": "note", "problem": "PROBLEM"}


class Finding(Struct, frozen=True):
    """One thing the doctor looked at.

    Attributes:
        state: `ok`; `note`, which one may want to know; or `problem`, which keeps something from working.
        what: what was looked at.
        words: what was found.
        hint: what to do.
    """

    state: Literal["ok", "note", "problem"]
    what: str
    words: str
    hint: str = ""


def doctor(
    data: Annotated[
        Path | None, typer.Option(help="The yard's data folder, if it is on this machine.")
    ] = None,
    as_json: output.Json = False,
) -> None:
    """Look for what is wrong, on this machine and in the yard, and say what to do.

    The exit code is 1 if there is a problem.

    Example: yard doctor
    """
    findings = [*_machine(data), *_yard()]
    if as_json:
        output.print_json(findings)
    else:
        output.print_table(
            ("", "what", "found", "what to do"),
            [(_MARKS[f.state], f.what, f.words, f.hint) for f in findings],
        )
    raise typer.Exit(1 if any(f.state == "problem" for f in findings) else 0)


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
            from modelyard.workers import runtimes, sandbox  # noqa: PLC0415 - the same
    except NotInstalledError as error:
        yield Finding("note", "server", "not installed here, only SDK and command", error.hint)
        return
    settings = Settings.from_environment(data=data)
    yield _folder(settings.data)
    yield _sqlite()
    for runtime in runtimes.find_runtimes().values():
        yield _language(runtimes, runtime, settings.programs)
    yield _walls(sandbox, allowed=settings.allow_uncontained)


def _folder(folder: Path) -> Finding:
    what = f"data folder {folder}"
    there = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if not os.access(there, os.W_OK):
        return Finding(
            "problem", what, "cannot be written to", "Correct its rights, or choose another --data."
        )
    free = shutil.disk_usage(there).free
    if free < _LITTLE_DISK:
        return Finding("problem", what, f"{output.size(free)} free", "Make room: predictions are kept there.")
    state = "" if folder.exists() else "not there yet; "
    return Finding("ok", what, f"{state}{output.size(free)} free")


def _sqlite() -> Finding:
    number = sqlite3.sqlite_version
    if sqlite3.sqlite_version_info >= (3, 51, 3):
        return Finding("ok", "SQLite", f"{number}, with a write-ahead log")
    return Finding("ok", "SQLite", f"{number}, with a rollback journal (its write-ahead log has a fault)")


def _language(runtimes: Any, runtime: Any, programs: dict[str, str]) -> Finding:  # noqa: ANN401 - optional parts
    program = runtimes.program_of(runtime, programs)
    try:
        return Finding("ok", runtime.title, runtimes.installed_version(runtime, program))
    except YardError as error:
        return Finding("note", runtime.title, error.message, error.hint)


def _walls(sandbox: Any, *, allowed: bool) -> Finding:  # noqa: ANN401 - an optional part
    what, why = "walls of workers", sandbox.missing()
    if not why:
        return Finding("ok", what, "models run contained: no network, no other files, limits (bubblewrap)")
    if allowed:
        words = f"MODELS RUN UNCONTAINED, as YARD_ALLOW_UNCONTAINED says: {why}"
        return Finding("problem", what, words, "Install bubblewrap and util-linux, and unset it.")
    hint = "Install bubblewrap and util-linux. Until then, portable models alone are served."
    return Finding("problem", what, f"models with code of their own are refused: {why}", hint)


def _backups(state: BackupState) -> Iterator[Finding]:
    what, now = "backups", datetime.now(UTC)
    if state.failure is not None:
        yield Finding("problem", what, state.failure.words, "Mend the cause; it is tried again by itself.")
    if state.backup is None:
        hint = "Now: yard backup DIR, on another disk. By itself: YARD_BACKUP=DIR yard up."
        yield Finding("note", what, "the yard was never backed up", hint)
        return
    age = now - state.backup.at
    old = age > max(_OLD_BACKUP, timedelta(hours=2 * state.every_hours))
    drilled = f"; restored to look on {state.drill.at:%d %B}" if state.drill else "; never restored to look"
    words = f"the newest is {age.days} days old{drilled}" if age.days else f"the newest is of today{drilled}"
    yield Finding(
        "problem" if old else "ok", what, words, "Make one: yard backup DIR --drill." if old else ""
    )


def _nodes(found: list[Node]) -> Iterator[Finding]:
    for node in found:
        what = f"node {node.address}"
        if node.words:
            yield Finding("problem", what, node.words, node.hint)
        else:
            yield Finding("ok", what, f"{node.state}, {node.release}")


def _yard() -> Iterator[Finding]:
    yard = open_yard()
    try:
        url = yard.connection.address.url
    except YardError as error:
        yield Finding("note", "yard", error.message, error.hint)
        return
    try:
        said = yard.connection.get("/api/v1/yard", dict[str, Any])
    except YardError as error:
        yield Finding("problem", f"yard {url}", error.message, error.hint)
        return
    ready = "ready" if said["ready"] else f"not ready: {said['reason']}"
    words = f"{said['version']}, {ready}; {said['models']} models, {said['versions']} checked versions"
    yield Finding("ok" if said["ready"] else "problem", f"yard {url}", words)
    try:
        workers = yard.connection.get("/api/v1/workers", list[dict[str, Any]])
    except ForbiddenError:
        return
    except YardError as error:
        yield Finding("problem", "engine", error.message, error.hint)
        return
    yield from _backups(yard.connection.get("/api/v1/backups", BackupState))
    yield from _nodes(yard.connection.get("/api/v1/nodes", list[Node]))
    for worker in workers:
        words = f"{worker['language']}, {worker['state']}, {output.size(worker['memory'])}"
        dying = worker["restarts"] > 0
        words += f", replaced {worker['restarts']} times" if dying else ""
        hint = "Its model ends its own worker; see its log in the data folder." if dying else ""
        yield Finding("note" if dying else "ok", f"worker of {worker['version_id']}", words, hint)
