"""The registry: models, their versions and aliases."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

import msgspec
from sqlalchemy import Connection

from modelyard.catalog import bundles, champions, clock, looked_up, words
from modelyard.catalog.bundles import Limits, Received
from modelyard.catalog.capacities import Capacities
from modelyard.catalog.cards import Cards
from modelyard.catalog.checks import Checks
from modelyard.catalog.datasets import Datasets
from modelyard.catalog.descriptions import read_bundle
from modelyard.catalog.forms import PORTABLE, Forms
from modelyard.catalog.gates import Gates
from modelyard.catalog.policies import Policies
from modelyard.catalog.provenance import Provenance, Signer
from modelyard.catalog.refits import Refits
from modelyard.catalog.rollouts import Rollouts
from modelyard.catalog.scans import Scans
from modelyard.records.datasets import LINEAGE
from modelyard.records.errors import ConflictError, NotFoundError, UnavailableError
from modelyard.records.models import AliasChange, Bundle, File, Model, Version, VersionState
from modelyard.records.provenance import What
from modelyard.records.references import CHAMPION, Reference, check_name
from modelyard.records.rollouts import ModelRoutes, RouteTable, ServedVersion
from modelyard.store import (
    aliases,
    audit,
    capacities,
    datasets,
    departments,
    models,
    rights,
    rollouts,
    state,
    versions,
)
from modelyard.store.aliases import Cause
from modelyard.store.blobs import Blobs
from modelyard.store.database import Database
from modelyard.store.versions import Also, Wanted

_STALE = 24 * 3600  # seconds after which a bundle on its way in belongs to a process that died


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
        self._words: models.Known = {}
        self._served: dict[versions.Key, ServedVersion] = {}
        self.cards = Cards(database)
        self.scans = Scans(blobs, scratch)
        self.datasets = Datasets(database, blobs, scratch)
        self.provenance = Provenance(database, signer)
        self.forms = Forms(database, blobs, self.provenance)
        self.checks = Checks(database)
        self.refits = Refits(database)
        self.rollouts = Rollouts(database)
        self.gates = Gates(database)
        self.policies = Policies(database)
        self.capacities = Capacities(database)

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
        model = looked_up.model_name(model)
        wanted = Wanted(check_name(alias, "alias"), words.reason(why)) if alias else None
        with self._database.read() as connection:  # before the bytes come in, not after
            if not may_create_department and not departments.exists(connection, model.split("/")[0]):
                raise looked_up.unknown(model)
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
                created_at=clock.now(),
                created_by=by,
            )
            if existing := self._existing(version):
                return self._same(existing, also, by), False
            self._keep(received, folder)
        known = lineage or {}
        return self._add(version, received, wanted, known, also, may_create_department=may_create_department)

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
            if looked_up.held(connection, version.model, version.version).state is VersionState.FAILED:
                versions.change(connection, version.model, version.version, **fresh)
                audit.append(connection, by=by, action="version.recheck", subject=version.name)
            return looked_up.found(connection, version.model, version.version)

    def _keep(self, received: Received, folder: Path) -> None:
        for file in received.files:
            if self._blobs.put_file(folder / file.path) != (file.digest, file.size):
                message = f"{file.path} changed on the server while it was published."
                raise UnavailableError(message, "Publish again.")

    def _add(  # what comes in, what is wanted of it, and what the yard knows of it
        self,
        version: Version,
        received: Received,
        wanted: Wanted | None,
        known: Mapping[str, str],
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
            datasets.add_lineage(connection, model, number, _trained_on(connection, version, known))
            told = {"digest": version.digest, "size": version.size, "alias": wanted and wanted.alias}
            audit.append(connection, by=by, action="version.publish", subject=f"{model}/{number}", after=told)
            if is_new_model:
                state.bump_generation(connection)
            found = looked_up.found(connection, model, number)
            self.provenance.sign(connection, found, What.BUNDLE, found.digest)
            if also is not None:
                also(connection, found, is_new=True)
            return found, True

    # Reading

    def version(self, model: str, number: int) -> Version:
        """One version."""
        with self._database.read() as connection:
            return looked_up.found(connection, looked_up.model_name(model), number)

    def resolve(self, reference: Reference) -> Version:
        """The version a reference means: its number, its alias, or the champion."""
        if reference.version is not None:
            return self.version(reference.model, reference.version)
        alias = reference.alias or CHAMPION
        with self._database.read() as connection:
            number = aliases.of_model(connection, reference.model).get(alias)
            if number is None:
                looked_up.known(connection, reference.model)
                raise _no_alias(reference.model, alias)
            return looked_up.found(connection, reference.model, number)

    def versions(self, model: str, below: int | None = None, most: int | None = None) -> list[Version]:
        """The versions of a model, newest first: those under a number, and at most so many (None: all)."""
        with self._database.read() as connection:
            looked_up.known(connection, looked_up.model_name(model))
            return versions.of_model(connection, model, below, most)

    def model(self, model: str) -> Model:
        """One model."""
        with self._database.read() as connection:
            return looked_up.known(connection, looked_up.model_name(model))

    def models(
        self, departments: frozenset[str] | None = None, also: frozenset[str] = frozenset()
    ) -> list[Model]:
        """The models of these departments (None: of all), and those named beside, by name."""
        with self._database.read() as connection:
            return models.of_departments(connection, departments, also, self._words)

    def files(self, model: str, number: int) -> list[File]:
        """The files of a version, by path."""
        with self._database.read() as connection:
            looked_up.found(connection, looked_up.model_name(model), number)
            return versions.files(connection, model, number)

    def lay_out(self, version: Version, folder: Path) -> None:
        """Write a version's files into a folder; see `bundles.lay_out`."""
        files = self.files(version.model, version.version)
        if aside := bundles.lay_out(files, self._blobs, folder):
            self.provenance.tell_changed(version, aside)

    # Aliases

    def set_alias(self, model: str, alias: str, number: int, *, by: str, why: str = "") -> AliasChange:
        """Point an alias to a version; where it points there already, the change that made it so.

        Raises:
            ConflictError: the version is not checked.
        """
        check_name(alias, "alias")
        line = words.reason(why)
        with self._database.write() as connection:
            version = looked_up.held(connection, model, number)
            if version.state is not VersionState.CHECKED:
                raise _not_checked(version)
            before = aliases.of_model(connection, model).get(alias)
            if before == number:
                return aliases.last_change(connection, model, alias)
            change = AliasChange(model, alias, before, number, clock.now(), by, line)
            return _changed(connection, change, Cause.PERSON)

    def drop_alias(self, model: str, alias: str, *, by: str, why: str = "") -> AliasChange:
        """Remove an alias.

        Raises:
            ConflictError: it is the champion, without which requests have no answer.
        """
        check_name(alias, "alias")
        line = words.reason(why)
        with self._database.write() as connection:
            looked_up.lock(connection, model)
            before = aliases.of_model(connection, model).get(alias)
            if before is None:
                raise _no_alias(model, alias)
            if alias == CHAMPION:
                message = f"{model} answers through its champion, so that alias cannot be dropped."
                raise ConflictError(message, "Promote another version instead.")
            change = AliasChange(model, alias, before, None, clock.now(), by, line)
            return _changed(connection, change, Cause.PERSON)

    def rollback(self, model: str, *, by: str, why: str = "") -> AliasChange:
        """Champion back to what it was before; again, further back. `champions.before` has the rule.

        Raises:
            ConflictError: there is nothing before.
        """
        line = words.reason(why)
        with self._database.write() as connection:
            looked_up.lock(connection, model)
            number = _before(connection, model)
            before = aliases.of_model(connection, model).get(CHAMPION)
            change = AliasChange(model, CHAMPION, before, number, clock.now(), by, line)
            return _changed(connection, change, Cause.ROLLBACK)

    def rollback_target(self, model: str) -> int:
        """The version that a rollback would make champion now, so that it can be warmed first.

        Raises:
            ConflictError: there is nothing before.
        """
        with self._database.read() as connection:
            looked_up.known(connection, looked_up.model_name(model))
            return _before(connection, model)

    def history(self, model: str) -> list[AliasChange]:
        """All alias changes of a model, newest first."""
        with self._database.read() as connection:
            looked_up.known(connection, looked_up.model_name(model))
            return aliases.history(connection, model)

    # Routes

    def route_table(self) -> RouteTable:
        """Everything a front needs, from one snapshot: checked versions, aliases, valid tokens.

        A model without a checked version is there too, with no versions.
        """
        with self._database.read() as connection:
            pointers = aliases.of_all(connection)
            found: dict[str, dict[int, ServedVersion]] = {name: {} for name in models.names(connection)}
            self._served = versions.served(connection, self._served)
            for version in self._served.values():
                found[version.model][version.version] = version
            trials, demands = rollouts.trials(connection), capacities.demands(connection)
            return RouteTable(
                generation=state.generation(connection),
                models={
                    name: ModelRoutes(pointers.get(name, {}), own, trials.get(name), demands.get(name))
                    for name, own in found.items()
                },
                tokens=rights.grants(connection, clock.now()),
                untrusted=departments.untrusted(connection),
                graces=departments.graces(connection),
            )

    def generation(self) -> int:
        """Grows with each change of routes or tokens; the same number means the same route table."""
        with self._database.read() as connection:
            return state.generation(connection)


