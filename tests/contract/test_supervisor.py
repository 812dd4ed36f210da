"""`yard up` as a person starts it: it says what is wrong, replaces who dies, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import httpx
import pytest

from modelyard import up
from modelyard.records.errors import ConflictError, InvalidError, UnavailableError
from modelyard.settings import Settings
from tests.contract.hands import is_alive
from tests.journeys.models import times
from tests.journeys.running import PATIENCE, RunningYard, publish, until

MODEL = "ops/double"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningYard]:
    """A yard with two fronts and a model that doubles. Who stops it starts it again."""
    data = tmp_path_factory.mktemp("supervised") / "yard"
    with RunningYard(data, options=("--fronts", "2")) as running:
        with running.client() as client:
            publish(client, MODEL, times(2))
        yield running


@pytest.fixture
def yard(shared: RunningYard) -> RunningYard:
    """That yard, with a worker that has answered."""
    assert until(lambda: predicts(shared))
    return shared


def predicts(yard: RunningYard) -> bool:
    """Whether a new connection is answered."""
    with yard.client() as client:
        try:
            answer = client.post(f"/models/{MODEL}/predict", json=[{"x": 4}])
        except httpx.TransportError:  # the front died with the connection
            return False
    return answer.status_code == 200 and answer.json()["predictions"] == [8.0]


def worker_pids(yard: RunningYard) -> set[int]:
    with yard.client() as client:
        return {w["pid"] for w in client.get("/api/v1/workers").json()}


def descendants(pid: int) -> set[int]:
    """All processes below this one."""
    found: set[int] = set()
    waiting = [pid]
    while waiting:
        one = waiting.pop()
        for thread in Path(f"/proc/{one}/task").glob("*/children"):
            with suppress(OSError):  # gone meanwhile
                below = set(map(int, thread.read_text().split()))
                found |= below
                waiting += below
    return found


def supervisor(yard: RunningYard) -> int:
    assert yard.process is not None
    return yard.process.pid


def test_when_it_says_that_it_is_up_it_is_ready(tmp_path: Path) -> None:
    with RunningYard(tmp_path / "yard", options=("--fronts", "2")) as running:
        for _ in range(10):  # both fronts
            assert httpx.get(f"{running.url}/health/ready", timeout=PATIENCE).status_code == 200
        assert "admin.token" in running.said
        assert (tmp_path / "yard/admin.token").stat().st_mode & 0o777 == 0o600
        assert len(running.processes()) == 3


def test_the_second_start_finds_what_the_first_left(yard: RunningYard) -> None:
    token = yard.token
    yard.stop()
    yard.output.clear()
    yard.start()
    assert predicts(yard)
    assert yard.token == token
    assert "admin.token" not in yard.said


def refused(data: Path, port: int = 0, user: int | None = None) -> str:
    """What a yard says that does not start."""
    code = (
        "import sys; from modelyard import up; from modelyard.records.errors import YardError\n"
        "from modelyard.settings import Settings\n"
        "try: up.run(Settings.from_environment(data=sys.argv[1], port=int(sys.argv[2]), fronts=1))\n"
        "except YardError as error: print(f'{error.message}|{error.hint}'); sys.exit(1)\n"
    )
    command = [sys.executable, "-c", code, str(data), str(port)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False, user=user)
    assert done.returncode == 1, done.stdout + done.stderr
    message, _, hint = done.stdout.strip().partition("|")
    assert hint
    assert "Traceback" not in done.stderr
    return message


def test_a_second_yard_on_the_same_folder_is_refused(yard: RunningYard) -> None:
    assert "already runs" in refused(yard.data)
    assert predicts(yard)


def test_a_port_that_is_taken_is_refused(tmp_path: Path, yard: RunningYard) -> None:
    assert "another program uses the port" in refused(tmp_path / "other", yard.port)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert "another program uses the port" in refused(tmp_path / "other", taken.getsockname()[1])


def test_a_file_in_the_folders_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious")
    assert "cannot be used" in refused(tmp_path / "file")
    assert "cannot be used" in refused(tmp_path / "file" / "below")
    assert (tmp_path / "file").read_text() == "precious"


def test_a_folder_that_may_not_be_written_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "read-only"
    folder.mkdir(mode=0o555)
    if os.getuid() != 0:
        assert "cannot be used: Permission denied" in refused(folder / "yard")
        return
    pid = os.fork()  # root may write anywhere, so somebody else tries
    if pid == 0:
        os.setuid(65534)
        try:
            up.take_folder(Settings(data=folder / "yard"))
        except InvalidError as error:
            os._exit(0 if "cannot be used: Permission denied" in error.message else 2)
        finally:
            os._exit(3)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_an_address_that_is_not_ours_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match=r"192\.0\.2\.1:8080 cannot be listened on"):
        up._listen(Settings(data=tmp_path, host="192.0.2.1", port=8080))


def test_folders_that_were_open_to_others_are_closed(tmp_path: Path) -> None:
    data = tmp_path / "yard"
    (data / "bundles").mkdir(parents=True)
    for folder in (data, data / "bundles"):
        folder.chmod(0o755)
    with RunningYard(data):
        closed = {p.name for p in data.iterdir() if p.is_dir() and not p.stat().st_mode & 0o077}
    assert closed >= {"bundles", "environments", "logs", "spool", "scratch"}


def test_the_lock_is_of_one_yard_alone(tmp_path: Path) -> None:
    chosen = Settings(data=tmp_path / "yard")
    lock = up.take_folder(chosen)
    assert (tmp_path / "yard/lock").read_text() == f"{os.getpid()}\n"
    with pytest.raises(ConflictError, match="already runs"):
        up.take_folder(chosen)
    assert (tmp_path / "yard/lock").read_text() == f"{os.getpid()}\n", "who was refused changed nothing"
    lock.close()
    up.take_folder(chosen).close()


def test_the_lock_of_a_killed_supervisor_is_waited_for(tmp_path: Path) -> None:
    """Its engine may still be ending workers."""
    chosen = Settings(data=tmp_path / "yard")
    lock = up.take_folder(chosen)
    dead = subprocess.Popen(["true"])
    dead.wait()
    (tmp_path / "yard/lock").write_text(f"{dead.pid}\n")
    child = os.fork()
    if child == 0:
        time.sleep(0.3)
        os._exit(0)  # the last to hold it
    lock.close()
    up.take_folder(chosen).close()
    os.waitpid(child, 0)


def replaced(yard: RunningYard, pid: int) -> bool:
    now = yard.processes()
    return len(now) == 3 and pid not in now


def test_a_killed_front_is_replaced_and_the_other_answers(yard: RunningYard) -> None:
    for _ in range(2):
        front = yard.processes()[1]
        os.kill(front, signal.SIGKILL)
        assert until(lambda: predicts(yard))
        until(partial(replaced, yard, front))
    assert all(predicts(yard) for _ in range(10))


def test_a_killed_engine_is_replaced_and_adopts_the_workers(yard: RunningYard) -> None:
    pids = worker_pids(yard)
    engine = yard.processes()[0]
    os.kill(engine, signal.SIGKILL)
    assert predicts(yard), "also while there is no engine"
    until(lambda: engine not in descendants(supervisor(yard)))
    assert worker_pids(yard) == pids
    assert all(map(is_alive, pids))
    with yard.client() as client:
        assert publish(client, MODEL, times(3))["state"] == "checked"


def test_a_hanging_front_does_not_hold_up_a_change(yard: RunningYard) -> None:
    with yard.client() as client:
        assert publish(client, MODEL, times(3))["state"] == "checked"
    front = yard.processes()[1]
    os.kill(front, signal.SIGSTOP)
    try:
        assert until(lambda: promoted(yard, 2))["after"] == 2
    finally:
        os.kill(front, signal.SIGCONT)
    assert until(lambda: promoted(yard, 1))["after"] == 1


def promoted(yard: RunningYard, number: int) -> dict[str, object] | None:
    """The change, where the connection reached a front that answers: asked for on one that has answered
    before, for what a hanging one is sent it would do once it goes on.
    """
    with yard.client() as client:
        try:
            client.get("/health/live", timeout=5)
            answer = client.put(f"/api/v1/models/{MODEL}/aliases/champion", json={"version": number})
        except httpx.TransportError:
            return None
    return dict(answer.json()) if answer.status_code == 200 else None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_and_leaves_no_process(yard: RunningYard, number: signal.Signals) -> None:
    everybody = descendants(supervisor(yard)) | worker_pids(yard)
    assert len(everybody) >= 4
    assert yard.stop(number) == 0
    until(lambda: not any(map(is_alive, everybody)))
    yard.start()


def test_it_stops_when_everybody_is_told_at_once(yard: RunningYard) -> None:
    """As Ctrl-C does, or a service manager: children may be gone before the supervisor asks them to."""
    everybody = descendants(supervisor(yard))
    for pid in [*yard.processes(), supervisor(yard)]:
        os.kill(pid, signal.SIGTERM)
    assert yard.stop() == 0
    until(lambda: not any(map(is_alive, everybody)))
    yard.start()


def test_it_stops_though_a_front_and_the_engine_hang(yard: RunningYard) -> None:
    assert up._FRONTS_SECONDS + up._ENGINE_SECONDS <= 10, "so long `docker stop` waits"
    everybody = descendants(supervisor(yard))
    for pid in yard.processes()[:2]:
        os.kill(pid, signal.SIGSTOP)
    assert yard.stop() == 0
    until(lambda: not any(map(is_alive, everybody)))
    yard.start()


def test_a_killed_supervisor_takes_everything_with_it(yard: RunningYard) -> None:
    everybody = descendants(supervisor(yard))
    assert len(everybody) >= 4
    yard.stop(signal.SIGKILL)
    yard.start()  # at once: it waits for those on their way out
    until(lambda: not any(map(is_alive, everybody)))
    assert predicts(yard)


def test_killed_all_at_once_the_next_start_adopts_the_workers(yard: RunningYard) -> None:
    pids = worker_pids(yard)
    for pid in yard.processes():
        os.kill(pid, signal.SIGSTOP)  # so that none of them can do anything more
    rest = yard.processes()
    yard_pid = supervisor(yard)
    os.kill(yard_pid, signal.SIGKILL)
    for pid in rest:
        os.kill(pid, signal.SIGKILL)
    yard.stop(signal.SIGKILL)
    yard.start()
    assert predicts(yard)
    assert worker_pids(yard) == pids


def test_a_node_that_stops_lets_balancers_go_first(tmp_path: Path) -> None:
    """Not ready, and answering as before, for as long as YARD_DRAIN says; a second signal cuts that short."""
    with RunningYard(tmp_path / "yard", {"YARD_DRAIN": "300", "YARD_FRONTS": "1"}) as draining:
        with draining.client() as client:
            publish(client, MODEL, times(2))
            assert client.get("/health/ready").status_code == 200
            assert draining.process is not None
            draining.process.send_signal(signal.SIGTERM)
            until(lambda: client.get("/health/ready").status_code == 503)
            assert client.get("/health/live").status_code == 200
            assert "being stopped" in client.get("/api/v1/yard").json()["reason"]
        assert predicts(draining), "on a new connection, too"
        assert draining.stop() == 0


def test_systemd_is_told_how_it_stands(tmp_path: Path) -> None:
    place = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(place))
        systemd.settimeout(PATIENCE)
        with RunningYard(tmp_path / "yard", {"NOTIFY_SOCKET": str(place), "YARD_FRONTS": "1"}) as told:
            ready = systemd.recv(1000).decode().splitlines()
            assert ready == ["READY=1", f"STATUS=Up at {told.url}"]
        assert systemd.recv(1000) == b"STOPPING=1"
    # Nobody listens any more: that is no reason not to run.
    with RunningYard(tmp_path / "yard", {"NOTIFY_SOCKET": str(place), "YARD_FRONTS": "1"}) as alone:
        assert until(lambda: "systemd cannot be told" in alone.said)


def test_logs_are_objects_where_that_is_wanted(tmp_path: Path) -> None:
    variables = {"YARD_LOG_FORMAT": "json", "YARD_LOG_LEVEL": "INFO", "YARD_FRONTS": "1"}
    with RunningYard(tmp_path / "yard", variables) as running:
        with running.client() as client:
            answer = client.get("/api/v1/models/no/where")
            publish(client, MODEL, times(2))
            refused = client.post(f"/models/{MODEL}/predict", json=[{"y": 1}])
        running.stop()
        lines = [json.loads(line) for line in running.output if line.startswith("{")]
        said = {line["request_id"]: line for line in lines if "request_id" in line}
        assert said[answer.headers["X-Request-Id"]]["process"] == "front-0"
        assert refused.json().get("request_id", refused.headers["X-Request-Id"]) in said
        assert {"engine", "front-0"} <= {line["process"] for line in lines}
        assert running.token not in running.said
        running.start()  # for the end of the block
