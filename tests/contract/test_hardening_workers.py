"""HARDENING, workers: what a hostile model tries from inside, each with a canary outside."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest

from modelyard.records.errors import EnvironmentBuildError
from modelyard.workers import cgroups, sandbox
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
def call(number, *arguments):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(number, *arguments) < 0: raise OSError(ctypes.get_errno(), "refused")
    return "called"
def is_filtered(number, *arguments):  # not only for lack of a capability or an argument
    try: call(number, *arguments)
    except OSError as error:
        if error.errno in (1, 38, 97): raise
    return "reached"
def family(number): return socket.socket(number, socket.SOCK_STREAM).close() or "made"
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
    "filter": lambda: read("/proc/self/status").split("Seccomp:")[1].split()[0],
    "keyring": lambda: call(250, 0, -3, 1), "unshare": lambda: call(272, 0x10000000),
    "clone": lambda: call(56, 0x10000011, 0, 0, 0, 0),
    "clone3": lambda: is_filtered(435, 0, 0), "trace": lambda: call(101, 0, 0, 0, 0),
    "io_uring": lambda: is_filtered(425, 1, 0), "bpf": lambda: is_filtered(321, 0, 0, 0),
    "perf": lambda: is_filtered(298, 0, 0, -1, -1, 0), "userfault": lambda: is_filtered(323, 0),
    "handles": lambda: is_filtered(304, -1, 0, 0), "clock": lambda: is_filtered(227, 0, 0),
    "vsock": lambda: family(40), "packet": lambda: family(17), "crypto": lambda: family(38),
    "bluetooth": lambda: family(31), "memory of others": lambda: is_filtered(310, 1, 0, 0, 0, 0, 0),
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
    assert len(got) >= 45
    assert CANARY not in json.dumps(got)
    harmless = {"fds": "got []", "others": "got False", "environ": got["environ"], "filter": "got 2"}
    allowed = {"neighbours": "got ['own']"}
    for name, words in got.items():
        assert words in ("refused", harmless.get(name), allowed.get(name)), (name, words)
    assert not list(chosen.data.glob("x"))


TOGETHER = """
import os, time
made = []
for _ in range(4):  # each is within the limit of one process
    pid = os.fork()
    if pid == 0:
        kept = bytearray(300 << 20)
        for i in range(0, len(kept), 4096): kept[i] = 1
        time.sleep(60)
        os._exit(0)
    made.append(pid)
ended, until = 0, time.monotonic() + 20
while not ended and time.monotonic() < until:
    ended += sum(os.waitpid(pid, os.WNOHANG)[0] != 0 for pid in made)
print("ended:", ended, flush=True)
for pid in made:
    try: os.kill(pid, 9)
    except ProcessLookupError: pass
def predict(columns): return columns["x"] * 2
"""


def test_62_processes_that_are_small_each_but_not_together(tmp_path: Path) -> None:
    if sandbox.missing() or not any(c.memory for c in cgroups.here()):
        pytest.skip("this machine lets nobody make control groups")
    workers = LocalWorkers(settings(tmp_path / "data", worker_memory=512 * sandbox.MIB))
    with started(workers, plan(tmp_path / "bundle", TOGETHER)) as worker:
        name = Path(worker.socket).parent.name
        assert all(Path(c.folder, f"modelyard-{name}").is_dir() for c in cgroups.here())
        said = Path(worker.log).read_text()
    assert "ended: 0" not in said
    assert "ended: " in said
    assert not any(Path(c.folder, f"modelyard-{name}").exists() for c in cgroups.here())


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
