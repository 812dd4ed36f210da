"""HARDENING, workers: what a hostile model tries from inside, each with a canary outside."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest

from modelyard.records.errors import EnvironmentBuildError
from modelyard.workers import sandbox
from modelyard.workers.local import LocalWorkers
from tests.contract.hands import plan, quiet, settings, started

CANARY = "canary-7f3a"

# Each prints what it got; the model then answers as if nothing had been.
PROBES = """
import ctypes, glob, json, os, resource, socket, subprocess
from pathlib import Path
def read(path): return Path(path).read_text(errors="replace")
def write(path): Path(path).write_text("x"); return "written"
def connect(kind, to):
    with socket.socket(kind) as s:
        s.settimeout(2); s.connect(to); return "connected"
def mount():
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"none", b"/tmp", b"tmpfs", 0, None): raise OSError(ctypes.get_errno())
    return "mounted"
def forks():
    made = []
    try:
        for _ in range(2000):
            pid = os.fork()
            if pid == 0: os._exit(0) if len(made) > 1900 else __import__("time").sleep(60)
            made.append(pid)
    finally:
        for pid in made: os.kill(pid, 9)
        for pid in made: os.waitpid(pid, 0)
def fill(folder):
    with open(folder + "/big", "wb") as f:
        try:
            for _ in range(1024): f.write(bytes(1 << 20)); f.flush()
        finally: os.unlink(folder + "/big")
def files():
    kept = []
    for _ in range(100_000): kept.append(open("/dev/null"))
probes = {
    "data": lambda: read(DATA + "/secret"), "database": lambda: read(DATA + "/yard.sqlite"),
    "root": lambda: read("/proc/1/root" + DATA + "/secret"),
    "fds": lambda: [p for p in glob.glob("/proc/*/fd/*") if DATA in os.readlink(p)
        and ".log" not in os.readlink(p) and "/s" != os.readlink(p)[-2:]],
    "neighbour": lambda: read(OTHER + "/model.py"), "neighbours": lambda: os.listdir(os.path.dirname(OTHER)),
    "environ": lambda: "".join(read(p) for p in glob.glob("/proc/[0-9]*/environ")),
    "shadow": lambda: read("/etc/shadow"), "home": lambda: read(HOME + "/private"),
    "server": lambda: os.kill(SERVER, 0),
    "others": lambda: len(glob.glob("/proc/[0-9]*")) > 8 and CANARY_SEEN,
    "engine": lambda: connect(socket.AF_UNIX, DATA + "/run/engine.sock"),
    "loopback": lambda: connect(socket.AF_INET, ("127.0.0.1", PORT)),
    "metadata": lambda: connect(socket.AF_INET, ("169.254.169.254", 80)),
    "six": lambda: connect(socket.AF_INET6, ("::1", PORT)),
    "bundle": lambda: write(BUNDLE + "/model.py"), "runtime": lambda: write(RUNTIME),
    "usr": lambda: write("/usr/x"), "etc": lambda: write("/etc/x"), "top": lambda: write("/x"),
    "dev": lambda: write("/dev/x"), "hidden": lambda: write(DATA + "/x"),
    "chmod": lambda: os.chmod(BUNDLE, 0o777), "mount": mount, "chroot": lambda: os.chroot("/tmp"),
    "mknod": lambda: os.mknod("/tmp/d", 0o60666, os.makedev(8, 0)), "setuid": lambda: os.setuid(0),
    "limits": lambda: resource.setrlimit(resource.RLIMIT_DATA, (-1, -1)),
    "memory": lambda: len(bytearray(100 << 30)), "disk": lambda: fill("/tmp"),
    "shared": lambda: fill("/dev/shm"),
    "forks": forks, "files": files,
}
got = {}
for name, probe in probes.items():
    try: got[name] = "got " + str(probe())
    except (OSError, MemoryError, ValueError) as error: got[name] = "refused"
print(json.dumps(got), flush=True)
def predict(columns): return columns["x"] * 2
"""


def test_60_61_62_a_hostile_worker_gets_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if sandbox.missing():
        pytest.skip(sandbox.missing())
    monkeypatch.setenv("YARD_SECRET", CANARY)
    chosen = settings(tmp_path / "data")
    workers = LocalWorkers(chosen)
    (tmp_path / "private").write_text(CANARY)
    (chosen.data / "secret").write_text(CANARY)
    (chosen.data / "yard.sqlite").write_text(CANARY)
    (chosen.data / "secret").chmod(0o644)
    other = chosen.data / "bundles" / "other"
    other.mkdir(parents=True)
    (other / "model.py").write_text(CANARY)
    with socket.socket() as server, socket.socket(socket.AF_UNIX) as engine:
        server.bind(("127.0.0.1", 0))
        server.listen()
        engine.bind(str(chosen.engine_socket))
        engine.listen()
        bundle = chosen.data / "bundles" / "own"
        bundle.parent.mkdir(exist_ok=True)
        known = {
            "DATA": str(chosen.data),
            "OTHER": str(other),
            "HOME": str(tmp_path),
            "SERVER": os.getpid(),
            "CANARY_SEEN": CANARY,
            "PORT": server.getsockname()[1],
            "BUNDLE": str(bundle),
            "RUNTIME": str(Path(sandbox.__file__).parents[3] / "runtimes" / "python" / "worker.py"),
        }
        source = "".join(f"{name} = {value!r}\n" for name, value in known.items()) + PROBES
        with started(workers, plan(bundle, source)) as worker:
            said = Path(worker.log).read_text()
    got = json.loads(next(line for line in said.splitlines() if line.startswith("{")))
    assert len(got) >= 30
    assert CANARY not in json.dumps(got)
    harmless = {"fds": "got []", "others": "got False", "environ": got["environ"]}
    allowed = {"neighbours": "got ['own']"}
    for name, words in got.items():
        assert words in ("refused", harmless.get(name), allowed.get(name)), (name, words)
    assert not list(chosen.data.glob("x"))


def test_without_walls_code_is_refused_and_a_setting_allows_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox, "missing", lambda: "bwrap is not installed")
    with pytest.raises(EnvironmentBuildError, match="bwrap is not installed") as caught:
        LocalWorkers(settings(tmp_path / "data")).start(plan(tmp_path / "bundle"), quiet)
    assert "YARD_ALLOW_UNCONTAINED" in caught.value.hint
    allowing = LocalWorkers(settings(tmp_path / "data", allow_uncontained=True))
    with started(allowing, plan(tmp_path / "bundle")) as worker:
        assert worker.runtime.startswith("python")
