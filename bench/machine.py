"""The machine a figure was measured on, and what its processes use."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from pathlib import Path

from msgspec import Struct

ROOT = Path(__file__).resolve().parents[1]
TOOLS = ROOT / ".tools" / "peers"
_TICKS = os.sysconf("SC_CLK_TCK")


class Machine(Struct, frozen=True):
    """What a reader must know to read a figure."""

    cpu: str
    cores: int
    memory_gib: float
    kernel: str
    system: str
    python: str
    load: float
    commit: str

    def words(self) -> str:
        """In one line."""
        return (
            f"{self.cpu}, {self.cores} cores, {self.memory_gib:.0f} GiB, {self.system}, "
            f"kernel {self.kernel}, Python {self.python}; load average {self.load:.1f} when the run began"
        )


def this_machine() -> Machine:
    """The machine this runs on."""
    cpuinfo = Path("/proc/cpuinfo").read_text()
    model = re.search(r"^model name\s*:\s*(.+)$", cpuinfo, re.MULTILINE)
    return Machine(
        cpu=model[1] if model else platform.machine(),
        cores=len(os.sched_getaffinity(0)),
        memory_gib=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30,
        kernel=platform.release().partition("-")[0],
        system=platform.freedesktop_os_release().get("PRETTY_NAME", platform.system()),
        python=platform.python_version(),
        load=os.getloadavg()[0],
        commit=_commit(),
    )


def _commit() -> str:
    command = ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    return found.stdout.strip() or "unknown"


def family(pid: int) -> list[int]:
    """A process and all its descendants, oldest first."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended meanwhile
            continue
        children.setdefault(int(fields[1]), []).append(int(path.parent.name))
    found, waiting = [], [pid]
    while waiting:
        one = waiting.pop(0)
        found.append(one)
        waiting += sorted(children.get(one, []))
    return found


def cpu_seconds(pid: int) -> float:
    """CPU time a process has used, 0 if it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / _TICKS


def command_of(pid: int) -> str:
    """A process's command line."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def memory_mb(pid: int) -> tuple[float, float]:
    """Proportional (shared pages divided among users) and resident memory of a process, in 10⁶ bytes."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    sizes = dict(re.findall(r"^(\w+):\s+(\d+) kB$", text, re.MULTILINE))
    return int(sizes["Pss"]) * 1024 / 1e6, int(sizes["Rss"]) * 1024 / 1e6
