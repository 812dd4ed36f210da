"""The registry: models, their versions and aliases."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from sqlalchemy import Connection

from modelyard.catalog import bundles, champions, words
from modelyard.catalog.bundles import Limits, Received
from modelyard.catalog.cards import Cards
from modelyard.catalog.datasets import Datasets
from modelyard.catalog.descriptions import read_bundle
from modelyard.catalog.forms import PORTABLE, Forms
from modelyard.catalog.gates import Gates
from modelyard.catalog.policies import Policies
from modelyard.catalog.provenance import Provenance, Signer
from modelyard.catalog.refits import Refits
from modelyard.catalog.rollouts import Rollouts
from modelyard.catalog.scans import Scans
from modelyard.records.audit import YARD
from modelyard.records.errors import ConflictError, NotFoundError, UnavailableError
from modelyard.records.models import AliasChange, Bundle, File, Model, Version, VersionState
from modelyard.records.provenance import What
from modelyard.records.references import CHAMPION, Reference, check_name
from modelyard.records.rollouts import ModelRoutes, RouteTable, ServedVersion
from modelyard.records.signatures import Signature, check_signature
from modelyard.store import aliases, audit, departments, models, rights, rollouts, state, versions
from modelyard.store.aliases import Cause, Step
from modelyard.store.blobs import Blobs
from modelyard.store.database import Database
from modelyard.store.versions import Also, Wanted

_MAX_REASON = 4_000  # characters of why a check failed
_MAX_PROGRESS = 500
_MAX_NUMBER = 999_999_999
_STALE = 24 * 3600  # seconds after which a bundle on its way in belongs to a process that died
_FIRST = "the first version that passed its check"
_ASKED = "asked for when it was published"


class Registry:
    """Models, versions and aliases. Every method is one transaction.

    Args:
        database: upgraded already.
        blobs: where the versions' files are kept.
        scratch: a folder for bundles on their way in, made where it is not there.
        limits: of a bundle.
        signer: signs versions; see `catalog.provenance`.

    Unless said otherwise methods raise NotFoundError for an unknown department, model, version or alias,
    and InvalidError for what is not a name.
    """

    def __init__(
        self,
        database: Database,
        blobs: Blobs,
        scratch: Path,
        limits: Limits | None = None,
        signer: Signer | None = None,
    ) -> None:
        self._database = database
        self._blobs = blobs
        self._scratch = scratch
        self._limits = limits or Limits()
        self.cards = Cards(database)
        self.scans = Scans(blobs, scratch)
        self.datasets = Datasets(database, blobs, scratch)
        self.provenance = Provenance(database, signer)
        self.forms = Forms(database, blobs, self.provenance)
        self.refits = Refits(database)
        self.rollouts = Rollouts(database)
        self.gates = Gates(database)
        self.policies = Policies(database)

    # Publishing

    def publish(  # noqa: PLR0913  # what is said of a version, by name
        self,
        model: str,
        stream: Iterable[bytes],
        content_type: str,
        *,
        by: str,
        alias: str | None = None,
        why: str = "",
        may_create_department: bool = False,
        lineage: Mapping[str, str] | None = None,
        also: Also | None = None,
    ) -> tuple[Version, bool]:
        """Keep a new version, unchecked, and whether it is new: the same content is the same version.

        The alias asked for is set when the version passes its check, unless it has gone on by then: to a
        newer version, or by a person's hand (a rollback during a long check is not undone by it). Where the
        content is there, nothing changes, the alias neither; but a version that failed its check is checked
        again, for the cause may have been the server's (a language or package that was missing).

        Args:
            lineage: what the yard itself knows of where it comes from, beside what the bundle says.
            also: what belongs to the same transaction.

        Raises:
            InvalidError, MalformedError, TooLargeError: see `bundles.receive` and `read_bundle`.
        """
        model = _model(model)
        wanted = Wanted(check_name(alias, "alias"), words.reason(why)) if alias else None
        with self._database.read() as connection:  # before the bytes come in, not after
            if not may_create_department and not departments.exists(connection, model.split("/")[0]):
                raise _unknown(model)
        _sweep(self._scratch)
        with tempfile.TemporaryDirectory(dir=self._scratch, prefix="publish-") as own:
            folder = Path(own) / "bundle"
            received = bundles.receive(stream, content_type, folder, self._limits)
            version = Version(
                model=model,
                version=0,
                digest=received.digest,
                bundle=_with_lineage(read_bundle(folder), lineage or {}),
                state=VersionState.UNCHECKED,
                size=received.size,
                created_at=_now(),
                created_by=by,
            )
            if existing := self._existing(version):
                return self._same(existing, also, by), False
            self._keep(received, folder)
        return self._add(version, received, wanted, also, may_create_department=may_create_department)

    def _existing(self, version: Version) -> Version | None:
        with self._database.read() as connection:
            return versions.by_digest(connection, version.model, version.digest)

    def _same(self, version: Version, also: Also | None, by: str) -> Version:
        """The version that is there already."""
        found = self._once_more(version, by)
        if also is not None:
            with self._database.write(unaudited="what is done with it tells it") as connection:
                also(connection, found, is_new=False)
        return found

    def _once_more(self, version: Version, by: str) -> Version:
        """The version itself, unchecked again if it had failed."""
        if version.state is not VersionState.FAILED:
            return version
        with self._database.write() as connection:
            fresh = {"state": VersionState.UNCHECKED, "reason": "", "log": "", "progress": ""}
            if _held(connection, version.model, version.version).state is VersionState.FAILED:
                versions.change(connection, version.model, version.version, **fresh)
                audit.append(connection, by=by, action="version.recheck", subject=version.name)
            return _found(connection, version.model, version.version)

    def _keep(self, received: Received, folder: Path) -> None:
        for file in received.files:
            if self._blobs.put_file(folder / file.path) != (file.digest, file.size):
                message = f"{file.path} changed on the server while it was published."
                raise UnavailableError(message, "Publish again.")

    def _add(
        self,
        version: Version,
        received: Received,
        wanted: Wanted | None,
        also: Also | None,
        *,
        may_create_department: bool,
    ) -> tuple[Version, bool]:
        model, department = version.model, version.model.split("/")[0]
        by, at = version.created_by, version.created_at
        with self._database.write() as connection:
            if may_create_department:
                departments.add(connection, department, by=by, at=at)
            is_new_model = models.add(connection, model, by=by, at=at)
            models.lock(connection, model)
            if version.bundle.language != PORTABLE:
                departments.need_trust(connection, department)
            if existing := versions.by_digest(connection, model, version.digest):
                if also is not None:
                    also(connection, existing, is_new=False)
                return existing, False
            number = models.next_number(connection, model)
            versions.add(connection, version, number, received.files, wanted)
            told = {"digest": version.digest, "size": version.size, "alias": wanted and wanted.alias}
            audit.append(connection, by=by, action="version.publish", subject=f"{model}/{number}", after=told)
            if is_new_model:
                state.bump_generation(connection)
            found = _found(connection, model, number)
            self.provenance.sign(connection, found, What.BUNDLE, found.digest)
            if also is not None:
                also(connection, found, is_new=True)
            return found, True

    # Reading

    def version(self, model: str, number: int) -> Version:
        """One version."""
        with self._database.read() as connection:
            return _found(connection, _model(model), number)

    def resolve(self, reference: Reference) -> Version:
        """The version a reference means: its number, its alias, or the champion."""
        if reference.version is not None:
            return self.version(reference.model, reference.version)
        alias = reference.alias or CHAMPION
        with self._database.read() as connection:
            number = aliases.of_model(connection, reference.model).get(alias)
            if number is None:
                _known(connection, reference.model)
                raise _no_alias(reference.model, alias)
            return _found(connection, reference.model, number)

    def versions(self, model: str, below: int | None = None, most: int | None = None) -> list[Version]:
        """The versions of a model, newest first: those under a number, and at most so many (None: all)."""
        with self._database.read() as connection:
            _known(connection, _model(model))
            return versions.of_model(connection, model, below, most)

    def model(self, model: str) -> Model:
        """One model."""
        with self._database.read() as connection:
            return _known(connection, _model(model))

    def models(
        self, departments: frozenset[str] | None = None, also: frozenset[str] = frozenset()
    ) -> list[Model]:
        """The models of these departments (None: of all), and those named beside, by name."""
        with self._database.read() as connection:
            return models.of_departments(connection, departments, also)

    def files(self, model: str, number: int) -> list[File]:
        """The files of a version, by path."""
        with self._database.read() as connection:
            _found(connection, _model(model), number)
            return versions.files(connection, model, number)

    def lay_out(self, version: Version, folder: Path) -> None:
        """Write a version's files into a folder; see `bundles.lay_out`."""
        files = self.files(version.model, version.version)
        if aside := bundles.lay_out(files, self._blobs, folder):
            self.provenance.tell_changed(version, aside)

    # Checks

    def due_checks(self) -> list[Version]:
        """Versions to check, oldest first: the unchecked, and those `checking`.

        The caller knows which of the latter are its own; the others were left behind by an engine that
        died. Their `aliases` are not filled in: there are none before the check.
        """
        with self._database.read() as connection:
            return versions.due(connection)

    def start_check(self, model: str, number: int) -> Version:
        """Mark a version as being checked.

        Raises:
            ConflictError: it is checked or failed already.
        """
        with self._database.write(unaudited="its end is") as connection:
            version = _held(connection, model, number)
            if version.state in (VersionState.CHECKED, VersionState.FAILED):
                raise _ended(version)
            versions.change(connection, model, number, state=VersionState.CHECKING, progress="")
            return _found(connection, model, number)

    def progress(self, model: str, number: int, words: str) -> None:
        """Say what a check is doing; ignored once it has ended."""
        line = _line(words, _MAX_PROGRESS)
        with self._database.write(unaudited="passing words") as connection:
            versions.say_progress(connection, _model(model), number, line)

    def pass_check(
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
            version = _held(connection, model, number)
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
            return _found(connection, model, number)

    def fail_check(self, model: str, number: int, reason: str, log: str = "") -> Version:
        """Keep why a check failed, and the end of the worker's log. Nothing happens where it failed already.

        Raises:
            ConflictError: it has passed its check.
        """
        with self._database.write() as connection:
            version = _held(connection, model, number)
            if version.state is VersionState.FAILED:
                return version
            if version.state is VersionState.CHECKED:
                raise _ended(version)
            told = {"reason": words.output(reason, _MAX_REASON), "log": words.output(log), "progress": ""}
            versions.change(connection, model, number, state=VersionState.FAILED, **told)
            _tell_check(connection, version, VersionState.FAILED, told["reason"])
            return _found(connection, model, number)

    # Aliases

    def set_alias(self, model: str, alias: str, number: int, *, by: str, why: str = "") -> AliasChange:
        """Point an alias to a version; where it points there already, the change that made it so.

        Raises:
            ConflictError: the version is not checked.
        """
        check_name(alias, "alias")
        line = words.reason(why)
        with self._database.write() as connection:
            version = _held(connection, model, number)
            if version.state is not VersionState.CHECKED:
                raise _not_checked(version)
            before = aliases.of_model(connection, model).get(alias)
            if before == number:
                return aliases.last_change(connection, model, alias)
            change = AliasChange(model, alias, before, number, _now(), by, line)
            return _changed(connection, change, Cause.PERSON)

    def drop_alias(self, model: str, alias: str, *, by: str, why: str = "") -> AliasChange:
        """Remove an alias.

        Raises:
            ConflictError: it is the champion, without which requests have no answer.
        """
        check_name(alias, "alias")
        line = words.reason(why)
        with self._database.write() as connection:
            _lock(connection, model)
            before = aliases.of_model(connection, model).get(alias)
            if before is None:
                raise _no_alias(model, alias)
            if alias == CHAMPION:
                message = f"{model} answers through its champion, so that alias cannot be dropped."
                raise ConflictError(message, "Promote another version instead.")
            change = AliasChange(model, alias, before, None, _now(), by, line)
            return _changed(connection, change, Cause.PERSON)

    def rollback(self, model: str, *, by: str, why: str = "") -> AliasChange:
        """Champion back to what it was before; again, further back. `champions.before` has the rule.

        Raises:
            ConflictError: there is nothing before.
        """
        line = words.reason(why)
        with self._database.write() as connection:
            _lock(connection, model)
            number = _before(connection, model)
            before = aliases.of_model(connection, model).get(CHAMPION)
            change = AliasChange(model, CHAMPION, before, number, _now(), by, line)
            return _changed(connection, change, Cause.ROLLBACK)

    def rollback_target(self, model: str) -> int:
        """The version that a rollback would make champion now, so that it can be warmed first.

        Raises:
            ConflictError: there is nothing before.
        """
        with self._database.read() as connection:
            _known(connection, _model(model))
            return _before(connection, model)

    def history(self, model: str) -> list[AliasChange]:
        """All alias changes of a model, newest first."""
        with self._database.read() as connection:
            _known(connection, _model(model))
            return aliases.history(connection, model)

    # Routes

    def route_table(self) -> RouteTable:
        """Everything a front needs, from one snapshot: checked versions, aliases, valid tokens.

        A model without a checked version is there too, with no versions.
        """
        with self._database.read() as connection:
            pointers = aliases.of_all(connection)
            found: dict[str, dict[int, ServedVersion]] = {name: {} for name in models.names(connection)}
            for version in versions.served(connection):
                found[version.model][version.version] = version
            trials = rollouts.trials(connection)
            return RouteTable(
                generation=state.generation(connection),
                models={
                    name: ModelRoutes(pointers.get(name, {}), own, trials.get(name))
                    for name, own in found.items()
                },
                tokens=rights.grants(connection, _now()),
                untrusted=departments.untrusted(connection),
                graces=departments.graces(connection),
            )

    def generation(self) -> int:
        """Grows with each change of routes or tokens; the same number means the same route table."""
        with self._database.read() as connection:
            return state.generation(connection)


def _now() -> datetime:
    return datetime.now(UTC)


def _model(text: str) -> str:
    department, _, name = text.partition("/")
    return f"{check_name(department, 'department')}/{check_name(name, 'model name')}"


def _line(text: str, limit: int) -> str:
    return " ".join(words.output(text, limit).split())


def _lock(connection: Connection, model: str) -> None:
    if not models.lock(connection, _model(model)):
        raise _unknown(model)


def _held(connection: Connection, model: str, number: int) -> Version:
    """A version of a model that stays locked until the transaction ends."""
    _lock(connection, model)
    return _found(connection, model, number)


def _known(connection: Connection, model: str) -> Model:
    if found := models.get(connection, model):
        return found
    raise _unknown(model)


def _found(connection: Connection, model: str, number: int) -> Version:
    found = versions.get(connection, model, number) if 1 <= number <= _MAX_NUMBER else None
    if found is None:
        _known(connection, model)
        raise NotFoundError(f"{model} has no version {number}.", f"See what there is: yard show {model}.")
    return found


def _changed(connection: Connection, change: AliasChange, cause: Cause) -> AliasChange:
    aliases.change(connection, change, cause=cause)
    state.bump_generation(connection)
    return change


def _tell_check(connection: Connection, version: Version, state: VersionState, reason: str = "") -> None:
    audit.append(
        connection,
        by=YARD,
        action="version.check",
        subject=version.name,
        before={"state": version.state},
        after={"state": state, "reason": reason},
    )


def _before(connection: Connection, model: str) -> int:
    steps = aliases.steps(connection, model, CHAMPION)
    number = champions.before(steps, versions.checked_numbers(connection, model))
    if number is None:
        message = f"{model} had no other champion before, so there is nothing to go back to."
        raise ConflictError(message, "Promote a version: yard promote DEPARTMENT/NAME/NUMBER.")
    return number


def _point_waiting(connection: Connection, version: Version) -> None:
    """Champion, where there is none; and the alias asked for, unless it has gone on since."""
    pointers = aliases.of_model(connection, version.model)
    wished = {} if CHAMPION in pointers else {CHAMPION: _FIRST}
    wanted = versions.wanted(connection, version.model, version.version)
    if wanted and not _gone_on(aliases.steps(connection, version.model, wanted.alias), version):
        wished[wanted.alias] = wanted.why or _ASKED
    for alias, why in wished.items():
        change = AliasChange(
            version.model, alias, pointers.get(alias), version.version, _now(), version.created_by, why
        )
        aliases.change(connection, change, cause=Cause.CHECK)


def _gone_on(steps: list[Step], version: Version) -> bool:
    """Whether an alias points to a newer version, or was changed by a person after this one was published."""
    by_hand = any(step.at > version.created_at for step in steps if step.cause is not Cause.CHECK)
    return by_hand or (bool(steps) and (steps[-1].after or 0) > version.version)


def _with_lineage(bundle: Bundle, lineage: Mapping[str, str]) -> Bundle:
    return msgspec.structs.replace(bundle, lineage={**bundle.lineage, **lineage})


def _sweep(scratch: Path) -> None:
    """Make the folder, and remove what processes that died left in it."""
    scratch.mkdir(parents=True, exist_ok=True)
    for left in scratch.glob("publish-*"):
        with suppress(FileNotFoundError):  # its publisher has just finished
            if left.stat().st_mtime < time.time() - _STALE:
                shutil.rmtree(left, ignore_errors=True)


def _unknown(model: str) -> NotFoundError:
    return NotFoundError(f"There is no model {model}.", "See what there is: yard models.")


def _no_alias(model: str, alias: str) -> NotFoundError:
    if alias == CHAMPION:
        hint = f"Its first version becomes champion when its check has passed: yard show {model}."
        return NotFoundError(f"{model} has no champion yet.", hint)
    return NotFoundError(f"{model} has no alias {alias}.", f"See what there is: yard show {model}.")


def _ended(version: Version) -> ConflictError:
    name = f"{version.model}/{version.version}"
    message = f"The check of {name} has ended: it is {version.state}."
    return ConflictError(message, "Publish changed content as a new version.")


def _not_checked(version: Version) -> ConflictError:
    name = f"{version.model}/{version.version}"
    if version.state is VersionState.FAILED:
        hint = f"See why, and publish a new version: yard show {name}."
        return ConflictError(f"{name} failed its check, so no alias can point to it.", hint)
    hint = f"Wait until it is: yard show {name}."
    return ConflictError(f"{name} is not checked yet, so no alias can point to it.", hint)
