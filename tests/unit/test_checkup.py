"""The doctor: what it finds, that each finding says what mends it, and that the handbook knows each."""

from __future__ import annotations

import re
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from msgspec.structs import replace
from tests.conftest import ROOT

from modelyard.cli import machine
from modelyard.records.backups import BackupRun, BackupState
from modelyard.records.checkup import (
    Checkup,
    LateDuty,
    of_backups,
    of_checkup,
    of_nodes,
    of_walls,
    of_workers,
)
from modelyard.records.conditions import Condition, room
from modelyard.records.diagnosis import CODES, Finding
from modelyard.records.nodes import Node, NodeState
from modelyard.workers.certificates import certificates

NOW = datetime(2026, 11, 26, 3, 0, tzinfo=UTC)
GIB = 1024**3
WELL = Checkup(
    at=NOW,
    schema="0021",
    known="0021",
    disk_free=50 * GIB,
    spool_bytes=1000,
    spool_since=NOW - timedelta(seconds=20),
    late=(),
    jobs_queued=0,
    jobs_since=None,
)
NODE = Node(
    id="a",
    address="http://10.0.0.5:8080",
    release="0.1.0",
    state=NodeState.UP,
    here=True,
    started_at=NOW,
    seen_at=NOW,
    clock_off=0.0,
)
MACHINE = Condition(
    at=NOW,
    cores=2,
    load=0.1,
    memory=8 * GIB,
    memory_free=6 * GIB,
    workers=1,
    worker_memory=16_000_000,
    disk_free=50 * GIB,
    spool_bytes=0,
    spool_since=None,
    spool_most=20 * GIB,
)
LATE = LateDuty("watch", "ops/twice", NOW - timedelta(hours=1), 0, "")


def codes(checkup: Checkup, clock: datetime = NOW) -> set[str]:
    found = list(of_checkup(checkup, clock))
    assert all(f.command and f.hint for f in found if f.state != "ok")
    assert all(not f.code for f in found if f.state == "ok")
    return {f.code for f in found if f.code}


def test_a_yard_that_is_well() -> None:
    assert codes(WELL) == set()
    assert {f.what for f in of_checkup(WELL, NOW)} == {
        *("schema of the database", "disk of the node", "recorded predictions", "work of the loop", "jobs")
    }


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"schema": "0022"}, "schema-newer"),
        ({"disk_free": GIB}, "disk-low"),
        ({"spool_since": NOW - timedelta(hours=2)}, "spool-waiting"),
        ({"spool_bytes": 17 * GIB, "spool_most": 20 * GIB}, "spool-full"),
        ({"late": (LATE,)}, "duty-late"),
        ({"late": (LateDuty("train", "7", None, 3, "no R"),)}, "duty-failing"),
        ({"jobs_queued": 3, "jobs_since": NOW - timedelta(days=1)}, "jobs-waiting"),
    ],
)
def test_what_is_not(changed: dict[str, object], code: str) -> None:
    assert codes(replace(WELL, **changed)) == {code}


@pytest.mark.parametrize(
    "changed",
    [
        {"schema": "0020"},  # an upgrade that the database has not seen yet is not the node's matter
        {"late": (LateDuty("watch", "a/b", NOW - timedelta(minutes=1), 0, ""),)},
        {"late": (LateDuty("watch", "a/b", None, 2, "the network"),)},
        {"jobs_queued": 3, "jobs_since": NOW - timedelta(minutes=5)},
    ],
)
def test_what_is_ordinary(changed: dict[str, object]) -> None:
    assert codes(replace(WELL, **changed)) == set()


@pytest.mark.parametrize("seconds", [-3600, -6, 6, 86_400])
def test_a_clock_that_is_off(seconds: int) -> None:
    assert codes(WELL, NOW + timedelta(seconds=seconds)) == {"clock-off"}
    assert codes(WELL, NOW + timedelta(seconds=4)) == set()


def test_backups() -> None:
    run = BackupRun(kind="backup", at=NOW - timedelta(hours=3), ok=True, words="made")
    well = BackupState(every_hours=24, backup=run, drill=run, failure=None)
    old = replace(well, backup=replace(run, at=NOW - timedelta(days=30)))
    failed = replace(well, failure=replace(run, ok=False, words="The disk is full."))
    never = BackupState(every_hours=0, backup=None, drill=None, failure=None)
    found = [[f.code for f in of_backups(state, NOW)] for state in (well, old, failed, never)]
    assert found == [[""], ["backup-old"], ["backup-failed", ""], ["backup-none"]]


def test_workers() -> None:
    well, dying = of_workers([("a.b.1", "r", "ready", 7, 0), ("a.b.2", "r", "ready", 7, 4)])
    assert (well.state, dying.code, "a.b.2-0.log" in dying.command) == ("ok", "worker-dying", True)


def test_nodes() -> None:
    older = replace(NODE, words="It runs 0.1.0, and b runs 0.2.0.", hint="Finish the upgrade.")
    dead = replace(NODE, state=NodeState.DEAD, words="It was not heard of for 25 s.", hint="Start it again.")
    late = replace(NODE, clock_off=-7.0, words="Its clock is 7 s behind the database's.", hint="Set it.")
    well, *ill = of_nodes([NODE, older, dead, late])
    assert well.state == "ok"
    assert [f.code for f in ill] == ["node-trouble", "node-dead", "clock-off"]
    assert all(f.state == "problem" and f.command for f in ill)


