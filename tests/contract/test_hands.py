"""One contract for all who start workers: processes of this machine, and hosts that Ray has placed."""

from __future__ import annotations

import os
import signal
import struct
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from modelyard.records.errors import ModelError, WorkerLostError, WorkerStartError
from modelyard.settings import MIB
from modelyard.workers.cluster import Places
from modelyard.workers.clusters import read_clusters
from modelyard.workers.local import LocalWorkers
from modelyard.workers.plans import Plan, Worker, Workers
from modelyard.workers.ray import RayWorkers
from modelyard.workers.talk import Talk
from tests.contract.hands import ask, is_alive, plan, question, quiet, settings
from tests.contract.ray_house import RayHouse
from tests.journeys.running import PATIENCE, until

KINDS = ["local", pytest.param("ray", marks=pytest.mark.ray)]

Make = Callable[..., Workers]


class LastingPlaces(Places):
    """Joins the cluster once for all tests; they close what they have, and not this."""

    def close(self) -> None:
        """Not yet."""


@pytest.fixture(scope="module")
def places(ray_house: RayHouse, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Places]:
    made = LastingPlaces(
        settings(tmp_path_factory.mktemp("places"), load_timeout=PATIENCE), read_clusters(ray_house.config)
    )
    yield made
    Places.close(made)


@pytest.fixture(params=KINDS)
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Make]:
    """Makes who starts workers, of each kind; again on the same folder, as the next engine does."""
    made: list[Workers] = []

    def again(**changes: Any) -> Workers:
        node = settings(tmp_path / "data", **changes)
        if request.param == "local":
            made.append(LocalWorkers(node))
        else:
            made.append(RayWorkers(node, request.getfixturevalue("places")))
        return made[-1]

    yield again
    for workers in made[-1:]:
        for worker in workers.alive():
            workers.stop(worker)
    for workers in made:
        workers.close()


def raw_answer(worker: Worker, *values: float) -> bytes:
    """An answer byte for byte, as a front would have it."""
    from modelyard.workers import wire  # noqa: PLC0415

    with closing(Talk(Path(worker.socket))._socket) as sock:
        sock.settimeout(PATIENCE)
        sock.sendall(wire.encode(question(*values)))
        data = b""
        while len(data) < wire.PREFIX.size or len(data) < wire.PREFIX.size + sum(
            wire.lengths(data[: wire.PREFIX.size])
        ):
            data += sock.recv(65536)
        return data


def test_it_starts_loads_answers_and_ends(make: Make, tmp_path: Path) -> None:
    workers, told = make(), list[str]()
    worker = workers.start(plan(tmp_path / "bundle"), told.append)
    assert ask(worker, 1.0, 2.5) == [2.0, 5.0]
    assert worker.runtime.startswith("python 3")
    assert set(worker.takes) == {"float64", "int64", "bool", "string"}
    assert abs(worker.since - time.time()) < 60
    assert told[-1] == "starting the worker"
    until(lambda: 5 * MIB < workers.look(worker).memory < 500 * MIB)
    workers.stop(worker)
    assert workers.look(worker).memory == 0
    assert not Path(worker.socket).exists()
    until(lambda: not is_alive(worker.pid))
    with pytest.raises(OSError, match=r"\w"):
        Talk(Path(worker.socket))


def test_its_answers_are_the_same_bytes(make: Make, tmp_path: Path) -> None:
    """Odd numbers, no row, and more than a socket's buffer holds."""
    import numpy as np  # noqa: PLC0415

    worker = make().start(plan(tmp_path / "bundle"), quiet)
    local = LocalWorkers(settings(tmp_path / "beside"))
    beside = local.start(plan(tmp_path / "bundle"), quiet)
    try:
        for values in ((), (0.1, -0.0, 1e308, 5e-324, float("inf"), float("nan")), np.arange(200_000.0)):
            answers = [raw_answer(each, *values) for each in (worker, beside)]
            assert answers[0] == answers[1]
            assert struct.calcsize("d") * len(values) < len(answers[0])
    finally:
        local.stop(beside)


