"""Runs a guide: every code block of a page, in order, as a person who follows it does.

Blocks of one language share a session. `sh` blocks are shell scripts in the page's folder; a block that
starts a yard in the foreground (`yard up`) is taken as started. `json` blocks show an answer and are only
parsed; `toml` blocks show tables of a yard.toml and are read as one.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from contextlib import ExitStack
from pathlib import Path
from typing import IO

from modelyard.records.projects import read_project
from tests.journeys.running import PATIENCE

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_DONE = "--- block done ---"

_PYTHON = f"""
import sys
space = {{"__name__": "__main__"}}
for line in sys.stdin:
    path = line.strip()
    exec(compile(open(path).read(), path, "exec"), space)
    print("{_DONE}", flush=True)
"""
_R = f"""
input <- file("stdin", "r")
while (length(line <- readLines(input, 1)) > 0) {{
  source(line, echo = FALSE, print.eval = TRUE)
  cat("{_DONE}\\n"); flush(stdout())
}}
"""
_JULIA = f"""
for line in eachline(stdin)
    include(line)
    println("{_DONE}"); flush(stdout)
end
"""


class Session:
    """A language's process that runs one file after another in one namespace."""

    def __init__(self, command: list[str], folder: Path, environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=folder,
            env=environment,
        )

    def run(self, path: Path) -> str:
        """Run a file; what it printed."""
        asking, said = self._process.stdin, self._process.stdout
        assert asking is not None
        assert said is not None
        asking.write(f"{path}\n")
        asking.flush()
        printed = _until_done(said)
        assert printed is not None, f"the block {path.read_text()!r} failed"
        return printed

    def close(self) -> None:
        """End the session."""
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        self._process.wait(PATIENCE)


def _until_done(said: IO[str]) -> str | None:
    lines: list[str] = []
    for line in said:
        if line.strip() == _DONE:
            return "".join(lines)
        lines.append(line)
    sys.stderr.write("".join(lines))
    return None


def blocks(page: Path) -> list[tuple[str, str]]:
    """The page's blocks: language and code."""
    return [(found[1], found[2]) for found in _BLOCK.finditer(page.read_text())]


def follow(
    page: Path, folder: Path, environment: dict[str, str], programs: dict[str, list[str]], port: int
) -> list[str]:
    """Run a page's blocks; what each printed.

    Args:
        folder: the person's current folder.
        programs: for `r` and `julia`, the command that starts the language.
        port: stands for the 8080 of the page.
    """
    commands = {
        "python": [sys.executable, "-c", _PYTHON],
        "r": [*programs.get("r", []), "-e", _R],
        "julia": [*programs.get("julia", []), "-e", _JULIA],
    }
    printed: list[str] = []
    with ExitStack() as stack:
        sessions: dict[str, Session] = {}
        for number, (language, code) in enumerate(blocks(page)):
            text = code.replace("127.0.0.1:8080", f"127.0.0.1:{port}")
            path = folder / f"block-{number}.{language}"
            path.write_text(text)
            if language == "json":
                json.loads(text)
            elif language == "toml":
                _tables(text)
            elif language == "sh":
                printed.append(_shell(path, folder, environment))
            else:
                if language not in sessions:
                    sessions[language] = Session(commands[language], folder, environment)
                    stack.callback(sessions[language].close)
                printed.append(sessions[language].run(path))
    return printed


def _tables(text: str) -> None:
    """Tables of yard.toml, as a page shows some of them: they are ones the yard takes."""
    shown = tomllib.loads(text)
    missing = "" if "train" in shown else '[train]\nrun = "python train.py"\n'
    read_project(f'model = "finance/fuel"\nlanguage = "python"\n{missing}{text}')


def _shell(path: Path, folder: Path, environment: dict[str, str]) -> str:
    if path.read_text().startswith("yard up"):
        return ""
    command = ["bash", "-euo", "pipefail", str(path)]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert done.returncode == 0, f"{path.read_text()}\n{done.stdout}\n{done.stderr}"
    return done.stdout
