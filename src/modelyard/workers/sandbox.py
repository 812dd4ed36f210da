"""What a process that runs other people's code may see and use: walls by bubblewrap, and limits.

Inside, there is no network, no process but its own, and no file but the system's programs and what the walls
name. The data folder is not among them, so a worker that the server started as root cannot read it either.
On top, the kernel refuses calls that no model needs (`seccomp.py`), and counts its processes together where
it may (`cgroups.py`). The process that is started stays in its parent's process group, and its end is that
of the code within.
"""

from __future__ import annotations

import os
import secrets
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from msgspec import Struct, field

from modelyard.workers import seccomp

MIB = 1024 * 1024
HOME = "/tmp"  # noqa: S108  # of the process within: a private tmpfs
_OPEN_FILES = 4096
_FILE_BYTES = 256 * MIB  # also the most a worker can write to its log between two sweeps
_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
# What programs read of /etc: libraries, Debian's choices, R, Julia, time zones, fonts, certificates.
_ETC = (
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "alternatives",
    "R",
    "julia",
    "localtime",
    "fonts",
    "ssl",
)
_FIRST_UID, _UIDS = 61_184, 4_336  # systemd's range for users that exist only while a service runs
_PROBE_SECONDS = 20


class Walls(Struct, frozen=True, kw_only=True):
    """What is inside.

    Attributes:
        read_only: files and folders that can be read, at their own paths; one that is not there is left out.
        writable: folders that can be written to as well, at their own paths.
        devices: device files, at their own paths; one that is not there is left out.
        hidden: folders whose content is not to be seen, but for what is named above.
        folder: the working folder.
        environment: all variables there are.
        memory: bytes of private writable memory of each process (RLIMIT_DATA).
        scratch: bytes that fit into `HOME` and, apart, into shared memory.
        file_bytes: the size a file can grow to.
        cpu_seconds: of each process; 0 sets no limit.
        processes: processes and threads at once.
        network: whether it has the machine's network; a job with named hosts alone.
        groups: control groups it is in; see `cgroups.make`.
        dies_with_parent: whether it is killed when the thread that started it ends; a worker outlives it.
    """

    read_only: tuple[str, ...] = ()
    writable: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()
    folder: str = "/"
    environment: dict[str, str] = field(default_factory=dict)
    memory: int = 4096 * MIB
    scratch: int = 512 * MIB
    file_bytes: int = _FILE_BYTES
    cpu_seconds: int = 0
    processes: int = 512
    network: bool = False
    groups: tuple[str, ...] = ()
    dies_with_parent: bool = False


def limited(command: list[str], memory: int, file_bytes: int = _FILE_BYTES) -> list[str]:
    """The command, started under limits where the machine has `prlimit` (util-linux), and without walls.

    Args:
        command: program and arguments.
        memory: bytes of private writable memory (RLIMIT_DATA).
        file_bytes: the size a file can grow to.
    """
    program = shutil.which("prlimit")
    if program is None:
        return command
    limits = ["--core=0", f"--nofile={_OPEN_FILES}", f"--fsize={file_bytes}", f"--data={memory}"]
    return [program, *limits, "--", *command]


def contained(command: list[str], walls: Walls) -> list[str]:
    """The command, started within the walls; it is for who calls to look at `missing()` before.

    As root it gets a user of its own, which owns nothing: `hand_over` gives it the folders it writes to.
    """
    own_user = os.geteuid() == 0
    limits = [f"--nproc={walls.processes}"]
    if walls.cpu_seconds:
        limits.append(f"--cpu={walls.cpu_seconds}")
    inside = ["prlimit", *limits, "--", *limited(command, walls.memory, walls.file_bytes)]
    if own_user:
        number = str(_FIRST_UID + secrets.randbelow(_UIDS))
        user = [f"--reuid={number}", f"--regid={number}", "--clear-groups", "--bounding-set=-all"]
        inside = ["setpriv", *user, "--inh-caps=-all", "--no-new-privs", "--", *inside]
    variables = [part for pair in walls.environment.items() for part in ("--setenv", *pair)]
    outside = [*_namespaces(walls, own_user), *_files(walls), "--clearenv", *variables]
    return [*_entrance(walls.groups), *outside, "--", *inside]


def _entrance(groups: tuple[str, ...]) -> list[str]:
    """Join the groups, open the filter of calls, and become bubblewrap."""
    filter_path = seccomp.filter_path()
    script = "".join(f"echo 0 > {shlex.quote(file)} && " for file in groups) + 'exec "$@"'
    if filter_path:
        return ["/bin/sh", "-c", f"{script} 9< {filter_path}", "sh", "bwrap", "--seccomp", "9"]
    return ["/bin/sh", "-c", script, "sh", "bwrap"] if groups else ["bwrap"]


