"""The spool: what was appended is read back, whatever happens to the file's end."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.records.errors import TooLargeError, UnavailableError
from modelyard.store import spool
from modelyard.store.spool import SpoolWriter, read_spool, spool_files

RECORDS = st.lists(st.binary(max_size=40), min_size=1, max_size=8)


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def written(folder: Path, records: list[bytes]) -> Path:
    writer = SpoolWriter(folder, "front-0")
    writer.append_many(records)
    path = writer.path
    writer.close()
    assert path is not None
    return path


@given(records=RECORDS)
def test_what_goes_in_comes_out(folder: Path, records: list[bytes]) -> None:
    reader = read_spool(written(folder, records))
    assert list(reader) == records
    assert reader.left == 0


@given(records=RECORDS, data=st.data())
def test_cut_at_any_byte_every_whole_record_is_read_and_none_invented(
    folder: Path, records: list[bytes], data: st.DataObject
) -> None:
    path = written(folder, records)
    cut = data.draw(st.integers(0, path.stat().st_size))
    os.truncate(path, cut)
    ends = [8 * (n + 1) + sum(map(len, records[: n + 1])) for n in range(len(records))]
    whole = sum(end <= cut for end in ends)
    reader = read_spool(path)
    assert list(reader) == records[:whole]
    assert reader.end == ([0, *ends])[whole]
    assert reader.left == cut - reader.end


@given(records=RECORDS, data=st.data())
def test_a_flipped_bit_is_noticed(folder: Path, records: list[bytes], data: st.DataObject) -> None:
    path = written(folder, records)
    content = bytearray(path.read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content)
    reader = read_spool(path)
    read = list(reader)
    assert read == records[: len(read)]
    assert len(read) < len(records)
    assert reader.left > 0


@given(records=RECORDS, zeros=st.integers(1, 100))
def test_zeros_after_a_power_cut_are_no_records(folder: Path, records: list[bytes], zeros: int) -> None:
    path = written(folder, records)
    os.truncate(path, path.stat().st_size + zeros)
    reader = read_spool(path)
    assert list(reader) == records
    assert reader.left == zeros


def test_reading_goes_on_where_it_ended(tmp_path: Path) -> None:
    writer = SpoolWriter(tmp_path, "front-0")
    writer.append(b"one")
    assert writer.path is not None
    first = read_spool(writer.path)
    assert list(first) == [b"one"]
    writer.append(b"two")
    assert list(read_spool(writer.path, first.end)) == [b"two"]
    writer.close()


def test_a_tick_is_one_write_and_stays_in_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writes: list[int] = []
    real = os.write

    def counted(file: int, data: bytes) -> int:
        writes.append(len(data))
        return real(file, data)

    monkeypatch.setattr(os, "write", counted)
    writer = SpoolWriter(tmp_path, "front-0", max_bytes=50)
    writer.append_many([b"x" * 10, b"y" * 10])
    writer.append_many([b"z" * 10, b"u" * 10])
    writer.append_many([])
    writer.close()
    assert writes == [36, 36]
    assert [list(read_spool(p)) for p in spool_files(tmp_path)] == [
        [b"x" * 10, b"y" * 10],
        [b"z" * 10, b"u" * 10],
    ]


def test_a_record_larger_than_a_file_is_kept(tmp_path: Path) -> None:
    writer = SpoolWriter(tmp_path, "front-0", max_bytes=10)
    for record in (b"a" * 100, b"b"):
        writer.append(record)
    writer.close()
    assert [list(read_spool(p)) for p in spool_files(tmp_path)] == [[b"a" * 100], [b"b"]]


def test_a_restart_begins_a_new_file_also_where_the_clock_went_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: 1000)
    for record in (b"one", b"two", b"three"):
        writer = SpoolWriter(tmp_path, "front-0")
        writer.append(record)
        writer.close()
    assert [p.name for p in spool_files(tmp_path)] == [f"front-0-{n}.spool" for n in (1000, 1001, 1002)]
    assert [r for p in spool_files(tmp_path) for r in read_spool(p)] == [b"one", b"two", b"three"]


def test_files_are_listed_by_time_and_others_are_not(tmp_path: Path) -> None:
    for name in ("front-1-9.spool", "front-0-10.spool", "front-1-100.spool", "notes.txt", "front-0-x.spool"):
        (tmp_path / name).touch()
    assert [p.name for p in spool_files(tmp_path)] == [
        "front-1-9.spool",
        "front-0-10.spool",
        "front-1-100.spool",
    ]
    assert spool_files(tmp_path / "not-there") == []


def test_an_idle_front_leaves_no_file(tmp_path: Path) -> None:
    SpoolWriter(tmp_path, "front-0").close()
    assert spool_files(tmp_path) == []


def test_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    assert written(tmp_path, [b"private"]).stat().st_mode & 0o777 == 0o600


def test_sync_waits_for_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    real = os.fdatasync

    def counted(file: int) -> None:
        synced.append(file)
        real(file)

    monkeypatch.setattr(os, "fdatasync", counted)
    for sync in (False, True):
        writer = SpoolWriter(tmp_path, "front-0", sync=sync)
        writer.append(b"one")
        writer.close()
        assert len(synced) == int(sync)


# A limit of the kernel on a file's size: a write that goes over it is cut short, and the next one fails,
# as on a full disk.
_FULL = """
import resource, sys
from pathlib import Path
from modelyard.records.errors import UnavailableError
from modelyard.store.spool import SpoolWriter
folder, sync = Path(sys.argv[1]), sys.argv[2] == "sync"
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
writer = SpoolWriter(folder, "front-0", sync=sync)
writer.append(b"a" * 500)
try:
    writer.append_many([b"b" * 300, b"c" * 300])
