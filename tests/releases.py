"""What the previous release left behind (made by `tools/release_data.py`), and its program."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

PREVIOUS = "0015"  # the schema of the previous release,
COMMIT = "55c78ce"  # and the last commit that had it
KEPT = Path(__file__).parent / "data" / f"release-{PREVIOUS}"


def has_previous() -> bool:
    """Whether the history of this clone has the previous release."""
    return not subprocess.run(
        ["git", "cat-file", "-e", COMMIT], cwd=KEPT, capture_output=True, check=False
    ).returncode


def lay_out(data: Path) -> None:
    """Make a data folder as that release left it."""
    shutil.copytree(KEPT, data, ignore=shutil.ignore_patterns("yard.sql"))
    data.chmod(0o700)
    with closing(sqlite3.connect(data / "yard.sqlite")) as database:
        database.executescript((KEPT / "yard.sql").read_text())
