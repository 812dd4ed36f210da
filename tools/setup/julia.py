"""Julia: the one on the PATH if it works, else Debian 11's, unpacked into `.tools`.

Debian 12 has no Julia. Debian 11's 1.5.3 runs on it, but with Debian 12's libunwind8 a thrown exception ends
the program, so Debian 11's comes along. Nothing is installed: the files are fetched through a temporary apt
source on the machine's own mirror and lie in `.tools/julia-root`; `.tools/julia` starts them. No root needed.
"""

from __future__ import annotations

import shutil
import sysconfig
from pathlib import Path

from tools.setup.apt import Source, mirror_of, private_apt, read_sources, unpack
from tools.setup.machine import TOOLS, SetupError, run, step

PROGRAM = TOOLS / "julia"
_ROOT = TOOLS / "julia-root"
_SUITE = "bullseye"
_TRIPLET = str(sysconfig.get_config_var("MULTIARCH") or "x86_64-linux-gnu")
# What breaks first on a foreign system: an exception through compiled frames, and the numeric libraries.
_PROBE = (
    "using LinearAlgebra, Serialization; "
    "root(x) = x < 0 ? throw(DomainError(x)) : sqrt(x); "
    "caught() = try root(-1.0) catch error; sprint(showerror, error, catch_backtrace()); 2.0 end; "
    "caught() == 2.0 || exit(3); "
    "[2.0 0; 0 4.0] \\ [2.0, 4.0] == [1.0, 1.0] || exit(4); "
    "print(VERSION)"
)
_SCRIPT = """#!/bin/sh
# Starts {what} with Debian 11's libunwind8 (see tools/setup/julia.py).
here=$(dirname "$(readlink -f "$0")")
libraries=$here/julia-root/usr/lib/{triplet}
LD_LIBRARY_PATH=$libraries:$libraries/julia${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}}
export LD_LIBRARY_PATH
exec {program} "$@"
"""


def version(program: str | Path) -> str:
    """The version of a Julia that really works here, or nothing."""
    try:
        return run([program, "--startup-file=no", "-e", _PROBE])
    except SetupError:
        return ""


def set_up() -> str:
    """Have a working Julia, and give back its version.

    Raises:
        SetupError: there is none, and it cannot be fetched.
    """
    for program in (shutil.which("julia"), PROGRAM if PROGRAM.exists() else None):
        if program and (found := version(program)):
            return found
    if "debian" not in _os_release().get("ID", "") or _os_release().get("VERSION_ID") != "12":
        raise SetupError("there is no Julia on the PATH, and only on Debian 12 is it known where to get one")
    with step("Julia 1.5.3 of Debian 11, in .tools/julia-root"):
        _fetch()
    found = version(PROGRAM)
    if not found:
        raise SetupError(f"Debian 11's Julia was unpacked to {_ROOT} and does not work there")
    return found


def _fetch() -> None:
    here = mirror_of("bookworm", read_sources())
    older = Source(here.uri, _SUITE, here.signed_by)
    shutil.rmtree(_ROOT, ignore_errors=True)
    with private_apt([older]) as apt:
        unwind = apt.fetch(f"libunwind8/{_SUITE}")
        for file in apt.fetch_missing("julia"):
            unpack(file, _ROOT)
        unpack(unwind, _ROOT)  # last, over Debian 12's
    mend_links(_ROOT / "usr/lib" / _TRIPLET / "julia", Path("/usr/lib") / _TRIPLET)
    unpacked = (_ROOT / "usr/bin/julia").exists()
    program = '"$here/julia-root/usr/bin/julia"' if unpacked else "/usr/bin/julia"
    what = "the unpacked Julia" if unpacked else "the installed Julia"
    PROGRAM.write_text(_SCRIPT.format(what=what, triplet=_TRIPLET, program=program))
    PROGRAM.chmod(0o755)


def mend_links(folder: Path, system: Path) -> None:
    """Point links to libraries that were not unpacked, since the machine has them, to the machine's."""
    for link in folder.glob("*") if folder.is_dir() else ():
        if link.is_symlink() and not link.exists():
            target = system / link.readlink().name
            link.unlink()
            link.symlink_to(target)


def _os_release() -> dict[str, str]:
    try:
        lines = Path("/etc/os-release").read_text().splitlines()
    except OSError:
        return {}
    return {key: value.strip('"') for key, _, value in (line.partition("=") for line in lines)}
