"""A registry and an engine that is not running: enough to decide one version's form, with real workers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import modelyard
from modelyard.catalog.registry import Registry
from modelyard.engine.engine import Engine
from modelyard.records.models import Version
from modelyard.settings import Settings
from modelyard.store.blobs import Blobs
from modelyard.store.database import Database
from modelyard.workers.local import LocalWorkers
from tests.bundles import TAR, tar_of
from tests.contract.hands import settings as node


class House:
    """A yard's parts on a folder.

    Args:
        changes: settings other than the node's.
    """

    def __init__(self, folder: Path, **changes: Any) -> None:
        self.settings: Settings = node(folder, **({"portable_seconds": 0.2} | changes))
        (folder / "scratch").mkdir()
        database = Database(f"sqlite:///{folder / 'yard.sqlite'}")
        database.upgrade()
        self.registry = Registry(database, Blobs(str(folder / "blobs")), folder / "scratch")
        self.workers = LocalWorkers(self.settings)
        self.engine = Engine(self.settings, self.registry, self.workers)
        self._bundle = folder / "bundle"
        self._database = database

    def decide(self, model: Any, example: Any, options: dict[str, Any] | None = None) -> Version:
        """Publish a model as the SDK does, take its check as passed, and decide its form; the record."""
        modelyard.save(model, self._bundle, example=example, options=options)
        return self.decide_bundle(self._bundle)

    def decide_bundle(self, folder: Path) -> Version:
        """Publish the bundle in a folder, take its check as passed, and decide its form; the record."""
        version = self.publish(folder)
        self.engine.portables.decide(version)
        assert self.workers.alive() == [], "the proof leaves no worker behind"
        assert not list((self.settings.data / "scratch").iterdir()), "nor a file"
        return self.registry.version(version.model, version.version)

    def publish(self, folder: Path) -> Version:
        """A checked version of the bundle in a folder."""
        files = {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
        model = "ops/tried"
        version, _ = self.registry.publish(model, [tar_of(files)], TAR, by="ann", may_create_department=True)
        return self.registry.checks.passed(model, version.version, version.bundle.signature)

    def close(self) -> None:
        """Let go of it."""
        self.engine.keeper.stop()
        self.engine.hub.close()
        self._database.close()
