"""Workers as processes of this machine: real ones, with models that do everything a model should not."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from modelyard.records.errors import (
    DeadlineError,
    EnvironmentBuildError,
    MalformedError,
    ModelError,
    WorkerLostError,
    WorkerStartError,
)
from modelyard.records.signatures import Column, ColumnType
from modelyard.settings import MIB
from modelyard.workers.local import LocalWorkers
from modelyard.workers.logs import tail, trim
from modelyard.workers.plans import Plan
from modelyard.workers.processes import how_it_ended, tree
from modelyard.workers.talk import Talk
from modelyard.workers.wire import MAGIC, PREFIX, Frame, from_values, to_values
from tests.contract.hands import OWN, X, ask, is_alive, plan, question, quiet, settings, started
from tests.journeys.running import PATIENCE, until

PREDICT = "def predict(columns):\n    x = columns['x']\n"


@pytest.fixture
def workers(tmp_path: Path) -> LocalWorkers:
    return LocalWorkers(settings(tmp_path / "data"))


def failing(workers: LocalWorkers, wanted: Plan) -> WorkerStartError:
    """The error of a start that fails; nothing of the worker is left."""
    with pytest.raises(WorkerStartError) as caught:
        workers.start(wanted, quiet)
    assert list(workers.folder.iterdir()) == []
    assert not workers._children
    return caught.value


def test_it_starts_loads_and_answers(workers: LocalWorkers, tmp_path: Path) -> None:
    told: list[str] = []
    worker = workers.start(plan(tmp_path / "bundle"), told.append)
    assert ask(worker, 1.0, 2.5) == [2.0, 5.0]
    assert worker.runtime == f"python {OWN}"
    assert set(worker.takes) == {"float64", "int64", "bool", "string"}
    assert abs(worker.since - time.time()) < 60
    assert told == ["starting the worker"]
    assert 5 * MIB < workers.look(worker).memory < 500 * MIB
    workers.stop(worker)
    assert not is_alive(worker.pid)
    assert workers.look(worker).memory == 0
    assert list(workers.folder.iterdir()) == []


def test_only_the_owner_may_connect(workers: LocalWorkers, tmp_path: Path) -> None:
    with started(workers, plan(tmp_path / "bundle")) as worker:
        assert Path(worker.socket).parent.parent.stat().st_mode & 0o077 == 0
        assert Path(worker.log).parent.stat().st_mode & 0o077 == 0


def test_a_model_that_throws_at_load(workers: LocalWorkers, tmp_path: Path) -> None:
    error = failing(workers, plan(tmp_path / "bundle", "raise RuntimeError('no weights here')"))
    assert "no weights here" in error.message
    assert "Traceback" in error.log


def test_a_model_that_is_not_there(workers: LocalWorkers, tmp_path: Path) -> None:
    wanted = msgspec.structs.replace(plan(tmp_path / "bundle"), entry="other:predict")
    assert "other" in failing(workers, wanted).message


def test_a_model_that_hangs_at_load(tmp_path: Path) -> None:
    wanted = plan(tmp_path / "bundle", "import time\nprint('here', flush=True)\ntime.sleep(999)")
    for seconds in (1, 8, 60):  # until it gets so far, on a machine of any speed
        error = failing(LocalWorkers(settings(tmp_path / "data", load_timeout=float(seconds))), wanted)
        assert f"did not load within {seconds} s" in error.message
        assert "YARD_LOAD_TIMEOUT" in error.hint
        if error.log:
            break
    assert error.log == "here\n"


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("import os\nos._exit(7)", "exit code 7"),
        ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", "SIGKILL"),
        ("import ctypes\nctypes.string_at(0)", "SIGSEGV"),
    ],
)
def test_63_a_model_whose_process_dies_at_load(
    workers: LocalWorkers, tmp_path: Path, source: str, words: str
) -> None:
    assert words in failing(workers, plan(tmp_path / "bundle", source)).message


def test_a_worker_that_hangs_up_at_load_and_lives_on(workers: LocalWorkers, tmp_path: Path) -> None:
    source = "import os, time\nos.closerange(3, 50)\ntime.sleep(99)"
    assert "hung up" in failing(workers, plan(tmp_path / "bundle", source)).message


def test_the_log_in_the_error_is_of_this_start_only(workers: LocalWorkers, tmp_path: Path) -> None:
    failing(workers, plan(tmp_path / "bundle", "print('first'); raise ValueError"))
    error = failing(workers, plan(tmp_path / "bundle", "print('second'); raise ValueError"))
    assert "second" in error.log
    assert "first" not in error.log


def test_garbage_on_standard_output_disturbs_nothing(workers: LocalWorkers, tmp_path: Path) -> None:
    source = PREDICT + "    import os; os.write(1, b'YRD1\\x00\\xff garbage'); print('more')\n    return x\n"
    with started(workers, plan(tmp_path / "bundle", source)) as worker:
        assert ask(worker, 3.0) == [3.0]
        assert ask(worker, 4.0) == [4.0]
        assert "garbage" in tail(Path(worker.log))


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("    import os; os._exit(0)\n", "exit code 0"),
        ("    import ctypes; ctypes.string_at(0)\n", "killed by SIGSEGV"),
        ("    import os; os.kill(os.getpid(), 9)\n", "killed by SIGKILL"),
    ],
)
def test_63_a_worker_that_dies_in_the_middle_of_a_batch(
    workers: LocalWorkers, tmp_path: Path, source: str, words: str
) -> None:
    with started(workers, plan(tmp_path / "bundle", PREDICT + source)) as worker:
        with pytest.raises(WorkerLostError):
            ask(worker, 1.0)
        assert workers.wait(worker).startswith(words)
        assert not Path(worker.socket).exists()


def test_a_model_that_fails_on_rows_goes_on(workers: LocalWorkers, tmp_path: Path) -> None:
    source = PREDICT + "    if x[0] < 0: raise ValueError('negative')\n    return x\n"
    with started(workers, plan(tmp_path / "bundle", source)) as worker:
        with pytest.raises(ModelError, match="negative"):
            ask(worker, -1.0)
        assert ask(worker, 1.0) == [1.0]


def test_no_answer_in_time(workers: LocalWorkers, tmp_path: Path) -> None:
    source = PREDICT + "    import time; time.sleep(99)\n"
    with started(workers, plan(tmp_path / "bundle", source)) as worker, pytest.raises(DeadlineError):
        ask(worker, 1.0, timeout=0.2)


@pytest.mark.parametrize("where", ["load", "answer"])
def test_62_a_model_that_allocates_without_end(tmp_path: Path, where: str) -> None:
    workers = LocalWorkers(settings(tmp_path / "data", worker_memory=512 * MIB))
    endless = "kept = []\nwhile True: kept.append(bytearray(1 << 24))\n"
    if where == "load":
        assert "MemoryError" in failing(workers, plan(tmp_path / "bundle", endless)).message
        return
    body = "".join(f"    {line}\n" for line in endless.splitlines())
    source = PREDICT + "    if x[0] > 0: return x\n" + body
    with started(workers, plan(tmp_path / "bundle", source)) as worker:
        with pytest.raises(ModelError, match="MemoryError"):
            ask(worker, -1.0)
        assert ask(worker, 1.0) == [1.0]
        assert workers.look(worker).memory < 512 * MIB


def test_62_one_that_ignores_sigterm_is_ended(workers: LocalWorkers, tmp_path: Path) -> None:
    source = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + PREDICT + "    return x\n"
    worker = workers.start(plan(tmp_path / "bundle", source), quiet)
    began = time.monotonic()
    workers.stop(worker)
    assert time.monotonic() - began > 1.0, "it is asked first"
    assert not is_alive(worker.pid)


FORKS = """
import os, signal, time
child = os.fork()
if child == 0:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True: time.sleep(60)
def predict(columns):
    if columns['x'][0] < 0: os._exit(3)
    return columns['x'] * 0 + child