def test_a_model_that_does_not_load_says_why(make: Make, tmp_path: Path) -> None:
    workers = make()
    with pytest.raises(WorkerStartError) as caught:
        workers.start(plan(tmp_path / "bundle", "print('inside')\nraise RuntimeError('no weights')"), quiet)
    assert "no weights" in caught.value.message
    assert "inside" in caught.value.log
    assert "Traceback" in caught.value.log
    assert list((tmp_path / "data/run/workers").glob("*")) == []


def test_a_worker_that_ends_is_noticed_with_its_last_words(make: Make, tmp_path: Path) -> None:
    source = "import os\ndef predict(columns):\n    print('farewell', flush=True)\n    os._exit(7)\n"
    workers = make()
    worker = workers.start(plan(tmp_path / "bundle", source), quiet)
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(workers.wait, worker)
        with pytest.raises(WorkerLostError), Talk(Path(worker.socket)) as talk:
            talk.ask(question(1.0), PATIENCE)
        assert waiting.result(PATIENCE) == "exit code 7"
    until(lambda: "farewell" in Path(worker.log).read_text())
    assert workers.alive() == []


def test_a_worker_that_is_killed_is_noticed(make: Make, tmp_path: Path) -> None:
    workers = make()
    worker = workers.start(plan(tmp_path / "bundle"), quiet)
    os.kill(worker.pid, signal.SIGKILL)
    assert "SIGKILL" in workers.wait(worker)


def test_it_is_within_walls(make: Make, tmp_path: Path) -> None:
    """It sees no file of the machine's, no neighbour, no network, and none of the cluster's secrets."""
    (tmp_path / "secret").write_text("canary")
    source = (
        "import os, pathlib, socket\n"
        "def predict(columns):\n"
        "    seen = [str(p) for p in pathlib.Path('/proc').glob('[0-9]*')]\n"
        "    said = {k: v for k, v in os.environ.items() if 'RAY' in k or 'YARD' in k}\n"
        f"    there = pathlib.Path({str(tmp_path / 'secret')!r}).exists()\n"
        "    try:\n"
        "        socket.create_connection(('127.0.0.1', 22), 1)\n"
        "        net = 'open'\n"
        "    except OSError as error:\n"
        "        net = type(error).__name__ + str(socket.if_nameindex())\n"
        "    raise ValueError(repr((len(seen), said, there, net, os.getuid())))\n"
    )
    worker = make().start(plan(tmp_path / "bundle", source), quiet)
    with Talk(Path(worker.socket)) as talk, pytest.raises(ModelError) as caught:
        talk.ask(question(1.0), PATIENCE)
    seen = caught.value.message
    assert "{}, False, 'ConnectionRefusedError[(1, \\'lo\\')]'" in seen or '{}, False, "Conn' in seen, seen
    assert not seen.endswith(" 0))"), "as a user of its own"


def test_the_next_engine_adopts_what_runs(make: Make, tmp_path: Path) -> None:
    first = make()
    worker = first.start(plan(tmp_path / "bundle"), quiet)
    later = make()
    assert later.alive() == [worker]
    assert ask(worker, 4.0) == [8.0]
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(later.wait, worker)
        later.stop(worker)
        assert waiting.result(PATIENCE)
    assert later.alive() == []
    assert first.wait(worker), "who started it reaps it"


def test_closing_ends_what_loads_and_starts_no_more(make: Make, tmp_path: Path) -> None:
    workers = make()
    told: list[str] = []
    slow: Plan = plan(tmp_path / "bundle", "import time\ntime.sleep(99)")
    with ThreadPoolExecutor() as pool:
        start = pool.submit(workers.start, slow, told.append)
        until(lambda: "starting the worker" in told)
        workers.close()
        with pytest.raises(WorkerStartError):
            start.result(PATIENCE)
    with pytest.raises((WorkerStartError, Exception), match="going down"):
        workers.start(plan(tmp_path / "bundle"), quiet)
