"""`yardbundle.toml`: what is taken, and that each mistake is told with its key."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from tests.bundles import DESCRIPTION, bundle_files

from modelyard.catalog.bundles import lay_out
from modelyard.catalog.descriptions import read_bundle
from modelyard.records.errors import InvalidError, UnavailableError
from modelyard.records.models import File
from modelyard.records.signatures import Column, ColumnType
from modelyard.store.blobs import Blobs

INPUT = '[[signature.inputs]]\nname = "x"\ntype = "float64"\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, data in bundle_files().items():
        (tmp_path / name).write_bytes(data)
    return tmp_path


def wrong(folder: Path, description: str | bytes) -> str:
    data = description.encode() if isinstance(description, str) else description
    (folder / "yardbundle.toml").write_bytes(data)
    with pytest.raises(InvalidError) as raised:
        read_bundle(folder)
    assert raised.value.hint
    return raised.value.message


def test_a_good_one(folder: Path) -> None:
    bundle = read_bundle(folder)
    assert (bundle.language, bundle.entry, bundle.metrics) == ("r", "model.rds", {"mae": 12.1})
    assert bundle.signature.inputs == (Column("distance", ColumnType.FLOAT64, low=80.0, high=4983.0),)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("format = 1", "format = 2", "'format' is '2'; this yard reads format 1"),
        ("format = 1\n", "", "'format' is 'None'"),
        ('language = "r"', 'laguage = "r"', "unknown field `laguage`"),
        ('language = "r"\n', "", "missing required field `language`"),
        ('language = "r"', "language = 4", "'language' is wrong: Expected `str`, got `int`"),
        ('language = "r"', 'language = "../r"', "'../r' is not a language"),
        ("mae = 12.1", 'mae = "12"', "'metrics.mae' is not a number"),
        ("mae = 12.1", "mae = true", "'metrics.mae' is not a number"),
        ("mae = 12.1", "mae = nan", "'metrics.mae' is not a finite number"),
        ("mae = 12.1", "mae = 1e999", "'metrics.mae' is not a finite number"),
        ("mae = 12.1", "mae = 1" + "0" * 400, "'metrics.mae' is not a finite number"),
        ("[metrics]\nmae = 12.1", "metrics = 3", "'metrics' is not a table"),
        ("[metrics]", "[packages]", "'packages.mae' is not a string"),
        ('type = "float64"', 'type = "float"', "'signature.inputs[0].type' is wrong"),
        ('type = "float64"', 'type = "float64"\nlevel = ["a"]', "'signature.inputs[0].level' is not a key"),
        ("[[signature.inputs]]", "[signature]\nx = 1\n[[signature.inputs]]", "'signature.x' is not a key"),
        ("[[signature.inputs]]", "[[signature.outputs]]", "missing required field `inputs`"),
        ("low = 80.0", 'low = "80"', "'signature.inputs[0].low' is wrong"),
        ("low = 80.0", "low = 1" + "0" * 400, "'signature.inputs[0].low' is wrong: Number out of range"),
        ('entry = "model.rds"', 'entry = "model.pkl"', "'entry' is 'model.pkl', which is neither a file"),
        ('entry = "model.rds"', 'entry = "/etc/passwd"', "'entry' is '/etc/passwd'"),
        ('entry = "model.rds"', 'entry = "../model.rds"', "'entry' is '../model.rds'"),
        ('entry = "model.rds"', 'entry = "yardbundle.toml"', "'entry' is 'yardbundle.toml'"),
        ('entry = "model.rds"', 'entry = "code:predict"', "there is no code.py in the bundle"),
        ('entry = "model.rds"', 'entry = "a.b:predict"', "there is no a/b.py in the bundle"),
        ('entry = "model.rds"', 'entry = "os:system()"', "neither a file of the bundle nor module:name"),
    ],
)
def test_each_mistake_is_told_with_its_key(folder: Path, old: str, new: str, told: str) -> None:
    assert old in DESCRIPTION
    assert told in wrong(folder, DESCRIPTION.replace(old, new))


@pytest.mark.parametrize(
    "description",
    [b"\xff\xfe", b"format = ", b"format = 1\nformat = 1", b"a = " + b"[" * 100_000, b"x = 99999-99-99"],
)
def test_what_is_not_toml(folder: Path, description: bytes) -> None:
    assert "is not TOML" in wrong(folder, description)


def test_one_too_large(folder: Path) -> None:
    assert "over the limit" in wrong(folder, DESCRIPTION + "#" * 5_000_000)


def test_columns_are_checked(folder: Path) -> None:
    no_columns = DESCRIPTION[: DESCRIPTION.index("[[")] + "[signature]\ninputs = []\n"
    assert "no input columns" in wrong(folder, no_columns)
    assert "twice in the inputs" in wrong(folder, DESCRIPTION + INPUT + INPUT)


@pytest.mark.parametrize(
    ("entry", "file"), [("code:predict", "code.py"), ("a.b:Model", "a/b.py"), ("p:f", "p/__init__.py")]
)
def test_code_as_the_entry(folder: Path, entry: str, file: str) -> None:
    (folder / file).parent.mkdir(exist_ok=True)
    (folder / file).touch()
    (folder / "yardbundle.toml").write_text(DESCRIPTION.replace('"model.rds"', f'"{entry}"'))
    assert read_bundle(folder).entry == entry


def test_infinite_ranges_are_facts_about_the_example(folder: Path) -> None:
    (folder / "yardbundle.toml").write_text(DESCRIPTION.replace("low = 80.0", "low = -inf"))
    assert read_bundle(folder).signature.inputs[0].low == -math.inf


@pytest.mark.parametrize("name", ["yardbundle.toml", "example.csv"])
def test_a_file_that_is_not_there(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(InvalidError, match=f"has no {name}"):
        read_bundle(folder)


def test_hardening_18_nothing_is_run(folder: Path) -> None:
    """A pickle that would leave a file behind, and code that would too, are bytes and nothing else."""
    trace = folder / "trace"
    code = f"open({str(trace)!r}, 'w')"
    (folder / "model.rds").write_bytes(b"cbuiltins\nexec\n(V" + code.encode() + b"\ntR.")
    (folder / "sitecustomize.py").write_text(code)
    read_bundle(folder)
    assert not trace.exists()


# Laying out


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(str(tmp_path / "blobs"))


def kept(blobs: Blobs, files: dict[str, bytes]) -> list[File]:
    return [File(path, len(data), blobs.put_bytes(data)[0]) for path, data in files.items()]


def test_a_bundle_is_laid_out(tmp_path: Path, blobs: Blobs) -> None:
    files = {"model.rds": b"m", "environment/renv.lock": b"{}"}
    place = tmp_path / "bundles" / "1"
    for _ in range(2):  # the second time it is there
        lay_out(kept(blobs, files), blobs, place)
    assert {p.relative_to(place).as_posix(): p.read_bytes() for p in place.rglob("*") if p.is_file()} == files
    assert {p.stat().st_mode & 0o777 for p in place.rglob("*") if p.is_file()} == {0o444}
    assert [p.name for p in place.parent.iterdir()] == ["1"]


def test_hardening_15_a_damaged_blob_is_not_laid_out(tmp_path: Path, blobs: Blobs) -> None:
    files = kept(blobs, {"a": b"first", "b": b"second"})
    (tmp_path / "blobs" / files[1].digest[:2] / files[1].digest).write_bytes(b"other!")
    with pytest.raises(UnavailableError, match=f"{files[1].digest}.*damaged"):
        lay_out(files, blobs, tmp_path / "bundles" / "1")
    assert list((tmp_path / "bundles").iterdir()) == []


def test_a_missing_blob(tmp_path: Path, blobs: Blobs) -> None:
    with pytest.raises(UnavailableError, match="There is no blob"):
        lay_out([File("a", 1, "0" * 64)], blobs, tmp_path / "1")
    assert not (tmp_path / "1").exists()


def test_a_name_that_leads_outside_is_not_laid_out(tmp_path: Path, blobs: Blobs) -> None:
    digest, size = blobs.put_bytes(b"x")
    with pytest.raises(InvalidError, match="leads outside"):
        lay_out([File("../canary", size, digest)], blobs, tmp_path / "bundles" / "1")
    assert not (tmp_path / "bundles" / "canary").exists()
