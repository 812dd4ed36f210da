"""`python3.11 -m tools.setup demo|test|lock`, or `… run COMMAND` in the environment that was set up."""

from __future__ import annotations

import os
import sys

from tools.setup import julia, languages, pip_settings, python
from tools.setup.machine import ROOT, VENV, SetupError, say

_USAGE = "usage: python3.11 -m tools.setup demo|test|lock|run COMMAND …"
_OLDEST_PYTHON = (3, 11)


def main(words: list[str]) -> int:
    """Do what the first word says; 0 if it worked."""
    if sys.version_info < _OLDEST_PYTHON:
        say(f"setup: Python {sys.version.split()[0]} is too old: 3.11 or newer is needed.")
        return 1
    try:
        match words:
            case ["demo" | "test" as goal]:
                python.set_up(for_tests=goal == "test")
                languages.set_up(for_tests=goal == "test")
            case ["python"]:
                python.set_up(for_tests=False)
            case ["lock"]:
                python.lock()
            case ["run", _, *_]:
                _become(words[1:])
            case _:
                say(_USAGE)
                return 2
    except SetupError as error:
        sys.stderr.write(f"\nsetup: {error}\n")
        return 1
    return 0


def _become(command: list[str]) -> None:
    """Replace this process by the command, with `.venv` first on the PATH and Julia where it was put."""
    env = {**os.environ, **pip_settings.uv_environment(), "VIRTUAL_ENV": str(VENV)}
    env["PATH"] = f"{VENV / 'bin'}:{env.get('PATH', '/usr/bin:/bin')}"
    if julia.PROGRAM.exists():
        env.setdefault("YARD_PROGRAM_JULIA", str(julia.PROGRAM))
    os.chdir(ROOT)
    os.execvpe(command[0], command, env)  # noqa: S606  # no shell is wanted


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
