"""The route table: everything a front needs to answer, immutable and swapped whole."""

from __future__ import annotations

from msgspec import Struct

from modelyard.records.people import Grant
from modelyard.records.references import CHAMPION
from modelyard.records.signatures import Signature


class ServedVersion(Struct, frozen=True):
    """A checked version as serving sees it.

    Attributes:
        id: `department.name.version`.
        model: `department/name`.
        signature: its complete signature.
        replicas: how many workers answer for it.
        form: `native` or `portable`: which of the two its workers hold.
    """

    id: str
    model: str
    version: int
    language: str
    signature: Signature
    replicas: int = 1
    form: str = "native"


class ModelRoutes(Struct, frozen=True):
    """A model's aliases and checked versions."""

    aliases: dict[str, int]
    versions: dict[int, ServedVersion]

    @property
    def champion(self) -> ServedVersion | None:
        """The version that answers requests to the model itself."""
        number = self.aliases.get(CHAMPION)
        return None if number is None else self.versions.get(number)


class RouteTable(Struct, frozen=True):
    """All routes of the yard at one generation.

    Attributes:
        generation: grows by one with each change of routes or tokens.
        models: `department/name` to its routes.
        tokens: sha256 of a token's secret, in hex, to what it may do. Revoked ones are not there.
    """

    generation: int
    models: dict[str, ModelRoutes]
    tokens: dict[str, Grant]
