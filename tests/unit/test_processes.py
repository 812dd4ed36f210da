"""What `/proc` shows of processes, looked at with real ones."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from modelyard.workers.processes import look, start_time, tree

# Has a child by each of two threads, and has burned a little and held some memory before it says so.
_FAMILY = """
import subprocess, sys, threading, time
held = bytearray(32 << 20)
def add():
    child = subprocess.Popen(["sleep", "60"])
    print(child.pid, flush=True)
    child.wait()
threading.Thread(target=add, daemon=True).start()
while time.process_time() < 0.1:
    pass
add()
"""


@pytest.fixture
def family() -> Iterator[tuple[int, list[int]]]:
    process = subprocess.Popen(
        [sys.executable, "-S", "-c", _FAMILY], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    yield process.pid, sorted(int(process.stdout.readline()) for _ in range(2))
    os.killpg(process.pid, 9)
    process.stdout.close()
    process.wait()


def test_children_of_all_threads_are_below_a_process(family: tuple[int, list[int]]) -> None:
    """The kernel lists them by the thread that forked; a model that forks in a thread hides nothing."""
    pid, children = family
    found = tree(pid)
    assert found[0] == pid
    assert sorted(found[1:]) == children


def test_one_look_adds_up_all_below(family: tuple[int, list[int]]) -> None:
    pid, children = family
    found = look(pid)
    assert (found.started, sorted(found.pids)) == (start_time(pid), sorted([pid, *children]))
    alone = [look(child) for child in children]
    assert found.resident > 32 << 20
    assert found.resident > sum(each.resident for each in alone) > 0
    assert found.cpu_seconds > 0.05, "the kernel counts in hundredths, rounded down"


def test_one_that_is_gone_takes_nothing() -> None:
    process = subprocess.Popen(["true"])
    process.wait()
    assert look(process.pid) == (-1, [process.pid], 0, 0.0)
