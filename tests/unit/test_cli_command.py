"""The command by itself: help, wrong input, exit codes, and that it starts quickly. No yard is needed."""

from __future__ import annotations

import errno
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
import typer.main
from rich.console import Console

from modelyard.cli import main, output
from modelyard.cli.suggest import closest
from modelyard.cli.tokens import days
from modelyard.records.errors import InvalidError

SERVER_PARTS = ("litestar", "sqlalchemy", "uvicorn", "polars", "obstore", "httpx", "modelyard.settings")


class Done(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def yard(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[..., Done]:
    """Runs `yard …` in this process, with no yard known."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("YARD_URL", raising=False)
    monkeypatch.delenv("YARD_TOKEN", raising=False)

    def run(*arguments: str) -> Done:
        monkeypatch.setattr(sys, "argv", ["yard", *arguments])
        with pytest.raises(SystemExit) as ended:
            main.run()
        return Done(int(ended.value.code or 0), *capfd.readouterr())

    return run


def commands() -> list[tuple[str, ...]]:
    root = typer.main.get_command(main.app)
    found: list[tuple[str, ...]] = []
    for name, command in root.commands.items():  # type: ignore[attr-defined]
        inner = getattr(command, "commands", None)
        found += [(name, below) for below in inner] if inner else [(name,)]
    return found


def test_all_the_commands_are_there() -> None:
    assert {" ".join(c) for c in commands()} == {
        *("outcomes", "watch", "metric", "keep", "audit"),
        *("up", "demo", "doctor", "version", "login", "logout", "whoami"),
        *("users list", "users invite", "users reset", "users role", "users remove", "users disable"),
        *("users enable", "users join", "users department"),
        *("users trust", "users distrust", "users grace", "keys list", "keys rotate", "keys sign"),
        *("nodes forget",),
        *("ledger rates", "ledger budget", "ledger value", "ledger report"),
        *("grant matrix", "grant list", "grant give", "grant revoke"),
        *("token create", "token list", "token revoke"),
        *("publish", "models", "show", "history", "promote", "alias", "rollback", "predict", "predictions"),
        *("capacity", "card", "gate", "verdicts", "refits"),
        *(f"data {verb}" for verb in ("push", "list", "show", "rows", "pull", "diff", "models", "mark")),
        *(f"alerts {verb}" for verb in ("list", "ack", "channels", "send", "test", "remove")),
        *(f"data {verb}" for verb in ("clear", "clearances", "revoke")),
        *(f"data {verb}" for verb in ("connect", "connections", "disconnect", "snapshot")),
        *("train", "jobs", "job", "compare", "cancel", "backup", "restore"),
        *("upgrade", "systemd"),
        *("keys list", "keys rotate", "keys sign", "users trust", "users distrust"),
        *("rollout start", "rollout show", "rollout list", "rollout approve", "rollout stop"),
        *("policy show", "policy set", "policy pause", "policy resume"),
        *("hosts show", "hosts approve", "hosts withdraw"),
    }


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_the_help_of_each_command_has_an_example_that_can_be_parsed(
    yard: Callable[..., Done], command: tuple[str, ...]
) -> None:
    done = yard(*command, "--help")
    assert done.code == 0
    root = typer.main.get_command(main.app)
    for name in command:
        root = root.commands[name]  # type: ignore[attr-defined]
    examples = re.findall(rf"Example: .*?yard {' '.join(command)} ?([^\n|]*)", root.help or "")
    assert examples, f"yard {' '.join(command)} --help has no example"
    for words in examples:
        arguments = [w.strip("'\"") for w in re.findall(r'"[^"]*"|\S+', words)]
        root.make_context("yard", arguments, resilient_parsing=False)


def test_help_starts_without_the_servers_parts_and_soon() -> None:
    script = f"""
import sys, time
began = time.process_time()
sys.argv = ["yard", "--help"]
from modelyard.cli.main import run
try:
    run()
except SystemExit as ended:
    assert not ended.code
took = time.process_time() - began
loaded = [name for name in {SERVER_PARTS!r} if name in sys.modules]
assert not loaded, loaded
assert took < 2, took
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Run a yard" in done.stdout


def test_a_missing_server_is_said_with_what_to_install(tmp_path: Path) -> None:
    script = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("uvicorn", "sqlalchemy", "litestar", "polars", "obstore"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
from modelyard.cli.main import run
run()
"""
    for verb in ("up", "demo"):
        done = subprocess.run(
            [sys.executable, "-c", script, verb], capture_output=True, text=True, check=False, cwd=tmp_path
        )
        assert done.returncode == 1
        assert "is not installed here" in done.stderr
        assert "hint: Run: pip install 'modelyard[server" in done.stderr
        assert "Traceback" not in done.stderr
    environment = {**os.environ, "XDG_CONFIG_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", script, "doctor", "--json"],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert {f["what"]: f["state"] for f in json.loads(done.stdout)}["server"] == "note"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["modls"], 2, "Did you mean 'models'"),
        (["predict"], 2, "REF"),
        (["predict", "finance/x", "rows.csv", "--rows", "0"], 2, "rows"),
        (["token", "create", "x"], 2, "role"),
        (["token", "create", "x", "--role", "king"], 2, "king"),
        (["token", "revoke", "seven"], 2, "integer"),
        (["up", "--port", "99999"], 2, "port"),
        (["models"], 1, "hint: Run `yard login URL`"),
        (["show", "finance"], 1, "hint: "),
        (["predict", "finance", "rows.csv"], 1, "hint: Write department/name"),
        (["predict", "finance/x", "none.csv"], 1, "error: There is no none.csv.\nhint: Correct the path"),
        (["predict", "finance/x", "rows.xlsx"], 1, "hint: Names end in .csv"),
        (["publish", "none.rds", "finance/x", "--example", "none.csv"], 1, "none.rds"),
        (["publish", ".", "finance/x", "--metric", "mae"], 1, "--metric name=value"),
        (["publish", ".", "finance/x", "--metric", "mae=low"], 1, "not a number"),
        (["publish", ".", "finance/x", "--metric", "mae=nan"], 1, "not a number"),
        (["publish", ".", "finance/x", "--metric", "mae=1", "--metric", "mae=2"], 1, "twice"),
        (["login", "ftp://yard", "--token-file", "none"], 1, "none"),
        (["up", "--engine", "steam"], 1, "hint: Use --engine local"),
        (["up", "--fronts", "0"], 2, "fronts"),
    ],
)
def test_a_persons_mistake_gets_words_a_hint_and_its_exit_code(
    yard: Callable[..., Done],
    arguments: list[str],
    code: int,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    done = yard(*arguments)
    assert done.code == code, done
    assert words in done.err, done.err
    assert "Traceback" not in done.err
    assert done.out == ""


@pytest.mark.parametrize(
    ("error", "words", "hint"),
    [
        (FileNotFoundError(errno.ENOENT, "", "rows.csv"), "There is no rows.csv.", str(Path.cwd())),
        (IsADirectoryError(errno.EISDIR, "", "march"), "march is a folder", "Name the file in it."),
        (PermissionError(errno.EACCES, "", "rows.csv"), "You may not", "ls -ld rows.csv"),
        (OSError(errno.ENOSPC, "", "out.csv"), "The disk of out.csv is full.", "Make room"),
        (OSError(errno.ENOSPC, ""), "The disk of this machine is full.", "give the command again"),
        (OSError(errno.EIO, "Input/output error"), "Input/output error: this machine.", ""),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_the_system_refuses_is_told_with_what_to_do(error: OSError, words: str, hint: str) -> None:
    told = main.of_system(error)
    assert words in told.message
    assert hint in told.hint


def test_a_file_is_looked_for_from_a_folder_that_has_gone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()
    assert "not there any more" in main.of_system(FileNotFoundError(errno.ENOENT, "", "rows.csv")).hint


def test_no_yard_at_the_address(
    yard: Callable[..., Done], monkeypatch: pytest.MonkeyPatch, free_port: Callable[[], int]
) -> None:
    monkeypatch.setenv("YARD_URL", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("YARD_TOKEN", "yard_x")
    done = yard("models")
    assert (done.code, done.out) == (1, "")
    assert "error: No yard answers at http://127.0.0.1" in done.err
    assert "yard up" in done.err


def test_logging_in_where_no_yard_is_remembers_nothing(
    yard: Callable[..., Done], tmp_path: Path, free_port: Callable[[], int]
) -> None:
    token = tmp_path / "token"
    token.write_text("yard_x\n")
    done = yard("login", f"http://127.0.0.1:{free_port()}", "--token-file", str(token))
    assert done.code == 1
    assert not (tmp_path / "config").exists()
    assert yard("logout").err == "Nothing is remembered.\n"


def test_an_empty_or_odd_token_is_none(yard: Callable[..., Done], tmp_path: Path) -> None:
    token = tmp_path / "token"
    for content in ("", "two words", "yard_\x1b[2J", "Bearer yard_x"):
        token.write_text(content)
        done = yard("login", "http://127.0.0.1:9", "--token-file", str(token))
        assert (done.code, "error: That is no token." in done.err) == (1, True), content


def test_versions(yard: Callable[..., Done]) -> None:
    assert yard("--version").out == yard("version").out.split()[1] + "\n"
    assert set(json.loads(yard("version", "--json").out)) == {"modelyard", "python"}


def test_doctor_on_this_machine(yard: Callable[..., Done], tmp_path: Path) -> None:
    done = yard("doctor", "--data", str(tmp_path), "--json")
    found = {f["what"]: f["state"] for f in json.loads(done.out)}
    assert found["software"] == found["SQLite"] == found["Python"] == found[f"data folder {tmp_path}"] == "ok"
    assert found["yard"] == "note"
    assert done.code == (1 if "problem" in found.values() else 0)


def test_control_c_is_130(tmp_path: Path) -> None:
    """Ctrl-C while a yard that never answers is asked."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        environment = {
            **os.environ,
            "YARD_URL": f"http://127.0.0.1:{silent.getsockname()[1]}",
            "YARD_TOKEN": "yard_x",
            "XDG_CONFIG_HOME": str(tmp_path),
        }
        command = [sys.executable, "-m", "modelyard.cli", "models"]
        process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
        connection, _ = silent.accept()
        connection.recv(10)  # the question has come: it is waiting for the answer
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=180)
        connection.close()
    assert process.returncode == 130, said
    assert "Traceback" not in said


def test_a_reader_that_has_gone_is_no_error(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "modelyard.cli", "version"]
    done = subprocess.run(
        command, stdout=writing, stderr=subprocess.PIPE, text=True, check=False, cwd=tmp_path
    )
    os.close(writing)
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr


def test_what_others_published_cannot_steer_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    evil = "nice\x1b[2J\x1b]0;title\x07\r\n\x9b31m\u202e[bold red]x[/]"
    output.print_table(("a",), [(evil,)])
    output.print_facts([("b", evil)])
    output.note(evil)
    said = "".join(capsys.readouterr())
    assert not set(said) & set("\x1b\x07\r\x9b\u202e")
    assert "[bold red]x[/]" in said


_WIDE_TABLE = (
    ("model", "language", "champion", "other aliases", "created", "by"),
    [("operations/late-arrival", "python", 2, None, "2026-11-26 05:09:10 UTC", "administrator")],
)


@pytest.mark.parametrize(
    ("width", "lines"),
    [
        (
            120,
            ["model  language  champion  other aliases  created  by", "operations/late-arrival  python  2"],
        ),
        (78, ["model  language  champion  created  by", "operations/late-arrival  python  2"]),
        (50, ["model  operations/late-arrival", "created  2026-11-26 05:09:10 UTC"]),
    ],
)
def test_a_table_that_does_not_fit_breaks_no_word(
    width: int, lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    said = io.StringIO()
    monkeypatch.setattr(output, "screen", lambda: Console(file=said, width=width))
    output.print_table(*_WIDE_TABLE)
    printed = [re.sub(r" {2,}", "  ", line).strip() for line in said.getvalue().splitlines()]
    assert all(len(line) <= width for line in said.getvalue().splitlines())
    for line in lines:
        assert any(found.startswith(line) for found in printed), printed


def test_a_table_without_rows_has_its_heads(monkeypatch: pytest.MonkeyPatch) -> None:
    said = io.StringIO()
    monkeypatch.setattr(output, "screen", lambda: Console(file=said, width=80))
    output.print_table(*_WIDE_TABLE[:1], [])
    assert said.getvalue().startswith("model ")


@pytest.mark.parametrize("text", ["", "90", "d", "0d", "-1d", "1.5d", "9d9d", "999999d", "\u0661d"])
def test_a_time_that_is_none(text: str) -> None:
    with pytest.raises(InvalidError, match="is not a time"):
        days(text)


def test_times() -> None:
    assert [days(t) for t in ("90d", "12h", "8w", "36m", None)] == [90, 0.5, 56, 0.025, None]


def test_suggestions() -> None:
    known = ["finance/fuel-cost", "operations/arrival-delay"]
    assert closest("finance/fuel-cots", known) == "finance/fuel-cost"
    assert closest("ops/arrival-delay", known) == "operations/arrival-delay"
    assert closest("people/turnover", known) is None
    assert closest("people/turnover", []) is None
