"""What the doctor says of one thing. Pure.

Each thing that can be wrong has a code. `docs/operator.md` has a paragraph for each, by that code.
"""

from __future__ import annotations

from typing import Literal, get_args

from msgspec import Struct

Code = Literal[
    "alerts-nowhere",
    "backup-failed",
    "backup-none",
    "backup-old",
    "certificate",
    "clock-off",
    "data-open",
    "data-readonly",
    "database-away",
    "disk-low",
    "duty-failing",
    "duty-late",
    "engine-away",
    "jobs-waiting",
    "language-missing",
    "node-dead",
    "node-trouble",
    "ray-away",
    "ray-missing",
    "ray-room",
    "ray-token",
    "ray-version",
    "schema-newer",
    "server-missing",
    "spool-full",
    "spool-waiting",
    "sqlite-old",
    "uncontained",
    "walls-missing",
    "worker-dying",
    "yard-not-ready",
    "yard-unknown",
    "yard-unreachable",
]
CODES: tuple[Code, ...] = get_args(Code)


class Finding(Struct, frozen=True):
    """One thing that was looked at.

    Attributes:
        state: `ok`; `note`, which one may want to know; or `problem`, which keeps something from working.
        what: what was looked at.
        words: what was found.
        hint: what to do.
        code: which paragraph of the operator's handbook is about it; empty where all is well.
        command: the one command that mends it, or shows what to decide.
    """

    state: Literal["ok", "note", "problem"]
    what: str
    words: str
    hint: str = ""
    code: Code | Literal[""] = ""
    command: str = ""
