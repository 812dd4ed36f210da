"""What `yard doctor` looks at on its machine: disk, rights, SQLite, languages."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from modelyard.records.checkup import of_disk
from modelyard.records.diagnosis import Finding
from modelyard.records.errors import YardError

_OLDEST_SQLITE = (3, 35)  # RETURNING
_SAFE_WAL = (3, 51, 3)  # docs/decisions/0002-sqlite-journal.md
_SECRET = ("admin.token", "keys", "oidc.toml", "routes", "yard.sqlite")
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_INSTALL = {
    "python": "python3 -m pip install 'modelyard[server]'",
    "r": "apt-get install r-base-core",
    "julia": "export YARD_PROGRAM_JULIA=/where/julia/is/bin/julia",
}


def folder(data: Path) -> Iterator[Finding]:
    """The data folder: that it can be written to, has room, and keeps its secrets."""
    what = f"data folder {data}"
    there = next(parent for parent in (data, *data.parents) if parent.exists())
    if not os.access(there, os.W_OK):
        hint = "Correct its rights, or choose another --data."
        yield Finding(
            "problem", what, "cannot be written to", hint, "data-readonly", f"chown -R $USER {there}"
        )
        return
    found = of_disk(what, shutil.disk_usage(there).free)
    yield found if data.exists() else msgspec.structs.replace(found, words=f"not there yet; {found.words}")
    yield from _rights(data)


def _rights(data: Path) -> Iterator[Finding]:
    open_files = [name for name in _SECRET if (data / name).exists() and _is_open(data / name)]
    # What is in the folder is closed to others by the folder itself.
    if open_files and _is_open(data):
        yield Finding(
            "problem",
            f"rights in {data}",
            f"others on this machine can read {', '.join(open_files)}",
            "Close the folder to others; make a new token if they may have read it.",
            "data-open",
            f"chmod 700 {data}",
        )


def _is_open(path: Path) -> bool:
    return bool(path.stat().st_mode & _OTHERS)


def sqlite() -> Finding:
    """The library that the embedded database needs."""
    number = sqlite3.sqlite_version
    if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
        hint = "The embedded database does not work with it: use a newer Python, or PostgreSQL."
        words = f"{number} is older than 3.35, the oldest that works"
        return Finding(
            "problem", "SQLite", words, hint, "sqlite-old", "yard up --database postgresql://USER@HOST/NAME"
        )
    if sqlite3.sqlite_version_info >= _SAFE_WAL:
        return Finding("ok", "SQLite", f"{number}, with a write-ahead log")
    return Finding("ok", "SQLite", f"{number}, with a rollback journal (its write-ahead log has a fault)")


def languages(runtimes: Any, programs: dict[str, str]) -> Iterator[Finding]:  # noqa: ANN401 - an optional part
    """Which languages' models can run here."""
    for runtime in runtimes.find_runtimes().values():
        program = runtimes.program_of(runtime, programs)
        try:
            yield Finding("ok", runtime.title, runtimes.installed_version(runtime, program))
        except YardError as error:
            command = _INSTALL.get(
                runtime.language, f"yard up  # with YARD_PROGRAM_{runtime.language.upper()}"
            )
            yield Finding("note", runtime.title, error.message, error.hint, "language-missing", command)