def test_what_other_nodes_told_of_their_machines() -> None:
    away = Finding("problem", "cluster main", "Nothing answers.", "Start it.", "ray-away", "ray status")
    told = replace(MACHINE, disk_free=GIB, problems=(away,))
    there = replace(NODE, here=False, condition=told, room="Room for some 9,100 more.")
    node, disk, cluster = of_nodes([there])
    assert node.words.startswith("up, 0.1.0; 2 cores, load 0.1; 6.0 GiB of 8.0 GiB memory free; 1 worker ")
    assert node.words.endswith("Room for some 9,100 more.")
    assert (disk.what, disk.code) == ("disk of http://10.0.0.5:8080", "disk-low")
    assert (cluster.what, cluster.code) == ("cluster main of http://10.0.0.5:8080", "ray-away")
    here = of_nodes([replace(there, here=True)])
    assert [f.code for f in here] == ["", "ray-away"]  # `of_checkup` has the disk


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({}, "Room for some 9,100 more predictions a second and 20 more models with libraries."),
        ({"load": 1.2}, "Its cores are full."),
        ({"memory_free": 3 * GIB}, "Its memory is full."),
        ({"load": 9.0, "memory_free": 0}, "Its cores and memory are full."),
    ],
)
def test_how_much_more_a_machine_could_carry(changed: dict[str, object], words: str) -> None:
    assert room(replace(MACHINE, **changed)) == words


def test_each_finding_has_its_paragraph_in_the_handbook_and_no_paragraph_is_left_over() -> None:
    page = (ROOT / "docs" / "operator.md").read_text()
    assert sorted(re.findall(r"(?m)^\*\*`([a-z-]+)`\*\* ", page)) == sorted(CODES)


def test_each_code_is_used_somewhere() -> None:
    names = ("records/checkup.py", "cli/doctor.py", "cli/machine.py", "workers/certificates.py")
    sources = [ROOT / "src/modelyard" / name for name in (*names, "workers/cluster.py")]
    text = "".join(path.read_text() for path in sources)
    assert [code for code in CODES if f'"{code}"' not in text] == []


# The machine


def only(found: Iterator[Finding], code: str) -> Finding:
    (finding,) = [f for f in found if f.code]
    assert finding.code == code
    assert finding.command
    return finding


def test_a_folder_that_others_can_read(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("x")
    (tmp_path / "keys").chmod(0o644)
    tmp_path.chmod(0o755)
    assert "others on this machine can read keys" in only(machine.folder(tmp_path), "data-open").words
    tmp_path.chmod(0o700)
    assert [f.code for f in machine.folder(tmp_path)] == [""]


def test_a_folder_that_cannot_be_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda *_: False)  # root may write anywhere
    only(machine.folder(tmp_path), "data-readonly")


def test_an_old_sqlite(monkeypatch: pytest.MonkeyPatch) -> None:
    assert machine.sqlite().state == "ok"
    monkeypatch.setattr("sqlite3.sqlite_version_info", (3, 31, 1))
    assert machine.sqlite().code == "sqlite-old"


def test_walls() -> None:
    found = [of_walls("", allowed=False), of_walls("no bwrap", allowed=True)]
    found.append(of_walls("no bwrap", allowed=False))
    assert [f.code for f in found] == ["", "uncontained", "walls-missing"]


@contextmanager
def tls_server(folder: Path, ends: datetime) -> Iterator[tuple[int, Path]]:
    """A server with a certificate for 127.0.0.1 that ends at a time; its port, and what to trust."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "yard")])
    host = x509.DNSName("localhost")
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(ends - timedelta(days=365))
        .not_valid_after(ends)
        .add_extension(x509.SubjectAlternativeName([host]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    trusted = folder / "trusted.pem"
    trusted.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private = serialization.PrivateFormat.PKCS8
    own = key.private_bytes(serialization.Encoding.PEM, private, serialization.NoEncryption())
    (folder / "key.pem").write_bytes(own)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(trusted, folder / "key.pem")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=_shake_hands, args=(listener, context))
        thread.start()
        yield listener.getsockname()[1], trusted
        thread.join(180)


def _shake_hands(listener: socket.socket, context: ssl.SSLContext) -> None:
    connection, _ = listener.accept()
    try:
        with context.wrap_socket(connection, server_side=True) as secure:
            secure.recv(1)
    except OSError:  # the other side does not trust us
        connection.close()


@pytest.mark.parametrize(
    ("days", "trusts", "state", "words"),
    [
        (300, True, "ok", "trusted, ends on"),
        (10, True, "problem", "in 9 days"),
        (300, False, "problem", "not trusted: self-signed certificate"),
        (-1, True, "problem", "not trusted: certificate has expired"),
    ],
)
def test_certificates(  # what a person meets, by what is set up
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    days: int,
    trusts: bool,
    state: str,
    words: str,
) -> None:
    with tls_server(tmp_path, datetime.now(UTC) + timedelta(days=days)) as (port, trusted):
        if trusts:
            monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
        (found,) = certificates([f"https://localhost:{port}/", "", "http://localhost:1"])
    assert (found.state, words in found.words) == (state, True), found.words
    assert (found.code == "certificate") == (state == "problem")


def test_a_server_that_is_not_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    (found,) = certificates([f"https://localhost:{port}"])
    assert "cannot be looked at" in found.words
    assert list(certificates([f"https://localhost:{port}"], must_answer=False)) == []