"""


def test_its_children_go_with_it(workers: LocalWorkers, tmp_path: Path) -> None:
    worker = workers.start(plan(tmp_path / "bundle", FORKS), quiet)
    child = tree(worker.pid)[-1]
    assert is_alive(child)
    workers.stop(worker)
    assert until(lambda: not is_alive(child))


def test_its_children_go_with_it_when_it_dies(workers: LocalWorkers, tmp_path: Path) -> None:
    worker = workers.start(plan(tmp_path / "bundle", FORKS), quiet)
    child = tree(worker.pid)[-1]
    with pytest.raises(WorkerLostError):
        ask(worker, -1.0)
    assert workers.wait(worker) == "exit code 3"
    assert until(lambda: not is_alive(child))


def test_62_one_that_prints_without_end_fills_no_disk(workers: LocalWorkers, tmp_path: Path) -> None:
    source = (
        "import os\nline = b'x' * (1 << 20)\n"
        + PREDICT
        + "    try:\n        for _ in range(1000): os.write(1, line)\n"
        "    except OSError as error: return x * 0 + error.errno\n    return x\n"
    )
    with started(workers, plan(tmp_path / "bundle", source)) as worker:
        assert ask(worker, 1.0) == [27.0]  # EFBIG, after 256 MiB
        log = Path(worker.log)
        assert log.stat().st_size == 256 * MIB
        assert len(tail(log)) == 8_000
        trim(log)
        assert log.stat().st_size == 0
        assert ask(worker, 1.0) == [27.0]  # it goes on at the beginning
        trim(log)


def test_a_short_log_is_not_trimmed(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("a few words")
    trim(log, limit=100)
    assert tail(log) == "a few words"
    assert tail(log, since=2) == "few words"
    assert tail(log, since=999) == "a few words", "trimmed since"
    trim(log, limit=3)
    assert tail(log) == ""
    trim(tmp_path / "absent")
    assert tail(tmp_path / "absent") == ""


def test_62_one_that_opens_files_without_end(workers: LocalWorkers, tmp_path: Path) -> None:
    source = PREDICT + (
        "    if x[0] > 0: return x\n    files = []\n    while True: files.append(open('/dev/null'))\n"
    )
    with started(workers, plan(tmp_path / "bundle", source)) as worker:
        with pytest.raises(ModelError, match="Too many open files"):
            ask(worker, -1.0)
        assert ask(worker, 1.0) == [1.0]


def test_the_servers_secrets_are_not_visible_inside(
    workers: LocalWorkers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("YARD_DATABASE", "postgresql://yard:hunter2@db/yard")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    monkeypatch.setenv("PYTHONPATH", "hunter2")
    source = (
        "import os\nprint(open('/proc/self/environ').read().split(chr(0)))\n" + PREDICT + "    return x\n"
    )
    with started(workers, plan(tmp_path / "bundle", source)) as worker:
        said = tail(Path(worker.log))
    assert "hunter2" not in said
    assert "TZ=UTC" in said


def test_its_scratch_folder_is_its_own_and_goes_with_it(workers: LocalWorkers, tmp_path: Path) -> None:
    source = "import tempfile\nprint(tempfile.mkdtemp())\n" + PREDICT + "    return x\n"
    with started(workers, plan(tmp_path / "bundle", source)) as worker:
        made = Path(tail(Path(worker.log)).strip())
        assert made.is_relative_to("/tmp"), "inside"
        assert not made.exists(), "a tmpfs that nobody else sees"


def test_the_bundle_cannot_take_the_place_of_the_standard_library(
    workers: LocalWorkers, tmp_path: Path
) -> None:
    bundle = tmp_path / "bundle"
    wanted = plan(bundle)
    for name in ("sitecustomize.py", "usercustomize.py", "socket.py"):
        (bundle / name).write_text("raise SystemExit(99)")
    with started(workers, wanted) as worker:
        assert ask(worker, 1.0) == [2.0]


def test_the_next_engine_adopts_what_runs(workers: LocalWorkers, tmp_path: Path) -> None:
    worker = workers.start(plan(tmp_path / "bundle"), quiet)
    later = LocalWorkers(settings(tmp_path / "data"))
    assert later.alive() == [worker]
    ended: list[str] = []
    watcher = threading.Thread(target=lambda: ended.append(later.wait(worker)))
    watcher.start()
    os.kill(worker.pid, signal.SIGKILL)
    watcher.join(PATIENCE)
    assert ended == ["it ended"]
    assert later.alive() == []
    assert "SIGKILL" in workers.wait(worker)


def test_the_next_engine_ends_what_was_still_loading(workers: LocalWorkers, tmp_path: Path) -> None:
    wanted = plan(tmp_path / "bundle", "import time\ntime.sleep(99)")
    with ThreadPoolExecutor() as pool:
        start = pool.submit(workers.start, wanted, quiet)
        record = until(lambda: next(workers.folder.glob("*.json"), None))
        pid = msgspec.json.decode(record.read_bytes())["pid"]
        assert LocalWorkers(settings(tmp_path / "data")).alive() == []
        with pytest.raises(WorkerStartError, match="SIGKILL"):
            start.result(PATIENCE)
    assert not is_alive(pid)


def test_closing_ends_what_loads_and_starts_no_more(workers: LocalWorkers, tmp_path: Path) -> None:
    wanted = plan(tmp_path / "bundle", "import time\ntime.sleep(99)")
    with ThreadPoolExecutor() as pool:
        start = pool.submit(workers.start, wanted, quiet)
        until(lambda: list(workers.folder.glob("*.json")))
        workers.close()
        with pytest.raises(WorkerStartError, match="SIGKILL"):
            start.result(PATIENCE)
    with pytest.raises(WorkerStartError, match="going down"):
        workers.start(wanted, quiet)
    assert list(workers.folder.iterdir()) == []


@pytest.mark.parametrize("record", [b"", b"{}", b'{"pid": 1}', b"\xff"])
def test_a_damaged_record_is_thrown_away(workers: LocalWorkers, record: bytes) -> None:
    path = workers.folder / "0-0.json"
    path.write_bytes(record)
    assert workers.alive() == []
    assert not path.exists()


def test_a_record_whose_process_number_is_anothers_now(workers: LocalWorkers, tmp_path: Path) -> None:
    worker = workers.start(plan(tmp_path / "bundle"), quiet)
    record = Path(worker.socket).parent.with_suffix(".json")
    stale = msgspec.structs.replace(worker, pid=os.getpid())  # this very process: it must not be ended
    workers.stop(worker)
    record.write_bytes(msgspec.json.encode(stale))
    assert workers.alive() == []
    assert workers.wait(stale) == "it ended"
    workers.stop(stale)
    assert not record.exists()


def test_two_of_one_version_share_nothing(workers: LocalWorkers, tmp_path: Path) -> None:
    wanted = plan(tmp_path / "bundle")
    first = workers.start(wanted, quiet)
    second = workers.start(wanted, quiet)
    workers.stop(first)
    assert ask(second, 1.0) == [2.0]
    assert workers.alive() == [second]
    workers.stop(second)


def test_an_unknown_language(workers: LocalWorkers, tmp_path: Path) -> None:
    wanted = msgspec.structs.replace(plan(tmp_path / "bundle"), language="cobol")
    assert "cobol" in failing(workers, wanted).message


@pytest.mark.parametrize(
    ("language", "hint"), [("r", "r-base-core"), ("julia", "Julia"), ("python", "Python")]
)
def test_a_language_that_is_not_installed(tmp_path: Path, language: str, hint: str) -> None:
    workers = LocalWorkers(settings(tmp_path / "data", programs={language: "/nowhere/at-all"}))
    wanted = msgspec.structs.replace(plan(tmp_path / "bundle"), language=language)
    error = failing(workers, wanted)
    assert isinstance(error, EnvironmentBuildError)
    assert "is not installed" in error.message
    assert hint in error.hint


R_MODEL = """
predict_mine <- function(rows) rows$x * 2
saveRDS(lm(y ~ x, data.frame(x = c(0, 1, 2, 3), y = c(0, 2, 4, 6))), "model.rds")
"""


@pytest.mark.r
def test_r_answers_through_the_bridge(workers: LocalWorkers, tmp_path: Path, rscript: list[str]) -> None:
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    run(rscript, R_MODEL, bundle)
    wanted = Plan("finance.fuel.1", 0, "r", "4.2.2", str(bundle), "model.rds", {}, (X,))
    with started(workers, wanted) as worker:
        assert ask(worker, 1.0, 10.0) == pytest.approx([2.0, 20.0])
        assert "int64" not in worker.takes
        assert workers.look(worker).memory > 30 * MIB, "R's memory counts, not the bridge's alone"
        r = tree(worker.pid)[-1]
        os.kill(r, signal.SIGKILL)
        assert "SIGKILL" in workers.wait(worker)


def run(rscript: list[str], source: str, folder: Path) -> None:
    subprocess.run([*rscript, "-e", source], cwd=folder, check=True, capture_output=True)


@pytest.mark.r
def test_r_says_what_is_wrong_with_a_file(workers: LocalWorkers, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    (bundle / "model.rds").write_bytes(b"not an RDS file")
    error = failing(workers, Plan("finance.fuel.1", 0, "r", "4.2.2", str(bundle), "model.rds", {}, (X,)))
    assert error.message.startswith("The model does not load: ")


@pytest.mark.julia
def test_julia_says_what_is_wrong_with_a_file(workers: LocalWorkers, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    (bundle / "model.jls").write_bytes(b"not a serialized value")
    error = failing(
        workers, Plan("maintenance.turn.1", 0, "julia", "1.5.3", str(bundle), "model.jls", {}, (X,))
    )
    assert error.message.startswith("The model does not load: ")


def test_64_the_answer_to_load_must_be_one(tmp_path: Path) -> None:
    """A worker that speaks frames, but of another question."""
    program = tmp_path / "python"
    program.write_text(f"#!{sys.executable}\n{WRONG_WORKER}")
    program.chmod(0o755)
    chosen = settings(tmp_path / "data", programs={"python": str(program)})
    error = failing(LocalWorkers(chosen), plan(tmp_path / "bundle"))
    assert "something else" in error.message


WRONG_WORKER = """
import socket, sys
if "-c" in sys.argv:
    print("3.11.2")
    raise SystemExit
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[sys.argv.index("--socket") + 1])
listener.listen()
sock, _ = listener.accept()
sock.recv(1 << 16)
head = b"ready\\nid\\t99\\n"
sock.sendall(b"YRD1" + len(head).to_bytes(4, "little") + bytes(4) + head)
sock.recv(1)
"""


def test_64_a_gigabyte_for_an_answer_is_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "huge.sock"
    with socket.socket(socket.AF_UNIX) as listener, ThreadPoolExecutor(1) as pool:
        listener.bind(str(path))
        listener.listen()

        def promise() -> None:
            sock, _ = listener.accept()
            with sock:
                sock.recv(1 << 16)
                sock.sendall(PREFIX.pack(MAGIC, 5, 1 << 30))

        promised = pool.submit(promise)
        with Talk(path) as talk, pytest.raises(MalformedError, match="over the limit"):
            talk.ask(Frame("infer", (("id", "1"),)), 20)
        promised.result()


def test_64_bytes_that_come_too_slowly(tmp_path: Path) -> None:
    """The limit is on the whole answer, not on each of its bytes."""
    path = tmp_path / "slow.sock"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    over = threading.Event()

    def dribble() -> None:
        sock, _ = listener.accept()
        with sock:
            while not over.wait(0.02):
                try:
                    sock.sendall(b"Y")
                except OSError:
                    return

    thread = threading.Thread(target=dribble)
    thread.start()
    with Talk(path) as talk, pytest.raises((DeadlineError, WorkerLostError)) as caught:
        talk.ask(Frame("ping", (("id", "1"),)), 0.1)  # were it on each byte, this would never end
    assert isinstance(caught.value, DeadlineError)
    over.set()
    thread.join(PATIENCE)
    listener.close()


def test_several_columns_with_levels_reach_the_model(workers: LocalWorkers, tmp_path: Path) -> None:
    wanted = plan(
        tmp_path / "bundle", "def predict(columns):\n    return [len(v) for v in columns['carrier']]\n"
    )
    column = Column("carrier", ColumnType.STRING, levels=("AA", "a\tb"))
    with started(workers, msgspec.structs.replace(wanted, inputs=(column,))) as worker:
        carriers = from_values("carrier", ColumnType.STRING, ["AA", "a\tb"])
        with Talk(Path(worker.socket)) as talk:
            answer = talk.ask(Frame("infer", (("id", "1"),), 2, (carriers,)), PATIENCE)
            assert to_values(answer.columns[0]) == [2.0, 3.0]
            with pytest.raises(ModelError, match="signature"):
                talk.ask(question(1.0), PATIENCE)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (0, "exit code 0"),
        (1, "exit code 1"),
        (-9, "SIGKILL"),
        (137, "SIGKILL"),
        (139, "SIGSEGV"),
        (-64, "SIGRTMAX"),
        (-250, "exit code -250"),
    ],
)
def test_how_it_ended_in_words(code: int, words: str) -> None:
    assert words in how_it_ended(code)