def _namespaces(walls: Walls, own_user: bool) -> list[str]:
    options = ["--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try", "--cap-drop", "ALL"]
    options += ["--hostname", "worker"]
    if own_user:  # to become another user and to give up the rest: `setpriv` uses them up
        for name in ("CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP"):
            options += ["--cap-add", name]
    if not walls.network:
        options.append("--unshare-net")
    if walls.dies_with_parent:
        options.append("--die-with-parent")
    return options


def _files(walls: Walls) -> list[str]:
    options = list(_system())
    size = str(walls.scratch)
    options += ["--proc", "/proc", "--dev", "/dev", "--perms", "1777", "--size", size, "--tmpfs", HOME]
    options += ["--perms", "1777", "--size", size, "--tmpfs", "/dev/shm"]  # noqa: S108
    for path in walls.devices:
        options += [*_way_to(path), "--dev-bind-try", path, path]
    inner = [path for path in walls.read_only if any(Path(path).is_relative_to(h) for h in walls.hidden)]
    # First what may have a hidden folder in it, then that folder emptied, then what is named of it.
    for path in (p for p in walls.read_only if p not in inner):
        options += [*_way_to(path), "--ro-bind-try", path, path]
    for path in walls.hidden:
        options += [*_way_to(path), "--tmpfs", path]
    for path in inner:
        options += [*_way_to(path), "--ro-bind-try", path, path]
    for path in walls.writable:
        options += [*_way_to(path), "--bind", path, path]
    for path in (*walls.hidden, "/dev", "/"):  # without root, they would be the process's own, to fill
        options += ["--remount-ro", path]
    return [*options, "--chdir", walls.folder]


def _system() -> Iterator[str]:
    for path in _SYSTEM:
        if Path(path).is_symlink():
            yield from ("--symlink", str(Path(path).readlink()), path)
        elif Path(path).exists():
            yield from ("--ro-bind", path, path)
    yield from ("--perms", "0755", "--dir", "/etc")
    for name in _ETC:
        yield from ("--ro-bind-try", f"/etc/{name}", f"/etc/{name}")


def _way_to(path: str) -> Iterator[str]:
    """Empty folders above a path, which everybody may pass: those bubblewrap makes are for root alone."""
    for parent in reversed(Path(path).parents[:-1]):
        yield from ("--perms", "0755", "--dir", str(parent))


def hand_over(folder: Path) -> None:
    """Let the user of a contained process write to this folder; its parents keep everybody else out."""
    if os.geteuid() == 0:
        folder.chmod(0o777)


def show(folder: Path) -> None:
    """Let the user of a contained process read what is in this folder; its parents keep others out."""
    if os.geteuid() != 0:
        return
    folder.chmod(folder.stat().st_mode | 0o555)
    for path in folder.rglob("*"):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | (0o555 if path.is_dir() else 0o444))


def needs(program: str) -> tuple[str, ...]:
    """The folders a program outside the system's needs to start: its own prefix, and a venv's base.

    >>> needs("/usr/bin/env")
    ()
    """
    found = shutil.which(program)
    return tuple(dict.fromkeys(p for p in _prefixes(Path(found)) if _is_own(p))) if found else ()


def _prefixes(program: Path) -> Iterator[str]:
    with program.open("rb") as file:
        line = file.readline(4096)
    if line.startswith(b"#!"):
        yield from needs(os.fsdecode(line[2:]).split()[0])
        beside = program.resolve().parent
        if program.parent.name != "bin" and beside.stat().st_mode & 0o005:
            yield str(beside)  # where a script that starts another program has that
    if program.parent.name != "bin":
        yield str(program.absolute())
        return
    prefix = program.absolute().parent.parent
    yield str(prefix)
    yield str(program.resolve().parent.parent)
    marks = prefix / "pyvenv.cfg"
    if marks.is_file():
        for mark in marks.read_text("utf-8").splitlines():
            key, _, value = mark.partition("=")
            if key.strip() == "home":
                base = Path(value.strip())
                yield str(base.parent)
                yield str(base.resolve().parent)


def _is_own(prefix: str) -> bool:
    # One that is so high up would show everything: such a program is not started within walls.
    path = Path(prefix)
    too_high = len(path.parts) <= 2 or Path.home().is_relative_to(path)  # noqa: PLR2004
    return not too_high and not any(path.is_relative_to(system) for system in _SYSTEM)


@cache
def missing() -> str:
    """Why no walls can be had on this machine, in words; "" where they can. Tried once, by using them."""
    for program in ("bwrap", "prlimit", *(("setpriv",) if os.geteuid() == 0 else ())):
        if shutil.which(program) is None:
            return f"{program} is not installed"
    try:
        command = contained(["/bin/sh", "-c", "exit 0"], Walls())
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=_PROBE_SECONDS,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"bubblewrap does not start: {error}"
    words = done.stderr.strip().splitlines()
    return "" if done.returncode == 0 else f"bubblewrap does not work: {' '.join(words[-1:])}"
