"""`yard upgrade`: a yard's data to this release, with a backup before, a look after, and a way back.

Schemas grow before they shrink (`store/migrations`), so there are two ways back. A yard that nobody else
works on gets its database as it was in the backup. Where other nodes go on with it meanwhile, putting it back
would lose what they have written: it is left, for they can go on with it as it is.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Literal

import msgspec
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from msgspec import Struct

from modelyard import __version__
from modelyard.app.records import open_records
from modelyard.catalog import backups
from modelyard.catalog.audit import Audit
from modelyard.catalog.registry import Registry
from modelyard.engine.checks import answers_example
from modelyard.engine.engine import Engine
from modelyard.loop.tick import now
from modelyard.records.errors import ConflictError, EnvironmentBuildError, NotFoundError, YardError
from modelyard.records.rollouts import RouteTable, ServedVersion
from modelyard.serving.table import load_table, save_table
from modelyard.settings import Settings
from modelyard.store.blobs import Blobs
from modelyard.store.database import Database
from modelyard.store.migrations import HEAD, REVISIONS, SERVES_FROM
from modelyard.store.schema import metadata
from modelyard.store.vault import Vault
from modelyard.up import take_folder
from modelyard.workers.local import LocalWorkers

Say = Callable[[str], None]
What = Literal["schema", "routes", "models", "audit"]
_TRIES = 3  # champions of a kind that are asked until one answers


class Check(Struct, frozen=True):
    """One thing that was looked at after the upgrade: whether it is well, and in words what was found."""

    what: What
    ok: bool
    words: str


class Report(Struct, frozen=True, kw_only=True):
    """What came of it.

    Attributes:
        outcome: `upgraded`; `nothing-to-do`, and all was looked at; `went-back`, to the backup; `left`: all
            is not well, but other nodes work with the new schema, or the caller wanted it kept.
        before, after: the schema's revision.
        backup: the name of the backup that was made before, or "".
    """

    outcome: Literal["upgraded", "nothing-to-do", "went-back", "left"]
    before: str
    after: str
    backup: str
    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        """Whether all is well."""
        return all(check.ok for check in self.checks)


def upgrade(settings: Settings, vault: Callable[[], Vault], say: Say, *, keep: bool = False) -> Report:
    """Bring a yard's data to this release; the yard must not run on this node.

    Args:
        vault: opens the place of the backup; called where there is something to migrate.
        say: hears what is being done.
        keep: whether the new schema stays even where all is not well afterwards.

    Raises:
        ConflictError: the yard runs here, its data is of a newer release, or other nodes run that cannot go
            on with the new schema.
        NotFoundError: there is no yard.
        YardError: the backup or the migration fails; all is as it was.
    """
    with contextlib.closing(take_folder(settings)):
        database, blobs, registry = open_records(settings)
        try:
            return _upgrade(settings, _Parts(database, blobs, registry), vault, say, keep=keep)
        finally:
            database.close()


class _Parts(Struct, frozen=True):
    database: Database
    blobs: Blobs
    registry: Registry


def _upgrade(
    settings: Settings, parts: _Parts, vault: Callable[[], Vault], say: Say, *, keep: bool
) -> Report:
    before = _revision(parts.database)
    if before == HEAD:
        say(f"The data is of this release already (schema {HEAD}).")
        checks = _look(settings, parts, say)
        return Report(outcome="nothing-to-do", before=before, after=HEAD, backup="", checks=checks)
    others = _others(parts.database, before)
    place = vault()
    say(f"1 of 3: backing up to {place.folder}.")
    made = backups.back_up(place, parts.database, parts.blobs, settings.data, __version__, say)
    say(f"2 of 3: bringing the data from schema {before} to {HEAD}.")
    _migrate(parts.database, before)
    checks = _look(settings, parts, say, "3 of 3: ")
    report = Report(outcome="upgraded", before=before, after=HEAD, backup=made.name, checks=checks)
    if report.ok:
        words = backups.in_words("backup", made)
        backups.Backups(parts.database).record("backup", now(), words, ok=True)
        return report
    for check in report.checks:
        if not check.ok:
            say(f"Not well: {check.words}")
    parts.database.close()  # our own connections would count
    if keep or others or parts.database.others():
        why = "as --keep asked" if keep else "for other nodes work with it, and can go on with it"
        say(f"The data stays at schema {HEAD}, {why}.")
        return msgspec.structs.replace(report, outcome="left")
    say(f"Going back: the database becomes what it was in the backup {report.backup}.")
    backups.put_back(place, report.backup, parts.database, settings.data / "scratch")
    settings.routes_file.unlink(missing_ok=True)  # the older release builds its own
    return msgspec.structs.replace(report, outcome="went-back", after=before)


def _migrate(database: Database, before: str) -> None:
    try:
        database.upgrade()
    except Exception as error:
        why = error.message if isinstance(error, YardError) else f"{str(error).splitlines()[0]}."
        raise ConflictError(
            f"The data cannot be brought to schema {HEAD}, and is as it was (schema {before}): {why}",
            "Install the release you had before and start the yard; report the words above.",
        ) from error


def _revision(database: Database) -> str:
    found = database.revision()
    if found is None:
        raise NotFoundError(f"There is no yard in {database.shown}.", "Make one: yard up.")
    if found not in REVISIONS:
        raise ConflictError(
            f"The data is of a newer release (schema {found}, this one knows {HEAD}).",
            "Install that release, or restore the backup made before the upgrade: yard restore.",
        )
    return found


def _others(database: Database, before: str) -> int:
    """How many connections other nodes have."""
    database.close()  # ours would count
    others = database.others()
    if others and before < SERVES_FROM:
        raise ConflictError(
            f"Other nodes run, of a release that cannot go on with this one's schema (they have {before}; it "
            f"takes {SERVES_FROM}).",
            "Stop all nodes, or upgrade by way of the releases between.",
        )
    return others


def _look(settings: Settings, parts: _Parts, say: Say, step: str = "") -> tuple[Check, ...]:
    """Whether what is there can be worked with: each check in turn, also after one that fails."""
    say(f"{step}looking whether all is well.")
    looks: dict[What, Callable[[], str]] = {
        "schema": lambda: _schema(parts.database),
        "routes": lambda: _routes(settings, parts.registry),
        "models": lambda: _models(settings, parts.registry),
        "audit": lambda: _audit(settings, parts.database),
    }
    checks = []
    for what, look in looks.items():
        try:
            checks.append(Check(what, ok=True, words=look()))
        except Exception as error:  # noqa: BLE001 - whatever it is, the way back is the same
            words = str(error) if isinstance(error, YardError) else f"{type(error).__name__}: {error}"
            checks.append(Check(what, ok=False, words=words))
        say(f"  {what}: {checks[-1].words}")
    return tuple(checks)


def _schema(database: Database) -> str:
    with database.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        differences = compare_metadata(context, metadata)
    if differences:
        raise ConflictError(f"The schema is not this release's: {differences[0]}.")
    return f"{len(metadata.tables)} tables, as this release has them (schema {HEAD})"


def _routes(settings: Settings, registry: Registry) -> str:
    """Builds them, as the engine does, and keeps them for a start without the database."""
    table = registry.route_table()
    save_table(table, settings.routes_file)
    if load_table(settings.routes_file) != table:
        raise ConflictError("The route table comes back from the disk otherwise than it was written.")
    versions = sum(len(routes.versions) for routes in table.models.values())
    return f"{len(table.models)} models, {versions} checked versions, {len(table.tokens)} tokens and sessions"


def _models(settings: Settings, registry: Registry) -> str:
    """Of each language and form one champion answers its example; one model may be broken by itself."""
    (settings.data / "bundles").mkdir(exist_ok=True)
    kinds: dict[str, list[ServedVersion]] = {}
    for champion in _champions(registry.route_table()):
        kinds.setdefault(f"{champion.language} ({champion.form})", []).append(champion)
    with contextlib.closing(Engine(settings, registry, LocalWorkers(settings))) as engine:
        answered = [
            _one_answers(engine, registry, kind, found, settings.answer_timeout)
            for kind, found in sorted(kinds.items())
        ]
    return "; ".join(answered) or "none has a champion yet"


def _champions(table: RouteTable) -> Iterator[ServedVersion]:
    return (routes.champion for routes in table.models.values() if routes.champion is not None)


def _one_answers(
    engine: Engine, registry: Registry, kind: str, champions: list[ServedVersion], timeout: float
) -> str:
    failed = ""
    for served in islice(champions, _TRIES):
        try:
            version = registry.version(served.model, served.version)
            with engine.apart(version) as worker:
                answers_example(worker, version.bundle.signature, timeout)
        except EnvironmentBuildError as error:  # a language or a package of this machine
            return f"{kind}: not asked, for {served.id} cannot be started here ({error.message})"
        except YardError as error:
            failed = failed or f"{served.id}: {error}"
        else:
            return f"{kind}: {version.name} answers its example"
    raise ConflictError(f"No model in {kind} answers its example. {failed}")


def _audit(settings: Settings, database: Database) -> str:
    verified = Audit(database, settings.checkpoint_file).verify()
    if verified.faults:
        fault = verified.faults[0]
        raise ConflictError(f"The audit is not what was written: entry {fault.number} {fault.words}.")
    return f"{verified.entries} entries, each chained to the one before"


def vault_of(settings: Settings, folder: str | None, passphrase: str = "") -> Vault:
    """The place of backups that was given, or that the yard's own backups go to.

    Raises:
        NotFoundError: neither is there.
    """
    if not folder and not settings.backup:
        raise NotFoundError(
            "Nothing says where the backup goes that is made before.",
            "Give a folder, best on another disk: yard upgrade /mnt/backups. Or set YARD_BACKUP.",
        )
    if folder:
        return Vault(Path(folder), passphrase, make=True)
    return Vault(Path(settings.backup), passphrase or settings.backup_passphrase, make=True)
