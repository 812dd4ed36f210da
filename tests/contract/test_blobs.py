"""Blobs: the same contract for a folder and for a bucket that speaks S3."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from modelyard.records.errors import InvalidError, NotFoundError, UnavailableError
from modelyard.store import bucket as bucket_module
from modelyard.store.blobs import Blobs
from modelyard.store.secrets import Keyring
from tests.contract.conftest import Bucket

ABSENT = "0" * 64


def digest_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("size", [0, 1, 1024 * 1024, 3 * 1024 * 1024 + 1])
def test_what_is_put_is_fetched(blobs: Blobs, tmp_path: Path, size: int) -> None:
    data = os.urandom(size)
    source, target = tmp_path / "source", tmp_path / "new" / "target"
    source.write_bytes(data)
    assert blobs.put_file(source) == (digest_of(data), size)
    blobs.fetch(digest_of(data), target, size)
    assert target.read_bytes() == data
    assert b"".join(blobs.open(digest_of(data))) == data
    assert blobs.exists(digest_of(data))
    assert [p.name for p in target.parent.iterdir()] == ["target"]


def test_a_blob_above_the_size_of_one_request(
    blobs: Blobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bucket_module, "CONDITIONAL", 1024)
    data = os.urandom(20 * 1024 * 1024)  # several parts of 8 MiB
    digest, size = blobs.put_bytes(data)
    blobs.fetch(digest, tmp_path / "target", size)
    assert (tmp_path / "target").read_bytes() == data


def test_the_same_bytes_are_one_blob(blobs: Blobs) -> None:
    assert blobs.put_bytes(b"same") == blobs.put_bytes(b"same")
    assert list(blobs.digests()) == [digest_of(b"same")]


def test_put_at_once_from_many_threads(blobs: Blobs, tmp_path: Path) -> None:
    start = threading.Barrier(4)

    def put(_: int) -> tuple[str, int]:
        start.wait()
        return blobs.put_bytes(b"contended" * 1000)

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(put, range(4))) == {(digest_of(b"contended" * 1000), 9000)}
    blobs.fetch(digest_of(b"contended" * 1000), tmp_path / "target", 9000)


def test_all_digests_are_listed(blobs: Blobs) -> None:
    assert list(blobs.digests()) == []
    assert {blobs.put_bytes(b"%d" % n)[0] for n in range(20)} == set(blobs.digests())


def test_delete(blobs: Blobs) -> None:
    digest, _ = blobs.put_bytes(b"gone soon")
    for _ in range(2):
        blobs.delete(digest)
        assert not blobs.exists(digest)
    assert blobs.put_bytes(b"gone soon")[0] == digest
    assert blobs.exists(digest)


def test_a_blob_that_is_not_there(blobs: Blobs, tmp_path: Path) -> None:
    assert not blobs.exists(ABSENT)
    with pytest.raises(NotFoundError, match=ABSENT):
        blobs.fetch(ABSENT, tmp_path / "target")
    with pytest.raises(NotFoundError, match=ABSENT):
        list(blobs.open(ABSENT))
    assert not (tmp_path / "target").exists()


@pytest.mark.parametrize(
    "digest",
    ["", "..", "../../etc/passwd", "A" * 64, "a" * 63, "a" * 65, "a" * 64 + "\n", "é" * 64, "a/" * 32],
)
def test_what_is_no_digest_reaches_no_file(blobs: Blobs, tmp_path: Path, digest: str) -> None:
    for use in (
        blobs.exists,
        blobs.delete,
        lambda d: list(blobs.open(d)),
        lambda d: blobs.fetch(d, tmp_path / "t"),
    ):
        with pytest.raises(InvalidError, match="not a sha256"):
            use(digest)


@pytest.mark.parametrize("damage", [b"other bytes!", b"cut", b"the bytes as kept, and more"])
def test_hardening_15_bytes_changed_after_they_were_kept(
    blobs: Blobs, tmp_path: Path, s3: Bucket, damage: bytes
) -> None:
    digest, size = blobs.put_bytes(b"the bytes as kept")
    overwrite(blobs, digest, damage, s3)
    for told in (size, None):
        with pytest.raises(UnavailableError, match=f"{digest}.*damaged"):
            blobs.fetch(digest, tmp_path / "to" / "target", told)
    assert list((tmp_path / "to").iterdir()) == []


def test_a_blob_cut_short_by_a_crash_is_written_again(blobs: Blobs, tmp_path: Path) -> None:
    if blobs.url.startswith("s3"):
        return  # a bucket shows an object only when it is whole
    digest, size = blobs.put_bytes(b"whole")
    (Path(blobs.url) / digest[:2] / digest).write_bytes(b"wh")
    blobs.put_bytes(b"whole")
    blobs.fetch(digest, tmp_path / "target", size)


def overwrite(blobs: Blobs, digest: str, data: bytes, s3: Bucket) -> None:
    if blobs.url.startswith("s3"):
        store = bucket_module._open(blobs.url, dict(s3.options))
        store.put(f"{digest[:2]}/{digest}", data)
    else:
        place = Path(blobs.url) / digest[:2] / digest
        sealed = place.with_suffix(".sealed")
        (sealed if sealed.exists() else place).write_bytes(data)


def test_a_fetch_replaces_what_is_there(blobs: Blobs, tmp_path: Path) -> None:
    (tmp_path / "target").write_bytes(b"old")
    digest, size = blobs.put_bytes(b"new")
    blobs.fetch(digest, tmp_path / "target", size)
    assert (tmp_path / "target").read_bytes() == b"new"


def test_a_source_that_is_not_there(blobs: Blobs, tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="cannot be used: No such file"):
        blobs.put_file(tmp_path / "nothing")


@pytest.mark.parametrize("url", ["", "ftp://somewhere", "http://somewhere/else", "s4://bucket"])
def test_other_addresses_are_refused(url: str) -> None:
    with pytest.raises(InvalidError, match="no place for blobs"):
        Blobs(url)


def test_an_option_that_s3_does_not_have() -> None:
    with pytest.raises(InvalidError, match="cannot be used"):
        Blobs("s3://yard", {"endpint": "http://127.0.0.1:1"}).exists(ABSENT)


def test_a_folder_by_its_address(tmp_path: Path) -> None:
    digest, _ = Blobs(f"file://{tmp_path}/with%20space").put_bytes(b"here")
    assert (tmp_path / "with space" / digest[:2] / digest).read_bytes() == b"here"


def test_a_bucket_that_does_not_answer(
    free_port: object, s3: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert callable(free_port)
    monkeypatch.setattr(bucket_module, "_RETRY", {"max_retries": 0})
    options = {**s3.options, "endpoint": f"http://127.0.0.1:{free_port()}"}
    with pytest.raises(UnavailableError, match="The bucket s3://yard did not do it") as raised:
        Blobs("s3://yard", options).exists(ABSENT)
    assert "secret" not in str(raised.value)


def test_a_bucket_that_is_not_there(s3: Bucket) -> None:
    with pytest.raises(UnavailableError, match="s3://no-such-bucket"):
        Blobs("s3://no-such-bucket", s3.options).put_bytes(b"lost")


def test_after_a_fork(blobs: Blobs) -> None:
    """A folder works on; a bucket used before the fork says so, and does not wait for ever."""
    digest, _ = blobs.put_bytes(b"before the fork")
    child = os.fork()
    if child == 0:
        signal.alarm(180)
        os._exit(_use_in_child(blobs, digest))
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == (1 if blobs.url.startswith("s3") else 0)


def _use_in_child(blobs: Blobs, digest: str) -> int:
    try:
        blobs.put_bytes(b"in the child")
        return 0 if blobs.exists(digest) else 3
    except UnavailableError as error:
        return 1 if "before this process was forked" in error.message else 4
    except BaseException:  # noqa: BLE001 - a child must not go on into pytest
        return 5


# As for the spool: the kernel's limit on a file's size stands for a full disk.
_FULL = """
import resource, sys
from pathlib import Path
from modelyard.records.errors import UnavailableError
from modelyard.store.blobs import Blobs
from modelyard.store.secrets import Keyring
folder, source = Path(sys.argv[1]), Path(sys.argv[2])
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
try:
    Blobs(str(folder)).put_file(source)
