"""What answered at a time: the version, where it came from, and who put it there."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct


class Trial(Struct, frozen=True):
    """A candidate that a rollout tried at the time: in the shadow, or answering a share of the requests."""

    candidate: int
    stage: str
    words: str


class Answering(Struct, frozen=True):
    """What a reference meant at a time.

    Attributes:
        at: the time asked for, UTC.
        alias: by which it answered; empty where a version was asked for by its number.
        version: which it was.
        aliases: all that pointed to it at the time.
        promoted_at, promoted_by, why, entry: when, by whom and why the alias came to point to it, and the
            number of that audit entry (None for what is older than the audit); empty without an alias.
        until: when the alias moved on; None where it still points there.
        published_at, published_by, published_entry: the same of the version itself.
        digest: of its content.
        data: the dataset versions it was trained on, `department/name/3`.
        lineage: all else it says of where it comes from.
        trial: a candidate that was tried beside it.
    """

    model: str
    at: datetime
    alias: str
    version: int
    aliases: tuple[str, ...]
    promoted_at: datetime | None
    promoted_by: str
    why: str
    entry: int | None
    until: datetime | None
    published_at: datetime
    published_by: str
    published_entry: int | None
    digest: str
    language: str
    metrics: dict[str, float]
    data: tuple[str, ...]
    lineage: dict[str, str]
    trial: Trial | None = None
