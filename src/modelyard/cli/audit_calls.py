"""What the API says of the audit; an SDK of few verbs leaves it out."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from modelyard.records.audit import Entry, Mark, Verified
from modelyard.records.history import Answering
from modelyard.records.references import Reference

if TYPE_CHECKING:
    from modelyard.client.connection import Connection  # brings httpx: `yard --help` does without

_AUDIT = "/api/v1/audit"


class AuditCalls:
    """What the API says of the audit, and of the past."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def entries(self, limit: int, asked: Mapping[str, str]) -> list[Entry]:
        """The newest entries that are asked for."""
        return self._connection.get(_AUDIT, list[Entry], limit=limit, **asked)

    def export(self, file: Path, form: str, asked: Mapping[str, str]) -> int:
        """Write all entries that are asked for to a file; its size in bytes."""
        with file.open("wb") as out:
            return self._connection.download(f"{_AUDIT}/export", out, form=form, **asked)

    def verify(self, mark: Mark | None = None) -> Verified:
        """Have the whole chain followed, and compared with a mark that was kept."""
        known: dict[str, str | int] = {} if mark is None else {"entries": mark.number, "hash": mark.hash}
        return self._connection.get(f"{_AUDIT}/verify", Verified, **known)

    def answering(self, reference: Reference, at: datetime) -> Answering:
        """What a reference meant at a time."""
        asked: dict[str, str | int] = {"at": at.isoformat()}
        if reference.alias:
            asked["alias"] = reference.alias
        if reference.version is not None:
            asked["version"] = reference.version
        return self._connection.get(f"/api/v1/models/{reference.model}/answering", Answering, **asked)
