"""Makes what a release leaves behind: `python -m tools.release_data COMMIT FOLDER`.

The yard of that commit is started, filled over HTTP and stopped. FOLDER then has its data folder, the
database as SQL, so that changes can be read. `tests/journeys/test_upgrade.py` opens it with today's code.
"""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import httpx
from tests.journeys.models import times
from tests.journeys.running import publish

ROOT = Path(__file__).parents[1]
MODEL = "ops/twice"
_UP = "import sys; from modelyard.cli.main import run; sys.exit(run())"
_KEPT = ("admin.token", "audit.checkpoint", "keys", "routes", "blobs", "spool")


def sources(commit: str, folder: Path) -> None:
    """Lay out the program of a commit."""
    packed = subprocess.run(
        ["git", "archive", commit, "src", "runtimes", "sdk"], cwd=ROOT, capture_output=True, check=True
    )
    subprocess.run(["tar", "-x", "-C", str(folder)], input=packed.stdout, check=True)


def start(program: Path, data: Path) -> tuple[subprocess.Popen[str], str]:
    """Start a yard of laid-out sources; the process and its address."""
    process = subprocess.Popen(
        [sys.executable, "-c", _UP, "up", "--data", str(data), "--port", "0", "--fronts", "1"],
        env={**os.environ, "PYTHONPATH": str(program / "src")},
        stdout=subprocess.PIPE,
        text=True,
    )
    lines = process.stdout or ()
    url = next(line.split(" is up at ")[1].split()[0] for line in lines if " is up at " in line)
    return process, url


def fill(url: str, token: str) -> None:
    """Something of each kind that the release knows."""
    with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=60) as client:
        for factor in (2, 3):
            publish(client, MODEL, times(factor))
        model = f"/api/v1/models/{MODEL}"
        asked = (
            ("PUT", f"{model}/aliases/stable", {"version": 1, "why": "known to be well"}),
            ("PUT", f"{model}/card", {"text": "# Twice\nDoubles what it is given."}),
            ("PUT", f"{model}/policy", {"retrain": {"max_age": "30d"}}),
            ("POST", "/api/v1/departments/ops/tokens", {"name": "c", "principal": "carl", "role": "caller"}),
            ("POST", "/api/v1/users", {"name": "maria", "role": "auditor"}),
        )
        for method, path, body in asked:
            answer = client.request(method, path, json=body)
            print(method, path, answer.status_code, answer.text[:200] if answer.is_error else "")
        for x in range(20):
            client.post(f"/models/{MODEL}/predict", json=[{"x": x, "flight": f"f{x}"}]).raise_for_status()


def main(commit: str, folder: Path) -> None:
    """Make the folder anew."""
    with tempfile.TemporaryDirectory(prefix="rd-") as scratch:
        program, data = Path(scratch) / "program", Path(scratch) / "data"
        program.mkdir()
        sources(commit, program)
        process, url = start(program, data)
        try:
            fill(url, (data / "admin.token").read_text().strip())
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for name in _KEPT:
            copy = shutil.copytree if (data / name).is_dir() else shutil.copy2
            copy(data / name, folder / name)
        with closing(sqlite3.connect(data / "yard.sqlite")) as database:
            (folder / "yard.sql").write_text("\n".join(database.iterdump()) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
