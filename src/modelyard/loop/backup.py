"""The duty of backing up: a backup at its time, and each week a drill that restores it to see it is whole."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

from modelyard.catalog.backups import Backups, back_up, drill, in_words, prune
from modelyard.records.backups import BackupReport
from modelyard.records.errors import YardError
from modelyard.settings import Settings
from modelyard.store.blobs import Blobs
from modelyard.store.database import Database
from modelyard.store.duties import Duty
from modelyard.store.vault import Vault

DRILL_EVERY = timedelta(days=7)
AGAIN_AFTER = timedelta(hours=1)  # where one failed
KIND, SUBJECT = "backup", "yard"


class BackupStep:
    """The step of the duty `backup`.

    Args:
        clock: what time it is.
    """

    def __init__(
        self,
        settings: Settings,
        database: Database,
        blobs: Blobs,
        release: str,
        clock: Callable[[], datetime],
    ) -> None:
        self._settings = settings
        self._database = database
        self._blobs = blobs
        self._release = release
        self._clock = clock
        self._runs = Backups(database)

    def __call__(self, _: Duty) -> datetime | None:
        """Make a backup, or the drill that is due; when the next is."""
        settings = self._settings
        if not settings.backup:
            return None
        every = timedelta(hours=settings.backup_every)
        state = self._runs.state()
        made, drilled = state.backup, state.drill
        if made is not None and made.at + every > self._clock():
            return made.at + every
        if not self._tried("backup", self._back_up):
            return self._clock() + min(AGAIN_AFTER, every)
        if drilled is None or drilled.at + DRILL_EVERY <= self._clock():
            self._tried("drill", self._drill)
        return self._clock() + every

    def _tried(self, kind: str, act: Callable[[], BackupReport]) -> bool:
        try:
            words, ok = in_words(kind, act()), True
        except YardError as error:
            words, ok = f"The {kind} failed: {error}", False
        self._runs.record(kind, self._clock(), words, ok=ok)
        return ok

    def _vault(self) -> Vault:
        return Vault(Path(self._settings.backup), self._settings.backup_passphrase, make=True)

    def _back_up(self) -> BackupReport:
        settings, vault = self._settings, self._vault()
        report = back_up(vault, self._database, self._blobs, settings.data, self._release, lambda _: None)
        prune(vault, settings.backup_keep)
        return report

    def _drill(self) -> BackupReport:
        return drill(self._vault(), self._settings.data / "scratch", lambda _: None)
