"""The command against a real yard: a day of a data scientist, an owner and an operator."""

from __future__ import annotations

import json
import os
import re
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from tests.journeys.running import RunningYard

from modelyard.cli import main

MODEL = "finance/fuel-cost"
CODE = """
def cost(rows):
    return [{factor} * d + (c == "AA") for d, c in zip(rows["distance"], rows["carrier"])]
"""
ROWS = 'distance,carrier,flight\n1400.5,"AA",7\n200.0,"UA",8\n'


class Terminal:
    """Runs `yard …` in this process against the running yard."""

    def __init__(self, run: Callable[[], tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch) -> None:
        self._run, self._patch = run, monkeypatch
        self.out = self.err = ""

    def __call__(self, *arguments: str | Path, code: int = 0) -> str:
        self._patch.setattr(sys, "argv", ["yard", *map(str, arguments)])
        got, self.out, self.err = self._run()
        assert got == code, (arguments, self.out, self.err)
        assert "modelyard/cli" not in self.err  # no traceback of ours
        return self.out

    def json(self, *arguments: str) -> Any:
        return json.loads(self(*arguments, "--json"))


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningYard]:
    """A yard that holds two checked versions of one model."""
    folder = tmp_path_factory.mktemp("cli")
    with RunningYard(folder / "data") as running:
        environment = {**os.environ, "YARD_URL": running.url, "YARD_TOKEN": running.token}
        rows = folder / "rows.csv"
        rows.write_text("\n".join(line.rpartition(",")[0] for line in ROWS.splitlines()) + "\n")
        for factor in (2, 3):
            (folder / "code").mkdir(exist_ok=True)
            (folder / "code/fuel.py").write_text(CODE.format(factor=factor))
            command = [sys.executable, "-m", "modelyard.cli", "publish", str(folder / "code"), MODEL]
            said = ["--metric", f"mae={factor}.5", "--description", f"factor {factor}"]
            options = ["--entry", "fuel:cost", "--example", str(rows), *said]
            done = subprocess.run(
                [*command, *options], env=environment, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stderr
            assert f"{MODEL}/{factor - 1} is checked" in done.stderr
            assert ("yard promote" in done.stderr) == (factor == 3)
        yield running


@pytest.fixture
def yard(
    running: RunningYard, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> Terminal:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("YARD_URL", running.url)
    monkeypatch.setenv("YARD_TOKEN", running.token)
    monkeypatch.chdir(tmp_path)

    def run() -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main.run()
        return int(ended.value.code or 0), *capfd.readouterr()

    return Terminal(run, monkeypatch)


def test_log_in_out_and_ask_who_one_is(
    yard: Terminal, running: RunningYard, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("YARD_URL")
    monkeypatch.delenv("YARD_TOKEN")
    yard("login", running.url, "--token-file", running.data / "admin.token")
    kept = tmp_path / "config/modelyard/login"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert yard.json("whoami") == {
        "url": running.url,
        "principal": "administrator",
        "role": "administrator",
        "department": None,
    }
    assert "administrator" in yard("whoami")
    yard("logout")
    assert not kept.exists()
    yard("models", code=1)


def test_a_wrong_token_is_not_remembered(yard: Terminal, running: RunningYard, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_text("yard_wrong")
    yard("login", running.url, "--token-file", wrong, code=1)
    assert "error: The token is unknown" in yard.err
    assert not (tmp_path / "config").exists()


def test_a_token_from_standard_input_is_never_shown(running: RunningYard, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "modelyard.cli", "login", running.url]
    environment = {**os.environ, "XDG_CONFIG_HOME": str(tmp_path)}
    done = subprocess.run(
        command, input=running.token + "\n", capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert running.token not in done.stdout + done.stderr


def test_models_and_show(yard: Terminal) -> None:
    (model,) = yard.json("models")
    assert model | {"model": MODEL, "language": "python", "latest": 2, "champion": 1} == model
    assert MODEL in yard("models")
    version = yard.json("show", MODEL)
    assert version | {"version": 1, "aliases": ["champion"], "form": "native", "state": "checked"} == version
    assert yard.json("show", f"{MODEL}@champion") == version
    assert yard.json("show", f"{MODEL}/2")["bundle"]["description"] == "factor 3"
    told = yard("show", MODEL)
    for words in (
        "seen 200 to 1400.5",
        "seen AA, UA",
        "→ prediction",
        "mae = 2.5",
        "factor 3",
        "all versions",
    ):
        assert words in told, words


def test_a_mistyped_reference_gets_a_suggestion(yard: Terminal) -> None:
    for verb in ("show", "history", "rollback"):
        yard(verb, "finance/fuel-cots", code=1)
        assert f"hint: Did you mean {MODEL}?" in yard.err, verb
    yard("promote", "finances/fuel-cost/2", code=1)
    assert f"hint: Did you mean {MODEL}?" in yard.err
    yard("show", f"{MODEL}/9", code=1)
    assert "has no version 9" in yard.err


def test_promote_alias_and_roll_back(yard: Terminal) -> None:
    yard("promote", f"{MODEL}/2", "--why", "better in March")
    assert f"{MODEL}@champion is version 2 now (before: 1)." in yard.err
    assert yard.json("alias", f"{MODEL}@champion", "stable")["after"] == 2
    assert yard.json("rollback", MODEL, "--why", "odd")["after"] == 1
    yard("rollback", MODEL, code=1)
    assert "nothing to go back to" in yard.err
    changes = yard.json("history", MODEL)
    assert [(c["alias"], c["before"], c["after"], c["why"]) for c in changes[:3]] == [
        ("champion", 2, 1, "odd"),
        ("stable", None, 2, ""),
        ("champion", 1, 2, "better in March"),
    ]
    assert "better in March" in yard("history", MODEL)


def test_predict_from_each_form_to_each(yard: Terminal, tmp_path: Path) -> None:
    records = [{"distance": 1400.5, "carrier": "AA"}, {"distance": 200.0, "carrier": "UA"}]
    right = [2802.0, 400.0]
    (tmp_path / "rows.csv").write_text(ROWS)
    (tmp_path / "rows.json").write_text(json.dumps(records))
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records))
    pl.DataFrame(records).write_parquet(tmp_path / "rows.parquet")
    for coming in ("csv", "json", "jsonl"):
        for going in ("csv", "json", "jsonl"):
            yard("predict", f"{MODEL}/1", f"rows.{coming}", "-o", f"out.{going}", "--rows", "1")
            said = (tmp_path / f"out.{going}").read_text()
            if going == "csv":
                rows = ["flight,prediction", "7,2802.0", "8,400.0"]
                assert said.split() == (rows if coming == "csv" else ["prediction", "2802.0", "400.0"])
            else:
                lines = said.split()
                assert (json.loads(said) if going == "json" else [float(line) for line in lines]) == right
    for coming in ("csv", "json", "parquet"):
        yard("predict", f"{MODEL}/1", f"rows.{coming}", "-o", "out.parquet")
        assert pl.read_parquet(tmp_path / "out.parquet")["prediction"].to_list() == right
    yard("predict", f"{MODEL}/1", "rows.parquet", "-o", "out.json")
    assert json.loads((tmp_path / "out.json").read_text()) == right
    assert yard("predict", MODEL, "rows.csv") == "flight,prediction\n7,2802.0\n8,400.0\n"
    kept = yard("predict", MODEL, "rows.csv", "--keep", "carrier", "--keep", "flight")
    assert kept.split() == ["carrier,flight,prediction", "AA,7,2802.0", "UA,8,400.0"]
    yard("predict", MODEL, "rows.csv", "--keep", "tail", code=1)
    assert "The file has no column 'tail'" in yard.err
    yard("predict", MODEL, "rows.parquet", "-o", "out.jsonl", "--rows", "1")
    assert (tmp_path / "out.jsonl").read_text() == "2802.0\n400.0\n"
    assert not list(tmp_path.glob("*.parts"))


def test_predict_from_standard_input(running: RunningYard) -> None:
    environment = {**os.environ, "YARD_URL": running.url, "YARD_TOKEN": running.token}
    for given, due in [
        ('[{"distance": 1, "carrier": "UA"}]', "[\n2.0\n]\n"),
        ('{"distance": 1, "carrier": "UA"}\n{"distance": 2, "carrier": "UA"}\n', "[\n2.0,\n4.0\n]\n"),
        ("distance,carrier\n1,AA\n", "prediction\n3.0\n"),
    ]:
        command = [sys.executable, "-m", "modelyard.cli", "predict", f"{MODEL}/1", "-"]
        done = subprocess.run(
            command, input=given, env=environment, capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stdout) == (0, due), done.stderr


def test_a_row_that_is_refused_is_named_in_the_whole_file_and_leaves_no_output(
    yard: Terminal, tmp_path: Path
) -> None:
    lines = ["distance,carrier", *["1,AA"] * 5, "far,AA"]
    (tmp_path / "rows.csv").write_text("\n".join(lines) + "\n")
    yard("predict", MODEL, "rows.csv", "-o", "out.csv", "--rows", "2", code=1)
    assert "In the part that begins at row 4: " in yard.err
    assert "distance" in yard.err
    assert not list(tmp_path.glob("out.csv*"))
    (tmp_path / "rows.csv").write_text("distance,carrier\n")
    yard("predict", MODEL, "rows.csv", "-o", "out.csv", code=1)
    assert "error: There are no rows in the file." in yard.err
    assert not list(tmp_path.glob("out.csv*"))


def many(path: Path, rows: int) -> pl.DataFrame:
    """A Parquet file of row groups of 100 rows, with a key and a time that the model does not take."""
    numbers = pl.int_range(rows, eager=True)
    table = pl.DataFrame({
        "id": numbers, "distance": numbers.cast(pl.Float64), "carrier": pl.Series(["AA", "UA"] * (rows // 2)),
        "day": pl.Series([date(2026, 1, 1)] * rows),
    })  # fmt: skip
    table.write_parquet(path, row_group_size=100)
    return table


CUT = """
import os, signal, sys
from modelyard.cli.fragments import Fragments
from modelyard.cli.main import run

add = Fragments.add

def add_and_end(self, *told):
    add(self, *told)
    if self.parts == 3:
        os.kill(os.getpid(), signal.SIGKILL)

Fragments.add = add_and_end
sys.exit(run())
"""


def test_a_cut_costs_one_part_and_the_same_command_goes_on(
    running: RunningYard, yard: Terminal, tmp_path: Path
) -> None:
    table = many(tmp_path / "rows.parquet", 10_000)
    environment = {**os.environ, "YARD_URL": running.url, "YARD_TOKEN": running.token}
    words = ["predict", MODEL, "rows.parquet", "-o", "out.parquet", "--rows", "100"]
    cut = subprocess.run([sys.executable, "-c", CUT, *words], env=environment, check=False)
    assert cut.returncode == -signal.SIGKILL
    state = tmp_path / "out.parquet.parts/state.json"
    assert len(json.loads(state.read_bytes())["done"]) == 3
    assert not (tmp_path / "out.parquet").exists()
    yard("promote", f"{MODEL}/2")  # it goes on with the version that had begun
    try:
        yard(*words)
        assert re.search(r"[\d,]+00 rows are there already; going on behind them", yard.err)
    finally:
        yard("promote", f"{MODEL}/1")
    found = pl.read_parquet(tmp_path / "out.parquet")
    assert found.columns == ["id", "day", "prediction"]
    assert found.select("id", "day").equals(table.select("id", "day")), "in the file's order, types kept"
    due = 2.0 * table["distance"] + (table["carrier"] == "AA").cast(pl.Float64)
    assert found["prediction"].to_list() == due.to_list()
    assert not list(tmp_path.glob("out.parquet.*"))


def test_parts_of_another_file_are_not_gone_on_with(yard: Terminal, tmp_path: Path) -> None:
    many(tmp_path / "rows.parquet", 200)
    (tmp_path / "out.csv.parts").mkdir()
    (tmp_path / "out.csv.parts/state.json").write_text("{}")
    (tmp_path / "out.csv.parts/00000000").write_text("old")
    yard("predict", MODEL, "rows.parquet", "-o", "out.csv", "--rows", "100")
    lines = (tmp_path / "out.csv").read_text().splitlines()
    assert lines[:3] == ["id,day,prediction", "0,2026-01-01,1.0", "1,2026-01-01,2.0"]
    assert len(lines) == 201


def test_a_damaged_second_row_group_is_named_and_leaves_no_output(yard: Terminal, tmp_path: Path) -> None:
    many(tmp_path / "rows.parquet", 300)
    content = bytearray((tmp_path / "rows.parquet").read_bytes())
    content[len(content) // 3 : len(content) // 2] = bytes(len(content) // 2 - len(content) // 3)
    (tmp_path / "rows.parquet").write_bytes(content)
    yard("predict", MODEL, "rows.parquet", "-o", "out.parquet", "--rows", "100", code=1)
    assert re.search(r"Rows (101 to 200|201 to 300) of the file cannot be read as Parquet", yard.err)
    assert not list(tmp_path.glob("out.parquet*"))


def test_a_wrong_type_in_a_later_part_is_named(yard: Terminal, tmp_path: Path) -> None:
    distances = ["1.5"] * 100 + ["far"] * 100
    table = pl.DataFrame({"distance": distances, "carrier": ["AA"] * 200})
    table.write_parquet(tmp_path / "rows.parquet", row_group_size=100)
    yard("predict", MODEL, "rows.parquet", "-o", "out.parquet", "--rows", "100", code=1)
    assert "distance" in yard.err
    assert not list(tmp_path.glob("out.parquet*"))


def test_recorded_predictions_come_as_parquet(yard: Terminal, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text(ROWS)
    yard("predict", f"{MODEL}/1", "rows.csv")
    yard("predictions", MODEL, "-o", "p.parquet", "--since", "2020-01-01")
    table = pl.read_parquet(tmp_path / "p.parquet")
    assert table["distance"].to_list()[-2:] == [1400.5, 200.0]
    assert table["prediction"].to_list()[-2:] == [2802.0, 400.0]
    yard("predictions", "finance/fuel-cots", "-o", "q.parquet", code=1)
    assert not list(tmp_path.glob("q.parquet*"))


def test_tokens_are_made_listed_used_and_revoked(yard: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    admin = os.environ["YARD_TOKEN"]
    yard("token", "create", "gate", "--role", "caller", code=1)
    assert "--department" in yard.err
    yard("token", "create", "gate", "--role", "auditor", "-d", "finance", code=1)
    owner = yard("token", "create", "own", "--role", "owner", "-d", "finance", "--expires", "8w").strip()
    assert owner.startswith("yard_")
    assert owner not in yard.err
    monkeypatch.setenv("YARD_TOKEN", owner)
    made = yard.json("token", "create", "gate", "--role", "caller", "--principal", "gate-app")
    token = made["token"]
    assert token | {"principal": "gate-app", "department": "finance", "created_by": "own"} == token
    assert token["expires_at"] is not None  # no longer than its maker's
    assert {t["department"] for t in yard.json("token", "list")} == {"finance"}
    monkeypatch.setenv("YARD_TOKEN", made["secret"])
    assert yard.json("whoami")["role"] == "caller"
    yard("promote", f"{MODEL}/2", code=1)
    assert "owner" in yard.err
    yard("token", "list", code=1)
    monkeypatch.setenv("YARD_TOKEN", owner)
    yard("token", "revoke", str(token["id"]))
    assert "revoked" in yard("token", "list")
    monkeypatch.setenv("YARD_TOKEN", made["secret"])
    yard("whoami", code=1)
    assert "unknown, has expired or was revoked" in yard.err
    monkeypatch.setenv("YARD_TOKEN", admin)
    assert "administrator" in yard("token", "list")


def test_the_doctor_finds_the_yard_well(yard: Terminal) -> None:
    findings = {f["what"]: f for f in json.loads(yard("doctor", "--json"))}
    ours = findings[f"yard {os.environ['YARD_URL']}"]
    assert (ours["state"], "1 models, 2 checked versions" in ours["words"]) == ("ok", True)
    assert "yard" in yard("doctor")


def test_publishing_the_same_again_says_which_version_it_is(yard: Terminal, tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code/fuel.py").write_text(CODE.format(factor=5))
    (tmp_path / "rows.csv").write_text("distance,carrier\n1,AA\n")
    told = ["--entry", "fuel:cost", "--example", "rows.csv", "--no-wait"]
    first = yard.json("publish", "code", "finance/other", *told)
    assert first["version"] == 1
    again = yard.json("publish", "code", "finance/other", *told)
    assert again["digest"] == first["digest"]
    assert again["version"] == 1


def test_a_version_that_fails_its_check_says_why(yard: Terminal, tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code/fuel.py").write_text("def cost(rows):\n    raise ValueError('no fuel today')\n")
    (tmp_path / "rows.csv").write_text("distance,carrier\n1,AA\n")
    yard("publish", "code", "finance/broken", "--entry", "fuel:cost", "--example", "rows.csv", code=1)
    assert "no fuel today" in yard.err
    shown = yard.json("show", "finance/broken/1")
    assert shown["state"] == "failed"
    assert "no fuel today" in shown["reason"]
