"""Audit entries: who did what to what, from where. Each is chained to the one before by its hash.

The hash of an entry is the sha256 of the JSON array of all its own fields, in the order in which `Entry` has
them, with the hash of the entry before it in front. So whoever has one hash that was noted elsewhere can tell
whether any entry up to it was changed, taken out, put in or moved.
"""

from __future__ import annotations

import hashlib
from datetime import datetime

import msgspec
from msgspec import Struct

YARD = "yard"  # who acts when the yard does so by itself; also the subject of what concerns all of it
BEGINNING = "0" * 64  # stands for the entry before the first


class Entry(Struct, frozen=True):
    """One entry.

    Attributes:
        number: 1, 2, 3 … without a gap.
        at: when it was written, UTC, in microseconds.
        by: the principal; `yard` where the yard acted by itself; empty where nobody knows who it was.
        action: `noun.verb`, as `version.publish`.
        subject: what it was done to, beginning with the department (`finance/fuel-cost/3`), or `yard`.
        before, after: JSON texts, None where there is nothing to say.
        origin: the address it came from, empty for the yard itself.
        request: the id of the request (`X-Request-Id`), empty for the yard itself.
        via: what they showed to come in, as `token 7`.
        hash: see above.
    """

    number: int
    at: datetime
    by: str
    action: str
    subject: str
    before: str | None
    after: str | None
    origin: str
    request: str
    via: str
    hash: str = ""


def chained(entry: Entry, previous: str) -> Entry:
    """The entry with its hash.

    Args:
        entry: its own `hash` is not read.
        previous: the hash of the entry before it; BEGINNING for the first.
    """
    fields = [getattr(entry, name) for name in Entry.__struct_fields__[:-1]]
    return msgspec.structs.replace(
        entry, hash=hashlib.sha256(msgspec.json.encode([previous, *fields])).hexdigest()
    )
