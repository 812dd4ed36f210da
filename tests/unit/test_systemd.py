"""The unit that `yard systemd` prints: systemd finds no fault with it, and it says what was asked for."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from modelyard.cli.systemd import unit
from modelyard.records.errors import InvalidError


def test_systemd_finds_no_fault_with_it(tmp_path: Path) -> None:
    text = unit(Path("/srv/yard"), "root", Path(sys.executable), (Path("/mnt/backups"),))
    assert "ReadWritePaths=/srv/yard /mnt/backups" in text
    if shutil.which("systemd-analyze") is None:
        return  # the words above are what can be looked at here
    path = tmp_path / "modelyard.service"
    path.write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(path)],
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    ours = [line for line in done.stderr.splitlines() if path.name in line]
    assert (done.returncode, ours) == (0, []), done.stderr


def test_homes_are_closed_unless_the_yard_is_in_one() -> None:
    assert "ProtectHome=yes" in unit(Path("/srv/yard"), "yard", Path("/opt/yard/bin/yard"))
    assert "ProtectHome=read-only" in unit(Path("/home/a/yard"), "yard", Path("/opt/yard/bin/yard"))
    beside = unit(Path("/srv/yard"), "yard", Path("/opt/yard/bin/yard"), (Path("/home/backup"),))
    assert "ProtectHome=read-only" in beside


@pytest.mark.parametrize("path", ["/srv/my yard", "/srv/100%", "/srv/$HOME", "/srv/a\nExecStart=/bin/sh"])
def test_a_path_that_means_something_else_in_a_unit_is_refused(path: str) -> None:
    with pytest.raises(InvalidError, match="systemd reads otherwise"):
        unit(Path(path), "yard", Path("/opt/yard/bin/yard"))
