"""Provenance: signed when published, compared before each load; what was changed is not loaded, and told."""

from __future__ import annotations

import fractions
import os
import pickle
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import update

from modelyard.catalog.audit import Audit
from modelyard.catalog.bundles import is_laid_out
from modelyard.catalog.registry import Registry
from modelyard.records.audit import Query
from modelyard.records.errors import NotFoundError, UnavailableError, UntrustedError
from modelyard.records.models import Version
from modelyard.records.provenance import What
from modelyard.store.blobs import Blobs
from modelyard.store.database import Database
from modelyard.store.schema import version_files, version_signatures, versions
from modelyard.store.secrets import Keyring, Signer
from tests.bundles import TAR, bundle_files, bundle_tar, tar_of
from tests.contract.conftest import Bucket
from tests.contract.test_blobs import overwrite

MODEL = "finance/fuel-cost"
on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def signer(tmp_path: Path) -> Signer:
    return Signer(Keyring(tmp_path / "keys"))


@pytest.fixture
def yard(database: Database, tmp_path: Path, signer: Signer) -> Registry:
    return Registry(database, Blobs(str(tmp_path / "blobs")), tmp_path / "scratch", signer=signer)


def publish(yard: Registry, content: bytes = b"one", model: str = MODEL) -> Version:
    version, _ = yard.publish(model, [bundle_tar(content)], TAR, by="anna", may_create_department=True)
    return version


def told(database: Database, tmp_path: Path, action: str) -> list[str]:
    entries = Audit(database, tmp_path / "audit.checkpoint").entries(Query(action=action))
    return [entry.subject for entry in entries]


def refused(yard: Registry, version: Version, words: str) -> None:
    with pytest.raises(UntrustedError, match=words):
        yard.provenance.vouch(version, What.BUNDLE)


def test_a_version_is_signed_when_it_is_published(yard: Registry, signer: Signer) -> None:
    version = publish(yard)
    yard.provenance.vouch(version, What.BUNDLE)
    (signed,) = yard.provenance.signed(version)
    assert signed.holds
    assert signed.digest == version.digest
    (key,) = signer.keys()
    assert (key.id, key.signs) == (signed.key, True)
    assert len(bytes.fromhex(key.public)) == 32


def test_a_portable_form_is_signed_as_well(yard: Registry, tmp_path: Path) -> None:
    version = publish(yard)
    refused_form = pytest.raises(UntrustedError, match="nobody has signed it")
    with refused_form:
        yard.provenance.vouch(version, What.FORM)
    (tmp_path / "model.onnx").write_bytes(b"small")
    yard.forms.go_portable(version, tmp_path, ("model.onnx",), "equal")
    yard.provenance.vouch(version, What.FORM)
    assert [s.what for s in yard.provenance.signed(version)] == [What.BUNDLE, What.FORM]


@pytest.mark.parametrize("column", ["digest", "path", "size"])
def test_a_changed_list_of_files_is_refused_and_told_once(
    yard: Registry, database: Database, tmp_path: Path, column: str
) -> None:
    version = publish(yard)
    value = {"digest": "0" * 64, "path": "other.py", "size": 1}[column]
    with database.write(unaudited="an attack") as connection:
        query = update(version_files).where(version_files.c.path == "example.csv")
        connection.execute(query.values({column: value}))
    refused(yard, version, "list of files")
    refused(yard, version, "list of files")
    assert told(database, tmp_path, "version.refuse") == [version.name]
    assert not yard.provenance.signed(version)[0].holds


@on_sqlite
def test_what_says_how_it_is_loaded_is_signed_too(yard: Registry) -> None:
    version = publish(yard)
    entry = msgspec.structs.replace(version.bundle, entry="os:system")
    options = msgspec.structs.replace(version.bundle, options={"x": "y"})
    for bundle in (entry, options):
        refused(yard, msgspec.structs.replace(version, bundle=bundle), "over something else")


@on_sqlite
def test_a_signature_of_another_version_or_key_is_refused(
    yard: Registry, database: Database, tmp_path: Path
) -> None:
    one, two = publish(yard), publish(yard, b"two")
    with database.write(unaudited="an attack") as connection:
        connection.execute(version_signatures.delete().where(version_signatures.c.version == 2))
        connection.execute(update(version_signatures).values(version=2))
    refused(yard, one, "nobody has signed it")
    refused(yard, two, "not the one that was signed")
    other = Registry(
        database, Blobs(str(tmp_path / "blobs")), tmp_path / "s", signer=Signer(Keyring(tmp_path / "k2"))
    )
    of_other = publish(other, b"three")
    refused(yard, of_other, "which this yard does not have")


@on_sqlite
def test_a_rotated_key_signs_and_the_old_one_still_holds(
    yard: Registry, database: Database, tmp_path: Path
) -> None:
    old = publish(yard)
    first, second = yard.provenance.rotate(by="root")
    new = publish(yard, b"two")
    for version, key in ((old, first), (new, second)):
        yard.provenance.vouch(version, What.BUNDLE)
        assert yard.provenance.signed(version)[0].key == key.id
    assert told(database, tmp_path, "key.rotate") == ["yard"]


