"""A job on another machine: a real host on this one, without Ray, and what goes wrong with it."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from modelyard.records.capacity import Demand
from modelyard.records.errors import UnavailableError
from modelyard.records.jobs import Usage
from modelyard.workers import host_jobs, ray_jobs, remote
from modelyard.workers.cluster import Places, Spot
from modelyard.workers.commands import Limits, Place
from modelyard.workers.host import Host
from modelyard.workers.plans import Progress
from modelyard.workers.ray_jobs import RayGrounds, _FarRun
from modelyard.workers.remote import (
    PREPARES_SECONDS,
    SILENCE_SECONDS,
    Channel,
    Far,
    Finished,
    Message,
    Packs,
    Refused,
    Went,
)
from modelyard.workers.tasks import Task
from tests.contract.hands import quiet
from tests.journeys.running import PATIENCE, until

SCRIPT = """
import os, pathlib
left = pathlib.Path(os.environ["YARD_OUTPUT"])
(left / "large").write_bytes(bytes(3 << 20))
(left / "metrics.jsonl").write_text('{"name": "mae", "value": 1}\\n')
print("done")
"""
FINISHED = Finished(0, False, Usage(1.0, 2.0, 3), 0)  # noqa: FBT003


class Near(Places):
    """Places each host in this process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.left = threading.Event()
        self.certificate = remote.identity_at(folder / "identity")

    def place(self, department: str, name: str, demand: Demand, progress: Progress) -> Spot:  # noqa: ARG002
        host = Host("127.0.0.1", self.certificate, self.folder / "hosts", self.left.set)
        host.start()
        far = msgspec.structs.replace(host.far, identity=str(self.folder / "identity"))
        return Spot(far, "here", Channel(far), lambda: None)


@pytest.fixture
def near(tmp_path: Path) -> Iterator[Near]:
    made = Near(tmp_path)
    yield made
    assert made.left.wait(PATIENCE), "a host goes with its job"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    made = Place(tmp_path / "job")
    for folder in (made.work, made.data, made.output):
        folder.mkdir(parents=True)
    (made.work / "train.py").write_text(SCRIPT)
    return made


TASK = Task("ops", "python", ["python", "train.py"], Limits(60, 2 << 30, 1 << 30), {}, {})


@pytest.mark.bubblewrap
def test_what_it_has_left_comes_whole_and_its_host_goes(near: Near, place: Place) -> None:
    with RayGrounds(near).begin(TASK, place, quiet) as run:
        assert run.wait(PATIENCE)
        assert run.end() == 0
        assert "done" in run.output()
    assert (place.output / "large").stat().st_size == 3 << 20
    assert "mae" in (place.output / "metrics.jsonl").read_text()


@pytest.mark.bubblewrap
def test_a_host_that_cannot_send_it_says_why(
    near: Near, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(host_jobs, "pack_folders", full)
    words = r"The machine .+ failed: .+No space left on device"
    with RayGrounds(near).begin(TASK, place, quiet) as run, pytest.raises(UnavailableError, match=words):
        run.wait(PATIENCE)


class Scripted(Channel):
    """A connection over which a test says what the host does."""

    def __init__(self, *messages: Message | Callable[[], Message]) -> None:
        self.messages = list(messages)
        self.silences: list[float] = []

    def receive(self, silence: float = SILENCE_SECONDS) -> Message:
        self.silences.append(silence)
        if not self.messages:
            raise ConnectionResetError(errno.ECONNRESET, "reset by peer")
        first = self.messages.pop(0)
        return first() if callable(first) else first

    def receive_tar(self, size: int, folder: Path, scratch: Path) -> None:
        """It has left nothing."""

    def send(self, message: Message) -> None:
        """It is asked to end."""

    def close(self) -> None:
        """Nothing to hang up."""


def far_run(channel: Channel, place: Place) -> _FarRun:
    return _FarRun(Spot(Far("h", 1, "", ""), "far-1", channel, lambda: None), place)


def test_a_host_that_packs_may_be_silent_for_long(place: Place) -> None:
    channel = Scripted(Went(Usage()), Packs(), FINISHED)
    with far_run(channel, place) as run:
        assert run.end() == 0
    assert channel.silences == [SILENCE_SECONDS, SILENCE_SECONDS, PREPARES_SECONDS]


def test_one_that_is_to_end_is_waited_for_while_it_packs(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_jobs, "_POLITE_SECONDS", 0.01)
    monkeypatch.setattr(ray_jobs, "_END_SECONDS", 0.01)
    may_finish, waits = threading.Event(), list[float]()

    def finish() -> Message:
        assert may_finish.wait(PATIENCE)
        return FINISHED

    with far_run(Scripted(Packs(), finish), place) as run, ThreadPoolExecutor(1) as pool:
        until(lambda: run._packs)
        wait = run.wait

        def counted(seconds: float) -> bool:
            waits.append(seconds)
            return wait(seconds)

        monkeypatch.setattr(run, "wait", counted)
        ending = pool.submit(run.end)
        until(lambda: len(waits) > 2)
        may_finish.set()
        assert ending.result(PATIENCE) == 0


@pytest.mark.parametrize(
    ("messages", "words"),
    [
        ([], "The machine far-1 was lost while the job ran: .*reset by peer"),
        ([Packs(), Refused("unavailable", "The machine far-1 failed: x.")], "The machine far-1 failed: x"),
    ],
)
def test_one_that_is_lost_says_how(place: Place, messages: list[Message], words: str) -> None:
    with far_run(Scripted(*messages), place) as run, pytest.raises(UnavailableError, match=words):
        run.wait(PATIENCE)
