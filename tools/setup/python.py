"""Python's part: uv, `.venv` from requirements.lock, the project itself, and PyTorch apart."""

from __future__ import annotations

import hashlib
import re
import shutil
import sys
import tempfile
from pathlib import Path

from tools.setup import pip_settings
from tools.setup.apt import private_apt, unpack
from tools.setup.machine import LOCK, ROOT, TOOLS, VENV, SetupError, notice, run, step

_OLDEST_UV = (0, 8)
_PIP_ROOT = TOOLS / "pip-root"
_TORCH = "2.13.0"
_STAMP = VENV / ".modelyard-setup"
PYTHON = VENV / "bin/python"


def set_up(for_tests: bool) -> None:
    """Bring `.venv` to what requirements.lock and pyproject.toml say; does nothing where it is so already.

    Raises:
        SetupError: it cannot be done; the text says what to do.
    """
    if not (PYTHON.exists() and _STAMP.exists() and _STAMP.read_text() == state()):
        _install()
    if for_tests and not torch_version():
        _install_torch()


def _install() -> None:
    uv = find_uv()
    env = pip_settings.uv_environment()
    if not PYTHON.exists():
        with step("a Python environment in .venv"):
            run([uv, "venv", "-q", "--clear", "--no-project", "--python", sys.executable, VENV])
    # `sync` also removes what is not in the lock, PyTorch among it.
    verb = ["install", "-r"] if torch_version() else ["sync"]
    with step("the Python packages of requirements.lock"):
        # Workers write no bytecode themselves: made here, scikit-learn loads in a third of the time.
        run([uv, "pip", *verb, LOCK, "-q", "--compile-bytecode", "--python", PYTHON, "--require-hashes"], env)
    with step("Modelyard itself, from src"):
        run([uv, "pip", "install", "-q", "--python", PYTHON, "--no-deps", "--editable", ROOT], env)
    _STAMP.write_text(state())


def state() -> str:
    """A digest of everything the environment depends on."""
    parts = [LOCK.read_bytes(), (ROOT / "pyproject.toml").read_bytes(), sys.version.encode(), bytes(VENV)]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def lock() -> None:
    """Write requirements.lock anew from pyproject.toml (docs/decisions/0001 says why in this form)."""
    options = ["--universal", "--generate-hashes", "--no-annotate", "--no-header", "--all-extras"]
    with step("resolving pyproject.toml into requirements.lock"):
        command = [find_uv(), "pip", "compile", "-q", *options, "--group", "dev", "pyproject.toml"]
        run([*command, "-o", str(LOCK)], pip_settings.uv_environment())


def find_uv() -> str:
    """Find uv: from the PATH if it is new enough, else from `.tools`, installed there first if need be.

    Raises:
        SetupError: it cannot be had.
    """
    private = TOOLS / "uv/bin/uv"
    for candidate in (shutil.which("uv"), str(private)):
        if candidate and _is_new_enough(candidate):
            return candidate
    with step("uv, in .tools/uv"):
        pip = _find_pip()
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as pins:
            pins.write(locked("uv", LOCK.read_text()))
            pins.flush()
            options = ["-q", "--disable-pip-version-check", "--no-deps", "--require-hashes", "--upgrade"]
            run([*pip, "install", *options, "--target", TOOLS / "uv", "-r", pins.name])
    return str(private)


def _is_new_enough(uv: str) -> bool:
    try:
        return uv_version(run([uv, "--version"])) >= _OLDEST_UV
    except SetupError:
        return False


def uv_version(text: str) -> tuple[int, ...]:
    """The version uv says it has.

    >>> uv_version("uv 0.13.9 (x86_64-unknown-linux-gnu)")
    (0, 13, 9)
    """
    found = re.search(r"\d+(?:\.\d+)+", text)
    return tuple(map(int, found[0].split("."))) if found else ()


def locked(name: str, lock: str) -> str:
    r"""One package's pin with its hashes, as it stands in a lock.

    >>> locked("uv", "uu==1 \\\n    --hash=sha256:0\nuv==2 \\\n    --hash=sha256:a\nuw==1\n")
    'uv==2 \\\n    --hash=sha256:a\n'
    """
    found = re.search(rf"(?m)^{re.escape(name)}==.*\n(?:[ \t].*\n)*", lock)
    if not found:
        raise SetupError(f"requirements.lock does not pin {name}. Run `make lock`.")
    return found[0]


def _find_pip() -> list[str]:
    own = [sys.executable, "-m", "pip"]
    try:
        run([*own, "--version"])
    except SetupError:
        return [sys.executable, str(_pip_from_debian() / "pip")]
    return own


def _pip_from_debian() -> Path:
    """Debian's Python has neither pip nor ensurepip: its pip wheel, unpacked, runs as it is."""
    wheels = _PIP_ROOT / "usr/share/python-wheels"
    if not list(wheels.glob("pip-*.whl")):
        try:
            with private_apt() as apt:
                unpack(apt.fetch("python3-pip-whl"), _PIP_ROOT)
        except SetupError as error:
            raise SetupError(
                "Neither uv nor pip is here, and pip could not be fetched from Debian either. Install one of "
                f"them (as root: apt-get install python3-pip) and run this again.\n{error}"
            ) from error
    return next(wheels.glob("pip-*.whl"))


def torch_version() -> str:
    """The version of PyTorch in `.venv`, or nothing."""
    folders = [path.name for path in VENV.glob("lib/python*/site-packages/torch-*.dist-info")]
    return folders[0].removeprefix("torch-").removesuffix(".dist-info") if folders else ""


def _install_torch() -> None:
    """PyTorch for the CPU: from a folder of wheels if pip knows one, else from PyTorch's own index.

    The default build of the public index brings gigabytes of GPU libraries with it, so it is not taken.
    """
    env = pip_settings.uv_environment()
    target = ["-q", "--python", str(PYTHON)]
    command = [find_uv(), "pip", "install", *target, "--no-deps", f"torch=={_TORCH}"]
    ways = [["--torch-backend", "cpu"]]
    if "UV_FIND_LINKS" in env:
        ways.insert(0, ["--no-index"])
    errors = []
    for way in ways:
        try:
            with step(f"PyTorch {_TORCH} for the CPU"):
                run([*command, *way], env)
                run([PYTHON, "-c", "import torch"])
        except SetupError as error:
            errors.append(str(error))
        else:
            return
    run([command[0], "pip", "uninstall", *target, "torch"], check=False)
    notice("PyTorch could not be installed; its tests are skipped. " + "\n".join(errors))
