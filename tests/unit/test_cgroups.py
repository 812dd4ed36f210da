"""Control groups: where they can be made, on folders that look like the kernel's."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelyard.workers import cgroups
from modelyard.workers.cgroups import Controller


def test_version_1_has_a_folder_for_each_controller(tmp_path: Path) -> None:
    for name in ("memory/own", "pids"):
        (tmp_path / name).mkdir(parents=True)
    found = cgroups.controllers(tmp_path, "4:memory:/own\n3:cpu:/\n2:pids:/\n0::/\n")
    assert [
        Path(c.folder).relative_to(tmp_path).as_posix() for c in found
    ] == []  # plain files stay: no kernel
    made = Controller(str(tmp_path / "memory" / "own"), memory="memory.limit_in_bytes")
    (file,) = cgroups.make("a", 5, 7, (made,))
    assert file == f"{made.folder}/modelyard-a/cgroup.procs"
    assert (tmp_path / "memory/own/modelyard-a/memory.limit_in_bytes").read_text() == "5"


def test_version_2_needs_a_group_of_the_servers_own(tmp_path: Path) -> None:
    (tmp_path / "yard.service" / "server").mkdir(parents=True)
    assert cgroups.controllers(tmp_path, "0::/yard.service\n") == ()
    assert cgroups.controllers(tmp_path, "0::/\n") == ()
    beside = Controller(str(tmp_path / "yard.service"), memory="memory.max", processes="pids.max")
    cgroups.make("b", 9, 11, (beside,))
    group = tmp_path / "yard.service" / "modelyard-b"
    assert (group / "memory.max").read_text() == "9"
    assert (group / "pids.max").read_text() == "11"


def test_a_group_may_have_a_smaller_share_of_the_processor(tmp_path: Path) -> None:
    for file in ("cpu.shares", "cpu.weight"):
        group = tmp_path / "modelyard-d"
        group.mkdir(exist_ok=True)
        (group / file).write_text("0")
    cgroups.make("d", 1, 1, (Controller(str(tmp_path)),), share=0.25)
    assert ((group / "cpu.shares").read_text(), (group / "cpu.weight").read_text()) == ("256", "25")


@pytest.mark.parametrize(
    "said", ["rss 1\nshmem 2\ntotal_rss 300\ntotal_shmem 40\n", "anon 300\nfile 9000\nshmem 40\n"]
)
def test_a_group_counts_what_its_processes_hold_together(tmp_path: Path, said: str) -> None:
    pids, memory = (Controller(str(tmp_path / name)) for name in ("pids", "memory"))
    for controller in (pids, memory):
        (Path(controller.folder) / "modelyard-e").mkdir(parents=True)
    assert cgroups.held("e", (pids, memory)) is None
    (tmp_path / "memory/modelyard-e/memory.stat").write_text(said)
    assert cgroups.held("e", (pids, memory)) == 340
    assert cgroups.held("gone", (pids, memory)) is None


def test_a_machine_without_groups_has_none(tmp_path: Path) -> None:
    assert cgroups.controllers(tmp_path, "4:memory:/nowhere\n0::/x/server\n") == ()
    assert cgroups.make("c", 1, 1, ()) == ()
    cgroups.remove("c", ())