def _changed(connection: Connection, change: AliasChange, cause: Cause) -> AliasChange:
    aliases.change(connection, change, cause=cause)
    state.bump_generation(connection)
    return change


def _before(connection: Connection, model: str) -> int:
    steps = aliases.steps(connection, model, CHAMPION)
    number = champions.before(steps, versions.checked_numbers(connection, model))
    if number is None:
        message = f"{model} had no other champion before, so there is nothing to go back to."
        raise ConflictError(message, "Promote a version: yard promote DEPARTMENT/NAME/NUMBER.")
    return number


def _with_lineage(bundle: Bundle, lineage: Mapping[str, str]) -> Bundle:
    return msgspec.structs.replace(bundle, lineage={**bundle.lineage, **lineage})


def _trained_on(connection: Connection, version: Version, known: Mapping[str, str]) -> dict[str, str]:
    """The lineage that the yard acts on: what it knows itself, and of what the bundle says the datasets that
    the publisher may read. A bundle that names another's data learns nothing of it, nor whether it is there.
    """
    department, by, now = version.model.split("/")[0], version.created_by, clock.now()
    said = {
        key: number
        for key, number in version.bundle.lineage.items()
        if key.startswith(LINEAGE)
        and rights.may_read(connection, key.removeprefix(LINEAGE), department, by, now)
    }
    return {**said, **known}


def _sweep(scratch: Path) -> None:
    """Make the folder, and remove what processes that died left in it."""
    scratch.mkdir(parents=True, exist_ok=True)
    for left in scratch.glob("publish-*"):
        with suppress(FileNotFoundError):  # its publisher has just finished
            if left.stat().st_mtime < time.time() - _STALE:
                shutil.rmtree(left, ignore_errors=True)


def _no_alias(model: str, alias: str) -> NotFoundError:
    if alias == CHAMPION:
        hint = f"Its first version becomes champion when its check has passed: yard show {model}."
        return NotFoundError(f"{model} has no champion yet.", hint)
    return NotFoundError(f"{model} has no alias {alias}.", f"See what there is: yard show {model}.")


def _not_checked(version: Version) -> ConflictError:
    name = f"{version.model}/{version.version}"
    if version.state is VersionState.FAILED:
        hint = f"See why, and publish a new version: yard show {name}."
        return ConflictError(f"{name} failed its check, so no alias can point to it.", hint)
    hint = f"Wait until it is: yard show {name}."
    return ConflictError(f"{name} is not checked yet, so no alias can point to it.", hint)
