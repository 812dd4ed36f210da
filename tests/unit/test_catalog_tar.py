"""Archives as they come from outside: what is taken, what is refused, and that nothing else is touched.

Cases named `hardening_N` are those of the list of what went wrong elsewhere: archives and bundles, 1 to 15.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import itertools
import shutil
import struct
import subprocess
import sys
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.bundles import TAR, tar_of

from modelyard.catalog.bundles import Limits, Received, digest_of, receive
from modelyard.records.errors import InvalidError, MalformedError, TooLargeError, UnavailableError, YardError
from modelyard.records.models import File

GZIP = "application/gzip"
LIMITS = Limits(entries=50, total=1_000_000)
BLOCK = 512


@pytest.fixture
def into(tmp_path: Path) -> Path:
    return tmp_path / "in" / "bundle"


@pytest.fixture(autouse=True)
def parent(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()


def take(data: bytes, into: Path, kind: str = TAR, limits: Limits = LIMITS, piece: int = 700) -> Received:
    pieces = (data[at : at + piece] for at in range(0, len(data), piece))
    return receive(pieces, kind, into, limits)


def refused(error: type[YardError], data: bytes, into: Path, kind: str = TAR, limits: Limits = LIMITS) -> str:
    """The archive is refused with this error, and nothing of it is left."""
    with pytest.raises(error) as raised:
        take(data, into, kind, limits)
    assert type(raised.value) is error
    assert not into.exists()
    assert list(into.parent.iterdir()) == []
    return raised.value.message


def member(name: str | bytes, data: bytes = b"", kind: bytes = b"0", *, size: int | None = None) -> bytes:
    """One member, byte by byte: `tarfile` would not write most of what is tried here."""
    raw = name.encode() if isinstance(name, str) else name
    length = len(data) if size is None else size
    head = bytearray(raw[:100].ljust(100, b"\0") + b"0000644\0" + b"0000000\0" * 2)
    head += b"%011o\0" % length + b"%011o\0" % 0 + b" " * 8 + kind + bytes(100) + b"ustar\x0000"
    head = head.ljust(BLOCK, b"\0")
    head[148:156] = b"%06o\0 " % sum(head)
    return bytes(head) + data + bytes(-len(data) % BLOCK)


END = bytes(2 * BLOCK)


def pax(**values: bytes) -> bytes:
    records = b""
    for key, value in values.items():
        body = b" " + key.encode() + b"=" + value + b"\n"
        length = next(n for n in itertools.count(len(body)) if len(str(n)) + len(body) == n)
        records += str(length).encode() + body
    return member("pax", records, b"x")


# What is taken


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_each_format_that_tools_write(into: Path, form: int, mode: str) -> None:
    long = "code/" + "a-long-folder/" * 9 + "long-name.py"
    files = {"model.rds": b"m" * 5000, "empty": b"", long: b"code", "données/é.csv": "größe".encode()}
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode, format=form) as tar:  # type: ignore[call-overload]
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode, info.mtime = len(data), 0o6777, 1.5
            tar.addfile(info, io.BytesIO(data))
    received = take(out.getvalue(), into, GZIP if mode == "w:gz" else TAR)
    assert {f.path: (into / f.path).read_bytes() for f in received.files} == files
    assert received.size == sum(map(len, files.values()))
    assert [f.digest for f in received.files] == [
        hashlib.sha256(files[f.path]).hexdigest() for f in received.files
    ]
    assert list(received.files) == sorted(received.files)


@pytest.mark.parametrize("options", [["--format=gnu"], ["--format=posix"], ["--format=ustar"], ["-z"]])
def test_the_tar_program(into: Path, tmp_path: Path, options: list[str]) -> None:
    source = tmp_path / "source"
    (source / "environment").mkdir(parents=True)
    (source / "environment" / "renv.lock").write_bytes(b"{}")
    (source / "model.rds").write_bytes(b"m")
    data = subprocess.run(["tar", "-C", source, "-c", *options, "."], check=True, capture_output=True).stdout
    received = take(data, into, GZIP if "-z" in options else TAR)
    assert [f.path for f in received.files] == ["environment/renv.lock", "model.rds"]


@pytest.mark.r
def test_the_tar_of_r(into: Path, tmp_path: Path, rscript: list[str]) -> None:
    (tmp_path / "source" / "environment").mkdir(parents=True)
    (tmp_path / "source" / "environment" / "renv.lock").write_bytes(b"{}")
    code = 'utils::tar("../out.tar", list.files(recursive = TRUE), tar = "internal")'
    subprocess.run([*rscript, "-e", code], check=True, cwd=tmp_path / "source", capture_output=True)
    received = take((tmp_path / "out.tar").read_bytes(), into)
    assert [f.path for f in received.files] == ["environment/renv.lock"]


def test_the_same_files_have_the_same_digest_in_any_order_and_format(tmp_path: Path) -> None:
    files = {"b": b"2", "a/c": b"1"}
    turned = dict(reversed(files.items()))
    first = take(tar_of(files), tmp_path / "1")
    second = take(tar_of(turned, "w:gz"), tmp_path / "2", GZIP)
    assert first == second


def test_the_digest_is_as_specified() -> None:
    files = [File("b", 1, "2" * 64), File("a", 10, "1" * 64)]
    lines = b"a\x0010\x00" + b"1" * 64 + b"\nb\x001\x00" + b"2" * 64 + b"\n"
    assert digest_of(files) == hashlib.sha256(lines).hexdigest()


def test_modes_are_ignored(into: Path) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        info = tarfile.TarInfo("setuid")
        info.mode, info.uid = 0o6777, 0
        tar.addfile(info)
    take(out.getvalue(), into)
    assert (into / "setuid").stat().st_mode & 0o7133 == 0


def test_a_top_folder_is_not_taken_away(into: Path) -> None:
    assert [f.path for f in take(tar_of({"top/model.rds": b""}), into).files] == ["top/model.rds"]


@given(data=st.data())
def test_pieces_of_any_size_are_the_same(data: st.DataObject) -> None:
    files = data.draw(st.dictionaries(st.sampled_from(["a", "b/c", "b/d"]), st.binary(max_size=1500)))
    mode, kind = data.draw(st.sampled_from([("w", TAR), ("w:gz", GZIP)]))
    archive = tar_of(files, mode)
    piece = data.draw(st.integers(1, len(archive)))
    with tempfile.TemporaryDirectory() as folder:
        received = take(archive, Path(folder) / "bundle", kind, piece=piece)
        assert {f.path: (Path(folder) / "bundle" / f.path).read_bytes() for f in received.files} == files


# Names (1 to 6)

BAD_NAMES = {
    "1-parent": "../canary",
    "1-parent-within": "a/../../canary",
    "1-parent-harmless": "a/../b",
    "1-absolute": "/tmp/canary",
    "1-proc": "//proc/self/root/tmp/canary",
    "4-dot": ".",
    "4-dot-within": "a/./b",
    "4-dots": "././a",
    "4-empty-part": "a//b",
    "4-slash-at-the-end": "a/",
    "5-line-end": "a\nb",
    "5-carriage-return": "a\rb",
    "5-right-to-left": "a\u202egpj.py",
    "5-zero-width": "a\u200bb",
    "5-escape": "a\x1b[31m",
    "5-delete": "a\x7f",
    "backslash": "a\\..\\b",
    "part-too-long": "a" * 256,
}


@pytest.mark.parametrize("name", BAD_NAMES.values(), ids=BAD_NAMES)
@pytest.mark.parametrize("how", ["plain", "pax", "gnu"])
def test_hardening_1_to_5_names_that_lead_elsewhere(into: Path, name: str, how: str) -> None:
    raw = name.encode()
    before = {"plain": b"", "pax": pax(path=raw), "gnu": member("././@LongLink", raw + b"\0", b"L")}[how]
    if how == "plain" and len(raw) > 100:
        return  # does not fit
    refused(InvalidError, before + member(raw if how == "plain" else "harmless", b"data") + END, into)


@pytest.mark.parametrize(
    "name", ["%2e%2e", "%252e%252e", "..%2fcanary", "#", "a;b", "a?b", "...", "..a", "~root"]
)
def test_hardening_2_and_3_spellings_mean_nothing_here(into: Path, name: str) -> None:
    """Nobody decodes or expands names, so these are names like others."""
    received = take(member(name, b"data") + END, into)
    assert [f.path for f in received.files] == [name]
    assert [p.name for p in into.iterdir()] == [name]


def test_hardening_5_a_nul_in_a_pax_name(into: Path) -> None:
    refused(InvalidError, pax(path=b"a\0b") + member("harmless") + END, into)


def test_a_name_that_is_not_utf8(into: Path) -> None:
    assert "not UTF-8" in refused(InvalidError, member(b"caf\xe9") + END, into)


TWINS = [
    ("Model.pkl", "model.pkl"),
    ("A/x", "a/y"),
    ("caf\u00e9", "cafe\u0301"),
    ("ﬁle", "file"),
    ("straße", "STRASSE"),
]


@pytest.mark.parametrize(("first", "second"), TWINS)
def test_hardening_6_twins(into: Path, first: str, second: str) -> None:
    assert "differs from" in refused(InvalidError, tar_of({first: b"1", second: b"2"}), into)


# Archives (8 to 15)


@pytest.mark.parametrize("kind", [b"1", b"2", b"3", b"4", b"6", b"S", b"K", b"D", b"V", b"?", b"\xff"])
def test_hardening_8_and_9_links_devices_fifos_and_what_nobody_knows(into: Path, kind: bytes) -> None:
    assert "only plain files and folders" in refused(InvalidError, member("innocent", kind=kind) + END, into)


def test_hardening_8_a_symlink_and_a_write_through_it(into: Path, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    canary.mkdir()
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, str(canary)
        tar.addfile(link)
        tar.addfile(tarfile.TarInfo("link/through"))
    refused(InvalidError, out.getvalue(), into)
    assert list(canary.iterdir()) == []


def test_hardening_10_a_chain_of_folders_over_path_max(into: Path) -> None:
    for path in ("a/" * 3000 + "b", "/".join(["x" * 200] * 30)):
        refused(InvalidError, pax(path=path.encode()) + member("b") + END, into)


@pytest.mark.parametrize(
    "archive",
    [
        member("a", b"1") + member("a", b"2"),
        member("./a", b"1") + member("a", b"2"),
        member("a", b"1") + member("a/b", b"2"),
        member("a/b", b"1") + member("a", b"2"),
        member("a", b"1") + member("a", kind=b"5"),
        member("a", kind=b"5") + member("a", b"1"),
    ],
)
def test_hardening_11_duplicates(into: Path, archive: bytes) -> None:
    assert "in the archive" in refused(InvalidError, archive + END, into)


def test_a_folder_may_come_after_its_files_and_twice(into: Path) -> None:
    archive = member("a/b", b"1") + member("a/", kind=b"5") + member("a", kind=b"5") + member("a/c") + END
    assert [f.path for f in take(archive, into).files] == ["a/b", "a/c"]


def test_hardening_11_two_sizes_for_one_member(into: Path) -> None:
    refused(MalformedError, pax(size=b"0") + member("a", b"data") + END, into)
    refused(MalformedError, member("a", b"data", b"5") + END, into)


@pytest.mark.parametrize("hidden", [member("hidden", b"data"), b"\0" * BLOCK + b"x", bytes(2_000_000)])
def test_hardening_11_something_after_the_end(into: Path, hidden: bytes) -> None:
    assert "after its end" in refused(MalformedError, member("a") + END + hidden, into)


def test_hardening_12_a_gzip_bomb_stops_early(into: Path) -> None:
    """1 GB of zeros in 1 MB: over the limit after 1 MB of it, without holding it in memory."""
    taken = 0

    def bomb() -> Iterator[bytes]:
        nonlocal taken
        pack = zlib.compressobj(9, wbits=31)
        yield pack.compress(member("bomb", size=10**9))
        for _ in range(1000):
            taken += 1
            yield pack.compress(bytes(10**6)) + pack.flush(zlib.Z_SYNC_FLUSH)

    with pytest.raises(TooLargeError, match="over the limit of 1000000 bytes"):
        receive(bomb(), GZIP, into, LIMITS)
    assert taken < 5
    assert not into.exists()


def test_hardening_12_many_small_files_over_the_limit(into: Path) -> None:
    archive = b"".join(member(f"f{n}", bytes(100_000)) for n in range(11)) + END
    refused(TooLargeError, archive, into)


def test_hardening_12_an_endless_gzip_that_unpacks_to_nothing(into: Path) -> None:
    empty_block = b"\x00\x00\x00\xff\xff"  # deflate: stored, no bytes, not the last
    head = struct.pack("<4BIBB", 0x1F, 0x8B, 8, 0, 0, 0, 3)
    with pytest.raises(TooLargeError, match="over the limit"):
        receive(itertools.chain([head], itertools.repeat(empty_block * 1000)), GZIP, into, LIMITS)


@pytest.mark.parametrize("kind", ["x", "L"])
def test_hardening_12_a_header_of_gigabytes(into: Path, kind: str) -> None:
    """Refused by its declared size, before a byte of it is read."""

    def endless() -> Iterator[bytes]:
        yield member("h", kind=kind.encode(), size=8 * 10**9)
        raise AssertionError

    with pytest.raises(TooLargeError, match="8000000000 bytes"):
        receive(endless(), TAR, into, LIMITS)


@pytest.mark.parametrize("kind", [b"0", b"5", b"x", b"g", b"L"])
def test_hardening_13_a_million_empty_entries(into: Path, kind: bytes) -> None:
    entries = (member(f"f{n}", kind=kind) for n in range(1_000_000))
    with pytest.raises(TooLargeError, match="more than 50 entries"):
        receive(entries, TAR, into, LIMITS)
    assert not into.exists()


def test_hardening_14_a_size_beyond_the_archive(into: Path) -> None:
    assert "cut short" in refused(MalformedError, member("a", b"data", size=2000), into)


def test_hardening_14_a_size_in_binary(into: Path) -> None:
    block = bytearray(member("a", b"data"))
    for size, error in ((b"\x80" + b"\xff" * 11, TooLargeError), (b"\xff" * 12, MalformedError)):
        block[124:136] = size
        block[148:156] = b" " * 8
        block[148:156] = b"%06o\0 " % sum(block[:BLOCK])
        refused(error, bytes(block) + END, into)


@given(data=st.data())
def test_an_archive_cut_anywhere_is_refused(data: st.DataObject) -> None:
    mode, kind = data.draw(st.sampled_from([("w", TAR), ("w:gz", GZIP)]))
    archive = tar_of({"a": b"1" * 600, "b/c": b"2" * 100}, mode)
    if kind == TAR:
        archive = archive[: 4 * BLOCK + BLOCK + 1]  # up to the first byte of the end; what follows may be cut
    cut = data.draw(st.integers(0, len(archive) - 1))
    with tempfile.TemporaryDirectory() as folder:
        refused(MalformedError, archive[:cut], Path(folder) / "bundle", kind)


@pytest.mark.parametrize("archive", [b"", b"not a tar at all", b"x" * 2000, b"\x1f\x8b" + bytes(1000)])
@pytest.mark.parametrize("kind", [TAR, GZIP])
def test_what_is_no_archive(into: Path, archive: bytes, kind: str) -> None:
    refused(MalformedError, archive, into, kind)


def test_gzip_under_the_name_of_tar_is_told_what_to_do(into: Path) -> None:
    assert "This is gzip" in refused(MalformedError, tar_of({"a": b""}, "w:gz"), into)


def test_a_second_gzip_stream(into: Path) -> None:
    archive = gzip.compress(tar_of({"a": b"1"}))
    assert "after its end" in refused(MalformedError, archive + archive, into, GZIP)


def test_a_damaged_gzip(into: Path) -> None:
    archive = bytearray(gzip.compress(tar_of({"a": b"1"})))
    archive[-5] ^= 1  # in its checksum
    refused(MalformedError, bytes(archive), into, GZIP)


@pytest.mark.parametrize("kind", ["application/zip", "text/plain", "", "application/x-tar-but-not", "zstd"])
def test_other_kinds_of_archive(into: Path, kind: str) -> None:
    refused(InvalidError, tar_of({"a": b""}), into, kind)


@pytest.mark.parametrize(
    "records",
    [b"5 a=\n", b"99 path=x\n", b"0 path=x\n", b"path=x\n", b"9 path=xx", b"-1 a=b\n", b"8 path=x\n"],
)
def test_damaged_extended_headers(into: Path, records: bytes) -> None:
    damaged = member("pax", records, b"x")
    if records == b"5 a=\n":  # a record without a value is allowed
        assert take(damaged + member("a") + END, into).files[0].path == "a"
    else:
        refused(MalformedError, damaged + member("a") + END, into)


@pytest.mark.parametrize("key", ["GNU.sparse.major", "hdrcharset"])
def test_extended_headers_that_change_the_rules(into: Path, key: str) -> None:
    refused(InvalidError, pax(**{key: b"BINARY"}) + member("a") + END, into)


def test_a_name_for_all_members(into: Path) -> None:
    refused(InvalidError, member("pax", b"10 path=x\n", b"g") + member("a") + END, into)


def test_a_comment_for_all_members_as_git_writes_it(into: Path) -> None:
    archive = member("pax", b"14 comment=4f1\n"[:15], b"g") + member("a") + END
    refused(MalformedError, archive, into)  # its length is wrong: 15 bytes
    archive = member("pax", b"15 comment=4f1\n", b"g") + member("a") + END
    assert take(archive, into).files[0].path == "a"


NAMES = st.lists(
    st.sampled_from(["..", ".", "", "a", "A", "canary", "etc", "\\", "\0", "~", "é", "/"]), max_size=6
)


@given(names=st.lists(NAMES.map("/".join), min_size=1, max_size=4), kinds=st.data())
@example(names=["../canary/file"], kinds=None)
def test_whatever_the_names_the_canary_is_not_touched(names: list[str], kinds: st.DataObject | None) -> None:
    """Either all is inside, or it is refused; a canary file beside the folder stays as it is, either way."""
    root = Path(tempfile.mkdtemp())
    try:
        canary = root / "canary"
        canary.write_text("untouched")
        before = sorted(root.rglob("*"))
        into = root / "in"
        types = [kinds.draw(st.sampled_from([b"0", b"5", b"2", b"1"])) if kinds else b"0" for _ in names]
        archive = b"".join(
            member(n, b"x" if t == b"0" else b"", t) for n, t in zip(names, types, strict=True)
        )
        try:
            received = take(archive + END, into)
        except YardError:
            assert not into.exists()
        else:
            assert {f.path for f in received.files} == {
                p.relative_to(into).as_posix() for p in into.rglob("*") if p.is_file()
            }
            assert not any(p.is_symlink() for p in into.rglob("*"))
            shutil.rmtree(into)
        assert sorted(root.rglob("*")) == before
        assert canary.read_text() == "untouched"
    finally:
        shutil.rmtree(root)


_FULL = """
import resource, sys
from pathlib import Path
from modelyard.catalog.bundles import Limits, receive
from modelyard.records.errors import UnavailableError
from tests.bundles import tar_of
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
try:
    receive([tar_of({"small": b"1", "large": bytes(5000)})], "application/x-tar", Path(sys.argv[1]), Limits())
except UnavailableError as error:
    assert "is full" in error.message, error
else:
    sys.exit("the write went through")
"""


def test_a_full_disk_leaves_nothing(into: Path) -> None:
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", _FULL, into], check=True, cwd=root, timeout=180)
    assert not into.exists()


def test_a_stream_that_breaks_leaves_nothing(into: Path) -> None:
    def broken() -> Iterator[bytes]:
        yield member("a", b"1")
        raise ConnectionResetError

    with pytest.raises((ConnectionResetError, UnavailableError)):
        receive(broken(), TAR, into, LIMITS)
    assert not into.exists()
