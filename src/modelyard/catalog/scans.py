"""What a bundle's pickles call when they are loaded: a label, read in a process apart."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path

from modelyard.catalog import bundles
from modelyard.records.models import File
from modelyard.records.provenance import Label
from modelyard.store.blobs import Blobs
from modelyard.store.folder import disk_error
from modelyard.workers.clerk import Clerk
from modelyard.workers.tables.tasks import Scan, Scanned

_REMEMBERED = 256
_SECONDS = 60.0
_MEMORY = 1 << 30  # bytes


class Scans:
    """Labels of bundles.

    Args:
        scratch: a folder for what is only needed for a moment; the process sees nothing else beside it.
    """

    def __init__(self, blobs: Blobs, scratch: Path) -> None:
        self._blobs = blobs
        self._scratch = scratch
        self._clerk = Clerk(scratch.parent, _SECONDS, _MEMORY)
        self._known: dict[str, tuple[Label, ...]] = {}

    def labels(self, files: Iterable[File]) -> tuple[Label, ...]:
        """What the pickles among these files call, by file and name.

        Raises:
            YardError: a blob is damaged, or the process did not survive them.
        """
        files = list(files)
        digest = bundles.digest_of(files)
        if digest not in self._known:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[digest] = self._scan(files)
        return self._known[digest]

    def _scan(self, files: list[File]) -> tuple[Label, ...]:
        self._scratch.mkdir(parents=True, exist_ok=True)
        try:
            with tempfile.TemporaryDirectory(dir=self._scratch, prefix="scan-") as own:
                bundles.lay_out(files, self._blobs, Path(own) / "bundle")
                return self._clerk.do(Scan(str(Path(own) / "bundle")), Path(own), Scanned).labels
        except OSError as error:
            raise disk_error(error, self._scratch) from error