except UnavailableError as error:
    assert "disk is full" in error.message and "Free space" in error.hint, error
else:
    sys.exit("the write went through")
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
writer.append(b"d" * 500)
"""


@pytest.mark.parametrize("sync", ["sync", "no-sync"])
def test_a_full_disk_leaves_nothing_half_written_and_goes_on_later(tmp_path: Path, sync: str) -> None:
    subprocess.run([sys.executable, "-c", _FULL, str(tmp_path), sync], check=True, timeout=180)
    readers = [read_spool(p) for p in spool_files(tmp_path)]
    assert [r for reader in readers for r in reader] == [b"a" * 500, b"d" * 500]
    assert [reader.left for reader in readers] == [0, 0]


def test_after_a_failed_sync_the_file_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_file: int) -> None:
        raise OSError(5, "Input/output error")

    writer = SpoolWriter(tmp_path, "front-0", sync=True)
    writer.append(b"one")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", fail)
        with pytest.raises(UnavailableError, match="Input/output error"):
            writer.append(b"lost")
    writer.append(b"two")
    writer.close()
    assert [list(read_spool(p)) for p in spool_files(tmp_path)] == [[b"one"], [b"two"]]


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UnavailableError, match="cannot be recorded"):
        SpoolWriter(tmp_path / "file" / "spool", "front-0").append(b"one")


def test_a_record_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool, "_MAX_RECORD", 10)
    writer = SpoolWriter(tmp_path, "front-0")
    with pytest.raises(TooLargeError):
        writer.append_many([b"fits", b"does not fit"])
    assert spool_files(tmp_path) == []


def test_a_damaged_length_asks_for_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "front-0-1.spool"
    path.write_bytes(b"\xff" * 20)
    reader = read_spool(path)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert list(reader) == []
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 * 1024  # kB
    assert reader.left == 20


def test_a_spool_that_has_reached_its_limit_takes_no_more_until_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL or S3 have been away for long: what is answered must be recorded, and disks have an end."""
    monkeypatch.setattr(spool, "_LOOK_EVERY", 0.0)
    one = SpoolWriter(tmp_path, "front-0", most=3 * spool.MIB)
    two = SpoolWriter(tmp_path, "front-1", most=3 * spool.MIB)
    record = bytes(spool.MIB - 8)
    for writer in (one, two, one):
        writer.append(record)
    for writer in (one, two):
        with pytest.raises(UnavailableError, match="take 3 MiB, and YARD_MAX_SPOOL allows 3") as raised:
            writer.append(b"more")
        assert "yard doctor" in raised.value.hint
    before = spool_files(tmp_path)
    assert [sum(1 for _ in read_spool(path)) for path in before] == [2, 1]  # whole, and nothing of "more"
    assert all(spool.remove_ended(path, path.stat().st_size) == 0 for path in before)  # shipped: they may go
    one.append(b"on")
    (path,) = spool_files(tmp_path)
    assert list(read_spool(path)) == [b"on"]
