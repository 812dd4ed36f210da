"""Checks: a version is loaded and asked its example before it may serve; what came of it is kept here."""

from __future__ import annotations

from sqlalchemy import Connection

from modelyard.catalog import clock, looked_up, words
from modelyard.records.audit import YARD
from modelyard.records.errors import ConflictError
from modelyard.records.models import AliasChange, Version, VersionState
from modelyard.records.references import CHAMPION
from modelyard.records.signatures import Signature, check_signature
from modelyard.store import aliases, audit, state, versions
from modelyard.store.aliases import Cause, Step
from modelyard.store.database import Database

_MAX_REASON = 4_000  # characters of why a check failed
_MAX_PROGRESS = 500
_FIRST = "the first version that passed its check"
_ASKED = "asked for when it was published"


class Checks:
    """Checks of versions: which are due, and how they went. Every method is one transaction.

    Methods raise NotFoundError for a version that is not there.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def due(self) -> list[Version]:
        """Versions to check, oldest first: the unchecked, and those `checking`.

        The caller knows which of the latter are its own; the others were left behind by an engine that
        died. Their `aliases` are not filled in: there are none before the check.
        """
        with self._database.read() as connection:
            return versions.due(connection)

    def start(self, model: str, number: int) -> Version:
        """Mark a version as being checked.

        Raises:
            ConflictError: it is checked or failed already.
        """
        with self._database.write(unaudited="its end is") as connection:
            version = looked_up.held(connection, model, number)
            if version.state in (VersionState.CHECKED, VersionState.FAILED):
                raise _ended(version)
            versions.change(connection, model, number, state=VersionState.CHECKING, progress="")
            return looked_up.found(connection, model, number)

    def progress(self, model: str, number: int, words: str) -> None:
        """Say what a check is doing; ignored once it has ended."""
        line = _line(words, _MAX_PROGRESS)
        with self._database.write(unaudited="passing words") as connection:
            versions.say_progress(connection, looked_up.model_name(model), number, line)

    def passed(
        self, model: str, number: int, signature: Signature, form: str = "native", form_reason: str = ""
    ) -> Version:
        """Mark a version as checked, and set the aliases that waited for it, in the same transaction.

        The first checked version of a model becomes its champion. Nothing happens where it is checked
        already.

        Raises:
            ConflictError: its check failed before.
        """
        check_signature(signature)
        with self._database.write() as connection:
            version = looked_up.held(connection, model, number)
            if version.state is VersionState.CHECKED:
                return version
            if version.state is VersionState.FAILED:
                raise _ended(version)
            why = _line(form_reason, _MAX_REASON)
            told = {"state": VersionState.CHECKED, "progress": "", "form": form, "form_reason": why}
            versions.change(connection, model, number, **told)
            versions.complete(connection, version, signature)
            _tell_check(connection, version, VersionState.CHECKED)
            _point_waiting(connection, version)
            state.bump_generation(connection)
            return looked_up.found(connection, model, number)

    def failed(self, model: str, number: int, reason: str, log: str = "") -> Version:
        """Keep why a check failed, and the end of the worker's log. Nothing happens where it failed already.

        Raises:
            ConflictError: it has passed its check.
        """
        with self._database.write() as connection:
            version = looked_up.held(connection, model, number)
            if version.state is VersionState.FAILED:
                return version
            if version.state is VersionState.CHECKED:
                raise _ended(version)
            told = {"reason": words.output(reason, _MAX_REASON), "log": words.output(log), "progress": ""}
            versions.change(connection, model, number, state=VersionState.FAILED, **told)
            _tell_check(connection, version, VersionState.FAILED, told["reason"])
            return looked_up.found(connection, model, number)


def _line(text: str, limit: int) -> str:
    return " ".join(words.output(text, limit).split())


def _tell_check(connection: Connection, version: Version, state: VersionState, reason: str = "") -> None:
    audit.append(
        connection,
        by=YARD,
        action="version.check",
        subject=version.name,
        before={"state": version.state},
        after={"state": state, "reason": reason},
    )


def _point_waiting(connection: Connection, version: Version) -> None:
    """Champion, where there is none; and the alias asked for, unless it has gone on since."""
    pointers = aliases.of_model(connection, version.model)
    wished = {} if CHAMPION in pointers else {CHAMPION: _FIRST}
    wanted = versions.wanted(connection, version.model, version.version)
    if wanted and not _gone_on(aliases.steps(connection, version.model, wanted.alias), version):
        wished[wanted.alias] = wanted.why or _ASKED
    for alias, why in wished.items():
        change = AliasChange(
            version.model, alias, pointers.get(alias), version.version, clock.now(), version.created_by, why
        )
        aliases.change(connection, change, cause=Cause.CHECK)


def _gone_on(steps: list[Step], version: Version) -> bool:
    """Whether an alias points to a newer version, or was changed by a person after this one was published."""
    by_hand = any(step.at > version.created_at for step in steps if step.cause is not Cause.CHECK)
    return by_hand or (bool(steps) and (steps[-1].after or 0) > version.version)


def _ended(version: Version) -> ConflictError:
    name = f"{version.model}/{version.version}"
    message = f"The check of {name} has ended: it is {version.state}."
    return ConflictError(message, "Publish changed content as a new version.")
