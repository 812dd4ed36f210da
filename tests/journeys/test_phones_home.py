"""Nothing phones home: a journey as the kernel saw it, with all processes of the yard and its workers."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bundles import tar_of
from tests.conftest import find_rscript
from tests.journeys.models import times
from tests.journeys.running import PATIENCE, RunningYard, publish, until

CALLS = "connect,sendto,sendmmsg,openat,open,creat,mkdir,mkdirat,rename,renameat2,symlink,link,execve"
MADE = re.compile(
    r"^(\d+) +(?:<\.\.\. )?(?:clone|clone3|fork|vfork)(?:\(| resumed>).* = (\d+)(?: /\* (\d+) in strace)?"
)
STARTED = re.compile(r'^(\d+) .*execve\("([^"]+)"')
PATH = re.compile(r'"((?:[^"\\\\]|\\\\.)*)"')
NOWHERE = ("/dev/", "/proc/", "/sys/fs/cgroup/")


class Trace:
    """The lines of strace, and which processes run within walls."""

    def __init__(self, file: Path) -> None:
        self.lines = file.read_text(errors="replace").splitlines()
        parents = {found[3] or found[2]: found[1] for line in self.lines if (found := MADE.match(line))}
        walls = {found[1] for line in self.lines if (found := STARTED.match(line)) and "bwrap" in found[2]}
        self.started = {found[2] for line in self.lines if (found := STARTED.match(line))}
        self._within = set(walls)
        for child in parents:
            above = child
            while above in parents:
                above = parents[above]
                if above in walls:
                    self._within.add(child)
                    break

    def connections(self) -> list[str]:
        """Those that leave this machine, or ask for a name."""
        asked = [x for x in self.lines if "AF_INET" in x and ("connect(" in x or "send" in x)]
        return [x for x in asked if '"127.0.0.1"' not in x and '"::1"' not in x]

    def written(self) -> Iterator[str]:
        """Paths that processes outside the walls opened to write, made or renamed."""
        for line in self.lines:
            if line.partition(" ")[0] in self._within or " = -1 " in line or "execve(" in line:
                continue
            opens = "open" in line and not re.search(r"O_WRONLY|O_RDWR|O_CREAT", line)
            if not opens and "connect(" not in line and "send" not in line:
                yield from PATH.findall(line)


@pytest.fixture
def rds(tmp_path: Path) -> bytes:
    """A fitted line of R, saved."""
    rscript = find_rscript()
    if not rscript:
        pytest.skip("R is not installed")
    code = f"saveRDS(lm(y ~ x, data.frame(x = 1:9, y = 2 * (1:9))), '{tmp_path / 'model.rds'}')"
    subprocess.run([rscript, "--vanilla", "-e", code], check=True, capture_output=True, timeout=PATIENCE)
    return (tmp_path / "model.rds").read_bytes()


@pytest.fixture
def data() -> Iterator[Path]:
    """A short path: a yard in a deep folder has its sockets elsewhere."""
    with tempfile.TemporaryDirectory(prefix="yard-") as folder:
        yield Path(folder) / "data"


def test_a_whole_journey_opens_no_connection_and_writes_nothing_outside(
    tmp_path: Path, data: Path, rds: bytes
) -> None:
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is not installed")
    trace = tmp_path / "trace"
    watcher = (
        strace,
        "-DDD",  # in a session of its own: what ends the yard does not end it before its last line
        "-f",
        "-q",
        "--seccomp-bpf",
        "--decode-pids=pidns",
        "-o",
        str(trace),
        "-e",
        f"trace={CALLS},process",
    )
    with RunningYard(data, watcher=watcher) as yard, yard.client() as client:
        assert publish(client, "ops/twice", times(2))["state"] == "checked"
        text = 'format = 1\nlanguage = "r"\nlanguage_version = "4.2.2"\nentry = "model.rds"\n'
        text += '[[signature.inputs]]\nname = "x"\ntype = "float64"\n'
        files = {"yardbundle.toml": text.encode(), "example.csv": b"x\n1\n", "model.rds": rds}
        assert publish(client, "ops/line", tar_of(files))["state"] == "checked"
        for model in ("ops/twice", "ops/line"):
            answer = client.post(f"/models/{model}/predict", json=[{"x": 2}])
            assert answer.json()["predictions"] == pytest.approx([4.0])
        for page in ("/api/v1/models", "/api/openapi.json", "/metrics", "/sign-in"):
            assert client.get(page).status_code == 200
    assert yard.process is not None
    end = re.compile(rf"^{yard.process.pid} +\+\+\+ exited", re.MULTILINE)  # strace goes on for a moment
    until(lambda: end.search(trace.read_text(errors="replace")))
    seen = Trace(trace)
    assert any("bwrap" in program for program in seen.started), "the workers were not seen"
    assert any(str(data) in path for path in seen.written()), "no file was seen"
    assert seen.connections() == []
    own = (str(data), *NOWHERE)
    assert {path for path in seen.written() if not path.startswith(own) and path.startswith("/")} == set()
