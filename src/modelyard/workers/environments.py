"""Model environments: which interpreter fits a Python bundle, and one built by uv where none does.

Environments are shared: the folder's name is the digest of the Python version and the exact packages.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from importlib import metadata
from pathlib import Path

from modelyard.records.errors import EnvironmentBuildError, InvalidError
from modelyard.records.references import shown

REQUIREMENTS = "environment/requirements.txt"
_PIN = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)==([A-Za-z0-9][A-Za-z0-9._!+-]*)")
_PYTHON = re.compile(r"[0-9]+\.[0-9]+[0-9a-z.+]*")
_OWN_MINOR = f"{sys.version_info[0]}.{sys.version_info[1]}"
_BUILD_SECONDS = 1800
_LOG_SHOWN = 4000
_KEPT = ("PATH", "HOME", "LANG", "TMPDIR", "LD_LIBRARY_PATH", "NETRC", "SSL_CERT_FILE", "SSL_CERT_DIR")
# What skl2onnx needs beside numpy and scikit-learn, which the environment has.
_CONVERTER = ("skl2onnx", "onnx", "protobuf", "ml-dtypes", "typing-extensions")

Progress = Callable[[str], None]


def read_pins(text: str, file: str = REQUIREMENTS) -> dict[str, str]:
    """Exact requirements, normalised name to version.

    Only `name==version` lines, comments and empty lines are taken: no options, addresses or paths, since
    what stands here decides what is installed on the server.

    Args:
        file: what the text is called in messages.

    Raises:
        InvalidError: any other line.

    >>> read_pins("scikit-learn==1.9.1  # the model")
    {'scikit-learn': '1.9.1'}
    """
    pins: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.split("#", 1)[0].strip()
        if not stripped:
            continue
        pin = _PIN.fullmatch(stripped)
        if not pin:
            raise InvalidError(
                f"Line {number} of {file} is {shown(stripped)}, not an exact pin.",
                "Each line is name==version and nothing else, as `pip freeze` writes them.",
                file=file,
                line=number,
            )
        name = normalised(pin[1])
        if pins.setdefault(name, pin[2]) != pin[2]:
            raise InvalidError(
                f"{file} asks for {name} {pins[name]} and, on line {number}, for {pin[2]}.",
                "Keep one of the two.",
                file=file,
                line=number,
            )
    return pins


def normalised(name: str) -> str:
    """A distribution's name as comparisons need it.

    >>> normalised("Scikit_Learn")
    'scikit-learn'
    """
    return re.sub(r"[-_.]+", "-", name).lower()


def own_fits(python: str, pins: dict[str, str]) -> bool:
    """Whether the server's own interpreter has exactly these packages and this minor Python version."""
    if python and _minor(python) != _OWN_MINOR:
        return False
    return all(_fits(_installed(name), version) for name, version in pins.items())


def _fits(installed: str | None, pinned: str) -> bool:
    # A local part (2.13.0+cpu) names a build of the same release; who asks for 2.13.0 takes any.
    return installed is not None and pinned in (installed, installed.split("+")[0])


def _installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _minor(python: str) -> str:
    return ".".join(python.split(".")[:2])


def environment_digest(python: str, pins: dict[str, str]) -> str:
    """The name of the environment's folder: 32 hex digits."""
    lines = [f"python {_minor(python)}", *(f"{name}=={version}" for name, version in sorted(pins.items()))]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:32]


def python_for(bundle: Path, python: str, folder: Path, progress: Progress) -> str:
    """The interpreter that serves this Python bundle, built first if need be.

    Args:
        bundle: the folder the bundle lies in.
        python: the Python version the model was made with, or "".
        folder: where environments are kept.
        progress: told, in words, what is being done.

    Raises:
        EnvironmentBuildError: it cannot be built; `log` has uv's words.
    """
    if python and not _PYTHON.fullmatch(python):  # to uv, it could be a path as well
        raise EnvironmentBuildError(f"{shown(python)} is not a version of Python.", "Write it as 3.11.7.")
    return python_with(_pins_of(bundle), python, folder, progress)


def python_with(pins: dict[str, str], python: str, folder: Path, progress: Progress) -> str:
    """An interpreter with exactly these packages, built first if need be; see `python_for`.

    Args:
        pins: normalised name to version.
    """
    if own_fits(python, pins):
        return sys.executable
    pins = dict(pins)
    # The worker needs numpy: the one that is tried here, or for another Python whichever fits that.
    pins.setdefault("numpy", (_installed("numpy") or "") if own_fits(python, {}) else "")
    home = folder / environment_digest(python, pins)
    if not (home / "complete").exists():
        with only_one(folder, home.name):
            if not (home / "complete").exists():
                _build(home, python, pins, progress)
    return str(home / "bin" / "python")