except UnavailableError as error:
    assert "is full" in error.message and "Free space" in error.hint, error
else:
    sys.exit("the write went through")
"""


def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(b"x" * 5000)
    arguments = [str(tmp_path / "blobs"), str(tmp_path / "source")]
    subprocess.run([sys.executable, "-c", _FULL, *arguments], check=True, timeout=180)
    assert [p for p in (tmp_path / "blobs").rglob("*") if p.is_file()] == []


def test_files_reach_the_disk_before_their_name_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    sync, rename = os.fsync, Path.rename

    def synced(handle: int) -> None:
        done.append("folder" if Path(f"/proc/self/fd/{handle}").is_dir() else "file")
        sync(handle)

    def renamed(path: Path, target: Path) -> Path:
        done.append("rename")
        return rename(path, target)

    blobs = Blobs(str(tmp_path))
    blobs.put_bytes(b"\x01")  # makes the folders
    second = next(n for n in range(1, 2000) if digest_of(b"%d" % n)[:2] == digest_of(b"\x01")[:2])
    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "rename", renamed)
    blobs.put_bytes(b"%d" % second)
    assert done == ["file", "rename", "folder"]


@pytest.fixture(params=["folder", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, dict[str, str] | None]:
    """Where blobs lie, and what a bucket needs."""
    if request.param == "folder":
        return str(tmp_path / "blobs"), None
    bucket: Bucket = request.getfixturevalue("s3")
    return f"{bucket.url}/{tmp_path.name}", dict(bucket.options)


def test_sealed_blobs_say_nothing_where_they_lie(tmp_path: Path) -> None:
    blobs = Blobs(str(tmp_path / "blobs"), None, Keyring(tmp_path / "keys"), seals=True)
    digest, _ = blobs.put_bytes(b"what a department earns" * 100)
    (lies,) = (tmp_path / "blobs" / digest[:2]).iterdir()
    assert lies.name == f"{digest}.sealed"
    assert b"department" not in lies.read_bytes()


def test_blobs_from_before_they_were_sealed_and_after_are_found(
    place: tuple[str, dict[str, str] | None], tmp_path: Path
) -> None:
    keys = Keyring(tmp_path / "keys")
    before, _ = Blobs(*place, keys).put_bytes(b"from before")
    sealing = Blobs(*place, keys, seals=True)
    digests = {before, sealing.put_bytes(b"sealed")[0]}
    keys.rotate()
    digests.add(sealing.put_bytes(b"sealed under the next key")[0])
    for blobs in (sealing, Blobs(*place, keys)):
        assert set(blobs.digests()) == digests
        assert {hashlib.sha256(b"".join(blobs.open(d))).hexdigest() for d in digests} == digests
        assert {blobs.size(d) for d in digests} == {len("from before"), 6, 25}
    for digest in digests:
        sealing.delete(digest)
        assert not Blobs(*place, keys).exists(digest)


def test_blobs_sealed_under_a_key_that_is_not_here(tmp_path: Path) -> None:
    digest, _ = Blobs(str(tmp_path), None, Keyring(tmp_path / "keys"), seals=True).put_bytes(b"sealed")
    others = Blobs(str(tmp_path), None, Keyring(tmp_path / "others"), seals=True)
    with pytest.raises(UnavailableError, match="its key is not here") as told:
        others.fetch(digest, tmp_path / "target")
    assert "YARD_KEYS" in told.value.hint
    assert not (tmp_path / "target").exists()


@pytest.mark.parametrize("at", [3, 20, 40, -3])
def test_a_sealed_blob_with_one_byte_changed_is_damaged(tmp_path: Path, at: int) -> None:
    blobs = Blobs(str(tmp_path / "blobs"), None, Keyring(tmp_path / "keys"), seals=True)
    digest, size = blobs.put_bytes(b"sealed" * 100)
    (lies,) = (tmp_path / "blobs" / digest[:2]).iterdir()
    changed = bytearray(lies.read_bytes())
    changed[at] ^= 1
    lies.write_bytes(changed)
    with pytest.raises(UnavailableError, match=r"damaged|its key is not here"):
        blobs.fetch(digest, tmp_path / "target", size)
