"""The registry: models, their versions and aliases."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from modelyard.catalog.bundles import Limits
from modelyard.records.models import AliasChange, File, Model, Version
from modelyard.records.references import Reference
from modelyard.records.rollouts import RouteTable
from modelyard.records.signatures import Signature
from modelyard.store.blobs import Blobs
from modelyard.store.database import Database


class Registry:
    """Models, versions and aliases. Every method is one transaction.

    Args:
        database: upgraded already.
        blobs: where the versions' files are kept.
        scratch: a folder for bundles on their way in, made where it is not there.
        limits: of a bundle.

    Unless said otherwise methods raise NotFoundError for an unknown department, model, version or alias, and
    InvalidError for what is not a name.
    """

    def __init__(self, database: Database, blobs: Blobs, scratch: Path, limits: Limits | None = None) -> None:
        raise NotImplementedError

    def publish(  # noqa: PLR0913 - each is part of the request
        self,
        model: str,
        stream: Iterable[bytes],
        content_type: str,
        *,
        by: str,
        alias: str | None = None,
        why: str = "",
        may_create_department: bool = False,
    ) -> tuple[Version, bool]:
        """Keep a new version, unchecked, and whether it is new: the same content is the same version.

        The alias asked for is set when the version passes its check.

        Raises:
            InvalidError, MalformedError, TooLargeError: see `bundles.receive` and `bundles.read_bundle`.
        """
        raise NotImplementedError

    def version(self, model: str, number: int) -> Version:
        """One version."""
        raise NotImplementedError

    def resolve(self, reference: Reference) -> Version:
        """The version a reference means: its number, its alias, or the champion."""
        raise NotImplementedError

    def versions(self, model: str) -> list[Version]:
        """All versions of a model, newest first."""
        raise NotImplementedError

    def model(self, model: str) -> Model:
        """One model."""
        raise NotImplementedError

    def models(self, departments: frozenset[str] | None = None) -> list[Model]:
        """The models of these departments (None: of all), by name."""
        raise NotImplementedError

    def due_checks(self) -> list[Version]:
        """Versions to check, oldest first: the unchecked, and those `checking` (the caller knows its own)."""
        raise NotImplementedError

    def start_check(self, model: str, number: int) -> Version:
        """Mark a version as being checked.

        Raises:
            ConflictError: it is checked or failed already.
        """
        raise NotImplementedError

    def progress(self, model: str, number: int, words: str) -> None:
        """Say what a check is doing; ignored once it has ended."""
        raise NotImplementedError

    def pass_check(
        self, model: str, number: int, signature: Signature, form: str = "native", form_reason: str = ""
    ) -> Version:
        """Mark a version as checked, and set the aliases that waited for it, in the same transaction.

        The first checked version of a model becomes its champion. Nothing happens where it is checked already.

        Raises:
            ConflictError: its check failed before.
        """
        raise NotImplementedError

    def fail_check(self, model: str, number: int, reason: str, log: str = "") -> Version:
        """Keep why a check failed, and the end of the worker's log. Nothing happens where it failed already.

        Raises:
            ConflictError: it has passed its check.
        """
        raise NotImplementedError

    def set_alias(self, model: str, alias: str, number: int, *, by: str, why: str = "") -> AliasChange:
        """Point an alias to a version; where it points there already, the change that made it so.

        Raises:
            ConflictError: the version is not checked.
        """
        raise NotImplementedError

    def drop_alias(self, model: str, alias: str, *, by: str, why: str = "") -> AliasChange:
        """Remove an alias.

        Raises:
            ConflictError: it is the champion, without which requests have no answer.
        """
        raise NotImplementedError

    def rollback(self, model: str, *, by: str, why: str = "") -> AliasChange:
        """Champion back to what it was before.

        Raises:
            ConflictError: there is nothing before.
        """
        raise NotImplementedError

    def history(self, model: str) -> list[AliasChange]:
        """All alias changes of a model, newest first."""
        raise NotImplementedError

    def files(self, model: str, number: int) -> list[File]:
        """The files of a version, by path."""
        raise NotImplementedError

    def lay_out(self, version: Version, folder: Path) -> None:
        """Write a version's files into a folder; see `bundles.lay_out`."""
        raise NotImplementedError

    def route_table(self) -> RouteTable:
        """Everything a front needs, from one snapshot: checked versions, aliases, valid tokens.

        A model without a checked version is there too, with no versions.
        """
        raise NotImplementedError

    def generation(self) -> int:
        """Grows with each change of routes or tokens; the same number means the same route table."""
        raise NotImplementedError
