"""A job's command that cannot be begun, or whose engine was killed, leaves nothing behind."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from modelyard.workers import cgroups, commands
from modelyard.workers.cgroups import Controller
from modelyard.workers.commands import Command, Limits, Place, Record, Running
from modelyard.workers.processes import name_of, tree


def place(home: Path) -> Place:
    made = Place(home)
    for folder in (made.work, made.data, made.output):
        folder.mkdir(parents=True)
    return made


def test_one_that_could_not_be_found_again_is_not_left_running(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands, "_RECORD", "no-such-folder/process.json")
    command = Command(["sleep", "600"], {"PATH": os.environ["PATH"]}, (), Limits(60, 1 << 30, 1 << 30))
    with pytest.raises(OSError, match="no-such-folder"):
        Running(command, place(tmp_path / "job"), (str(tmp_path),))
    assert [name_of(pid) for pid in tree(os.getpid()) if name_of(pid) in ("bwrap", "sleep")] == []


def test_the_group_of_a_killed_engines_job_goes_with_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, groups = tmp_path / "job", tmp_path / "groups"
    (groups / "modelyard-job-1-2").mkdir(parents=True)
    home.mkdir()
    (home / "process.json").write_bytes(msgspec.json.encode(Record(1, -1, "job-1-2")))
    monkeypatch.setattr(cgroups, "here", lambda: (Controller(str(groups)),))
    assert commands.clear(home) is False
    assert not home.exists()
    assert list(groups.iterdir()) == []