def converter_for(program: str, python: str, folder: Path) -> str:
    """The folder with the converter's packages for an interpreter, or "" if it is the server's own.

    Built once a Python version. They are searched after the environment's own, so that numpy and the model's
    library stay what they are.

    Raises:
        EnvironmentBuildError: they cannot be had here.
    """
    if program == sys.executable:
        return ""
    minor = _minor(python or _OWN_MINOR)
    pins = {name: (_installed(name) or "") if minor == _OWN_MINOR else "" for name in _CONVERTER}
    home = folder / f"converter-{environment_digest(minor, pins)}"
    if not (home / "complete").exists():
        with only_one(folder, home.name):
            if not (home / "complete").exists():
                shutil.rmtree(home, ignore_errors=True)
                wanted = [f"{name}=={version}" if version else name for name, version in pins.items()]
                options = ["--quiet", "--no-deps", "--only-binary", ":all:", "--target", str(home)]
                # Not the environment's own interpreter: uv asks it what it is, outside of walls.
                own = sys.executable if minor == _OWN_MINOR else minor
                command = [_find_uv(), "pip", "install", *options, "--python", own, *wanted]
                _run(
                    command, "the converter", "The native form goes on answering; see uv's words in the log."
                )
                (home / "complete").write_text(minor)
    return str(home)


def _pins_of(bundle: Path) -> dict[str, str]:
    path = bundle / REQUIREMENTS
    try:
        return read_pins(path.read_text("utf-8")) if path.is_file() else {}
    except UnicodeDecodeError as error:
        raise InvalidError(f"{REQUIREMENTS} is not UTF-8: {error}.", "Write it anew.") from error


class only_one:  # noqa: N801  # reads as a function: `with only_one(folder, name)`
    """Holds a file lock, so that two engines do not build the same environment at once."""

    def __init__(self, folder: Path, name: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = (folder / f"{name}.lock").open("w")

    def __enter__(self) -> None:
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        self._file.close()


def _build(home: Path, python: str, pins: dict[str, str], progress: Progress) -> None:
    uv = _find_uv()
    shutil.rmtree(home, ignore_errors=True)
    minor = _minor(python or _OWN_MINOR)
    progress(f"building an environment: Python {minor}, {len(pins)} packages")
    interpreter = sys.executable if own_fits(python, {}) else minor
    _run(
        [uv, "venv", "--quiet", "--no-project", "--python", interpreter, str(home)],
        f"Python {minor}",
        f"Install Python {minor} on the server, or publish from the server's {_OWN_MINOR}.",
    )
    requirements = home / "requirements.txt"
    requirements.write_text("".join(f"{n}=={v}\n" if v else f"{n}\n" for n, v in sorted(pins.items())))
    install = [uv, "pip", "install", "--quiet", "--only-binary", ":all:"]
    _run(
        [*install, "--python", str(home / "bin/python"), "-r", str(requirements)],
        "a package",
        "The log below is uv's. Publish from an environment whose packages an index has.",
    )
    _compile(home)
    (home / "complete").write_text(minor)


def _compile(home: Path) -> None:
    """Make the bytecode once, for workers write none: scikit-learn loads in a third of the time with it.

    Not by uv, whose compiler does what packages say in `.pth` files, and here there are no walls: with `-S`
    nothing of a package is run. What cannot be compiled is left, as Python does.
    """
    command = [str(home / "bin/python"), "-I", "-S", "-m", "compileall", "-qq", "-j", "0", str(home / "lib")]
    with suppress(subprocess.TimeoutExpired):
        subprocess.run(command, capture_output=True, timeout=_BUILD_SECONDS, check=False, env=_environment())


def _environment() -> dict[str, str]:
    """What uv needs to find interpreters and indexes; nothing of the yard's own settings and secrets."""
    kept = {
        key: value
        for key, value in os.environ.items()
        if key in _KEPT or key.startswith(("UV_", "XDG_", "LC_")) or key.lower().endswith("_proxy")
    }
    return {**kept, "UV_PYTHON_DOWNLOADS": "never", "UV_NO_PROGRESS": "1"}


def _find_uv() -> str:
    beside = Path(sys.executable).with_name("uv")
    found = str(beside) if beside.exists() else shutil.which("uv")
    if not found:
        raise EnvironmentBuildError(
            "The model needs packages this server does not have, and uv, to install them, is missing.",
            "Install uv beside the server (pip install uv).",
        )
    return found


def _run(command: list[str], what: str, hint: str) -> None:
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=_BUILD_SECONDS,
            check=False,
            env=_environment(),
        )
    except subprocess.TimeoutExpired as error:
        raise EnvironmentBuildError(f"Installing {what} took over {_BUILD_SECONDS} s.") from error
    if done.returncode != 0:
        raise EnvironmentBuildError(
            f"The model's environment cannot be built: {what} cannot be had on this machine.",
            hint,
            log=done.stderr[-_LOG_SHOWN:],
        )
