"""What the API says of keys and signatures; an SDK of few verbs leaves it out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modelyard.records.models import Version
from modelyard.records.provenance import Key, Label, Signed

if TYPE_CHECKING:
    from modelyard.client.connection import Connection  # brings httpx: `yard --help` does without

_KEYS = "/api/v1/keys"


class KeyCalls:
    """What the API says of keys and signatures."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def signed(self, version: Version) -> list[Signed]:
        """Who signed a version."""
        path = f"/api/v1/models/{version.model}/versions/{version.version}/provenance"
        return self._connection.get(path, list[Signed])

    def scanned(self, version: Version) -> list[Label]:
        """What a version's pickles call."""
        path = f"/api/v1/models/{version.model}/versions/{version.version}/scan"
        return self._connection.get(path, list[Label])

    def keys(self) -> list[Key]:
        """The public keys, oldest first."""
        return self._connection.get(_KEYS, list[Key])

    def rotate(self) -> list[Key]:
        """Make a new key."""
        return self._connection.send("POST", f"{_KEYS}/rotate", list[Key], {})

    def sign(self, model: str, version: int) -> list[Signed]:
        """Sign a version as it is now."""
        body: dict[str, Any] = {"model": model, "version": version}
        return self._connection.send("POST", f"{_KEYS}/sign", list[Signed], body)