@on_sqlite
def test_after_a_lost_key_nothing_is_loaded_until_a_person_signs(
    yard: Registry, database: Database, tmp_path: Path
) -> None:
    version = publish(yard)
    (tmp_path / "keys").unlink()
    with pytest.raises(UnavailableError, match="key file"):
        yard.provenance.vouch(version, What.BUNDLE)
    again = Registry(
        database,
        Blobs(str(tmp_path / "blobs")),
        tmp_path / "scratch",
        signer=Signer(Keyring(tmp_path / "keys")),
    )
    assert again.provenance.begin() == 0, "what somebody signed is not signed anew by itself"
    refused(again, version, "which this yard does not have")
    again.provenance.sign_anew(MODEL, 1, by="root")
    again.provenance.vouch(version, What.BUNDLE)
    assert told(database, tmp_path, "version.sign") == [version.name]
    with pytest.raises(NotFoundError):
        again.provenance.sign_anew(MODEL, 9, by="root")


@on_sqlite
def test_a_yard_of_an_older_release_signs_what_it_has(
    database: Database, tmp_path: Path, signer: Signer
) -> None:
    blobs = Blobs(str(tmp_path / "blobs"))
    version = publish(Registry(database, blobs, tmp_path / "scratch"))
    now = Registry(database, blobs, tmp_path / "scratch", signer=signer)
    refused(now, version, "nobody")
    assert now.provenance.begin() == 1
    now.provenance.vouch(version, What.BUNDLE)


# Bytes


@on_sqlite
def test_15_a_changed_file_on_disk_is_put_aside_and_laid_out_anew(
    yard: Registry, database: Database, tmp_path: Path
) -> None:
    version = publish(yard)
    folder = tmp_path / "bundles" / version.digest
    yard.lay_out(version, folder)
    for damage in ("change", "add", "remove", "link"):
        place = folder / "example.csv"
        place.chmod(0o600)
        folder.chmod(0o700)
        if damage == "change":
            place.write_bytes(place.read_bytes().swapcase() + b" ")
        elif damage == "add":
            (folder / "sitecustomize.py").write_text("raise SystemExit")
        elif damage == "remove":
            place.unlink()
        else:
            place.unlink()
            place.symlink_to("/etc/hostname")
        assert not is_laid_out(folder, version.digest), damage
        yard.lay_out(version, folder)
        assert is_laid_out(folder, version.digest), damage
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == bundle_files(b"one")
    assert told(database, tmp_path, "version.repair") == [version.name] * 4
    assert len(list(folder.parent.glob(".changed-*"))) == 4


@on_sqlite
def test_15_a_changed_blob_on_disk_is_refused(yard: Registry, tmp_path: Path) -> None:
    version = publish(yard)
    file = next(f for f in yard.files(MODEL, 1) if f.path == "example.csv")
    (blob,) = [
        p
        for p in (tmp_path / "blobs").rglob("*")
        if p.is_file() and file.digest in p.as_posix().replace("/", "")
    ]
    blob.chmod(0o600)
    blob.write_bytes(bytes(file.size))
    with pytest.raises(UnavailableError, match=r"damaged|not what"):
        yard.lay_out(version, tmp_path / "bundles" / version.digest)
    assert not (tmp_path / "bundles" / version.digest).exists()


@on_sqlite
def test_15_a_changed_blob_in_a_bucket_is_refused(
    database: Database, s3: Bucket, tmp_path: Path, signer: Signer
) -> None:
    blobs = Blobs(f"{s3.url}/{tmp_path.name}", s3.options)
    yard = Registry(database, blobs, tmp_path / "scratch", signer=signer)
    version = publish(yard)
    file = next(f for f in yard.files(MODEL, 1) if f.path == "example.csv")
    overwrite(blobs, file.digest, bytes(file.size), s3)
    with pytest.raises(UnavailableError, match=r"damaged|not what"):
        yard.lay_out(version, tmp_path / "bundles" / version.digest)


def test_the_state_of_signatures_is_no_secret_of_the_database(database: Database, yard: Registry) -> None:
    """Whoever writes to the database alone cannot sign: a made-up row never holds."""
    version = publish(yard)
    with database.write(unaudited="an attack") as connection:
        connection.execute(update(version_signatures).values(signature="00" * 64))
        connection.execute(update(versions).values(created_by="eve"))
    refused(yard, version, "over something else")


# What pickles call


@on_sqlite
def test_18_what_a_pickle_calls_is_told_and_never_run(yard: Registry, tmp_path: Path) -> None:
    canary = tmp_path / "canary"

    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {canary}",)

    files = bundle_files(b"one") | {
        "model.pkl": pickle.dumps(Evil()),
        "odd.bin": pickle.dumps([fractions.Fraction(1, 2)]),
        "cut.pkl": pickle.dumps(Evil())[:-9],
        "text.txt": b"nothing",
    }
    version, _ = yard.publish(MODEL, [tar_of(files)], TAR, by="eve", may_create_department=True)
    labels = {(x.file, x.calls): x.level for x in yard.scans.labels(yard.files(MODEL, version.version))}
    assert labels["model.pkl", "posix.system"] == "dangerous"
    assert labels["odd.bin", "fractions.Fraction"] == "unknown"
    assert any(file == "cut.pkl" for file, _ in labels)
    assert not any(file == "text.txt" for file, _ in labels)
    assert not canary.exists()


@on_sqlite
def test_a_bundle_without_pickles_has_no_label(yard: Registry) -> None:
    publish(yard)
    assert yard.scans.labels(yard.files(MODEL, 1)) == ()
