"""Provenance: the yard signs what a version is when it is published, and vouches for it before each load.

What is signed is the version's name and number, the digest of its manifest (and so every byte of it), and
how its worker is told to load it. The keys are in a file outside the database: whoever can write to the
database, the blobs or the laid-out bundles, but not to that file, cannot have anything else loaded.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Protocol

import msgspec
from sqlalchemy import Connection

from modelyard.catalog.bundles import digest_of
from modelyard.records.audit import YARD
from modelyard.records.errors import NotFoundError, UntrustedError
from modelyard.records.models import Version
from modelyard.records.provenance import Key, Signed, What
from modelyard.store import audit, forms, signatures, versions
from modelyard.store.database import Database

log = logging.getLogger(__name__)

_HINT = (
    "If the key file was lost, restore it. If you know the version to be what it was, an administrator can "
    "sign it anew: yard keys sign {}. Else publish it again."
)


class Signer(Protocol):
    """Who signs: the yard's own keys (`store.secrets.Signer`), or a key management service."""

    def sign(self, message: bytes) -> tuple[str, str]:
        """The id of a key, and its signature in hex."""

    def verify(self, message: bytes, key: str, signature: str) -> str:
        """Why this is no signature of ours of the message; empty where it is."""

    def keys(self) -> list[Key]:
        """The public keys."""

    def rotate(self) -> None:
        """Make a new key, which signs from now on."""


class Provenance:
    """Signatures of versions.

    Args:
        signer: None signs nothing and vouches for everything: for tests of other parts alone.
    """

    def __init__(self, database: Database, signer: Signer | None) -> None:
        self._database = database
        self._signer = signer
        self._told: set[tuple[str, What]] = set()

    def sign(self, connection: Connection, version: Version, what: What, digest: str) -> None:
        """Sign what a version is, in the transaction that makes it so."""
        if self._signer is not None:
            key, signature = self._signer.sign(_statement(version, what, digest))
            signed = Signed(what, digest, key, signature, datetime.now(UTC))
            signatures.put(connection, version.model, version.version, signed)

    def vouch(self, version: Version, what: What) -> None:
        """Nothing if this is what was signed; the bytes themselves are compared where they are laid out.

        Raises:
            UntrustedError: it is not, or nobody has signed it; the audit is told once.
            UnavailableError: the key file is gone or damaged.
        """
        if self._signer is None:
            return
        with self._database.read() as connection:
            why = self._fault(connection, version, what)
        if why:
            self._tell(version, what, why)
            message = f"{version.name} is not loaded: {why}."
            raise UntrustedError(message, _HINT.format(version.name))

    def signed(self, version: Version) -> list[Signed]:
        """The signatures of a version, and whether each holds."""
        with self._database.read() as connection:
            found = signatures.get(connection, version.model, version.version)
            told = [
                (signed, self._fault(connection, version, what)) for what, signed in sorted(found.items())
            ]
        return [msgspec.structs.replace(signed, holds=not why, words=why) for signed, why in told]

    def keys(self) -> list[Key]:
        """The public keys, oldest first."""
        return self._signer.keys() if self._signer else []

    def rotate(self, *, by: str) -> list[Key]:
        """Make a new key, which signs and seals from now on; what older ones signed still holds."""
        if self._signer is not None:
            with self._database.write() as connection:
                self._signer.rotate()
                audit.append(connection, by=by, action="key.rotate", subject=YARD, after=self.keys()[-1])
        return self.keys()

    def sign_anew(self, model: str, number: int, *, by: str) -> list[Signed]:
        """Sign a version as it is now, by the word of whoever says that it is what it was.

        Raises:
            NotFoundError: there is no such version.
        """
        with self._database.write() as connection:
            version = versions.get(connection, model, number)
            if version is None:
                hint = f"See what there is: yard show {model}."
                raise NotFoundError(f"{model} has no version {number}.", hint)
            before = signatures.get(connection, model, number)
            self._sign_all(connection, version)
            told = {what: signed.key for what, signed in before.items()}
            audit.append(connection, by=by, action="version.sign", subject=version.name, before=told)
        self._told -= {(version.id, what) for what in What}
        return self.signed(version)

    def begin(self) -> int:
        """Sign all that is there where nothing ever was: in a yard of an older release; how many."""
        with self._database.write() as connection:
            if self._signer is None or signatures.any_there(connection):
                return 0
            found = signatures.all_versions(connection)
            for model, number in found:
                version = versions.get(connection, model, number)
                if version is not None:
                    self._sign_all(connection, version)
                    audit.append(connection, by=YARD, action="version.sign", subject=version.name)
            return len(found)

    def tell_changed(self, version: Version, aside: str) -> None:
        """Write to the audit that a version's files were changed on this machine, and put aside."""
        log.error("THE FILES OF %s WERE CHANGED on this machine; they are in %s", version.name, aside)
        with self._database.write() as connection:
            told = {"changed": aside}
            audit.append(connection, by=YARD, action="version.repair", subject=version.name, after=told)

    def _sign_all(self, connection: Connection, version: Version) -> None:
        own = versions.files(connection, version.model, version.version)
        self.sign(connection, version, What.BUNDLE, digest_of(own))
        if portable := forms.files(connection, version.model, version.version):
            self.sign(connection, version, What.FORM, digest_of(portable))

    def _fault(self, connection: Connection, version: Version, what: What) -> str:
        signed = signatures.get(connection, version.model, version.version).get(what)
        if signed is None or self._signer is None:
            return "nobody has signed it"
        of = versions.files if what is What.BUNDLE else forms.files
        digest = digest_of(of(connection, version.model, version.version))
        if digest != signed.digest or (what is What.BUNDLE and digest != version.digest):
            return "its list of files is not the one that was signed"
        return self._signer.verify(_statement(version, what, digest), signed.key, signed.signature)

    def _tell(self, version: Version, what: What, why: str) -> None:
        if (version.id, what) in self._told:
            return
        self._told.add((version.id, what))
        log.error("%s (%s) IS NOT LOADED: %s", version.name, what, why)
        with self._database.write() as connection:
            told = {"what": what, "why": why}
            audit.append(connection, by=YARD, action="version.refuse", subject=version.name, after=told)


def _statement(version: Version, what: What, digest: str) -> bytes:
    bundle = version.bundle
    loads = [bundle.language, bundle.entry, sorted(bundle.options.items())]
    return msgspec.json.encode(["modelyard 1", version.model, version.version, what, digest, loads])
