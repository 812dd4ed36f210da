"""Forms of versions: which of them answers, why, and the files of the portable one."""

from __future__ import annotations

from pathlib import Path

from modelyard.catalog import bundles
from modelyard.catalog.provenance import Provenance
from modelyard.catalog.words import output
from modelyard.records.audit import YARD
from modelyard.records.errors import UnavailableError
from modelyard.records.models import EXAMPLE_FILE, EXPECTED_FILE, File, Version
from modelyard.records.provenance import What
from modelyard.store import audit, forms, models, state, versions
from modelyard.store.blobs import Blobs
from modelyard.store.database import Database

NATIVE, PORTABLE = "native", "portable"
_MAX_REASON = 1_000  # characters


class Forms:
    """Keeps what was decided about versions' forms. Every method is one transaction.

    Args:
        database: upgraded already.
        blobs: where the portable forms' files are kept, beside the versions' own.
        provenance: signs them.
    """

    def __init__(self, database: Database, blobs: Blobs, provenance: Provenance) -> None:
        self._database = database
        self._provenance = provenance
        self._blobs = blobs

    def untried(self) -> list[Version]:
        """The checked versions of whose form nothing is said yet, oldest first."""
        with self._database.read() as connection:
            found = [versions.get(connection, model, number) for model, number in forms.untried(connection)]
        return [version for version in found if version is not None]

    def stay_native(self, version: Version, reason: str) -> None:
        """The native form answers, and why; also where the portable one answered until now."""
        self._settle(version, NATIVE, reason, (), 0)

    def go_portable(
        self, version: Version, folder: Path, names: tuple[str, ...], reason: str, native_from: int = 0
    ) -> None:
        """Keep these files of the folder as the portable form, which answers from now on, and why.

        The bundle's example goes with them, for a worker to warm up with.

        Args:
            native_from: requests of so many rows and more go to native workers; 0: none do.

        Raises:
            UnavailableError: the blobs or the database do not answer.
        """
        own = tuple(self._kept(folder, name) for name in names)
        with self._database.read() as connection:
            wanted = (EXAMPLE_FILE, EXPECTED_FILE)
            own += tuple(forms.bundle_files(connection, version.model, version.version, wanted))
        self._settle(version, PORTABLE, reason, own, native_from)

    def _kept(self, folder: Path, name: str) -> File:
        digest, size = self._blobs.put_file(folder / name)
        return File(name, size, digest)

    def _settle(  # which version, what answers and why, with which files, up to how many rows
        self, version: Version, form: str, reason: str, files: tuple[File, ...], native_from: int
    ) -> None:
        words = " ".join(output(reason, _MAX_REASON).split())
        told: dict[str, str | int] = {"form": form, "form_reason": words, "native_from": native_from}
        with self._database.write() as connection:
            models.lock(connection, version.model)
            forms.replace(connection, version.model, version.version, files)
            if files:
                self._provenance.sign(connection, version, What.FORM, bundles.digest_of(files))
            versions.change(connection, version.model, version.version, **told)
            before = {name: getattr(version, name) for name in told}
            audit.append(
                connection, by=YARD, action="version.form", subject=version.name, before=before, after=told
            )
            if (form, native_from) != (version.form, version.native_from):
                state.bump_generation(connection)

    def lay_out(self, version: Version, folder: Path) -> Path:
        """Write the portable form's files into a folder of `folder` named by their digest; that folder.

        Raises:
            UnavailableError: there are none, one is damaged, or the disk is full.
        """
        with self._database.read() as connection:
            files = forms.files(connection, version.model, version.version)
        if not files:
            raise UnavailableError(
                f"The portable form of {version.name} is not kept anywhere.", "Publish again."
            )
        place = folder / bundles.digest_of(files)
        if aside := bundles.lay_out(files, self._blobs, place):
            self._provenance.tell_changed(version, aside)
        return place
