"""Settings: from arguments, variables and defaults, and the paths that follow from them."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import msgspec
import pytest
from tests.conftest import ROOT

from modelyard.records.errors import InvalidError
from modelyard.settings import Settings, shown_settings


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the tester's own settings."""
    for name in [n for n in os.environ if n.startswith("YARD_")]:
        monkeypatch.delenv(name)


def test_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made = Settings.from_environment()
    assert made.data == tmp_path / "yard-data"
    assert made.database_url == f"sqlite:///{tmp_path}/yard-data/yard.sqlite"
    assert made.blobs_url == f"{tmp_path}/yard-data/blobs"
    assert made.fronts == max(1, len(os.sched_getaffinity(0)) // 2)
    assert made.host == "127.0.0.1", "not reachable from outside unless asked for"


def test_they_are_shown_without_passwords(tmp_path: Path) -> None:
    smtp, database = "smtp://yard:hunter2@mail:587?from=a@b.org", "postgresql://yard:hunter2@db:5432/yard"
    made = Settings(data=tmp_path, database=database, smtp=smtp, traces="http://collector:4318", fronts=7)
    shown = {s.variable: s for s in shown_settings(made)}
    assert "hunter2" not in str(shown)
    assert shown["YARD_DATABASE"].value == "postgresql://…@db:5432/yard"
    assert shown["YARD_SMTP"].value == "smtp://…@mail:587?…"
    assert shown["YARD_TRACES"].value == "http://collector:4318"
    assert (shown["YARD_FRONTS"].value, shown["YARD_FRONTS"].is_set) == ("7", True)
    assert (shown["YARD_MAX_ROWS"].value, shown["YARD_MAX_ROWS"].is_set) == ("200000", False)
    assert shown["YARD_DATA_DIR"].is_set


def test_every_setting_is_in_the_operators_table() -> None:
    table = (ROOT / "docs/operator.md").read_text()
    names = {f.name: f"YARD_{f.name.upper()}" for f in msgspec.structs.fields(Settings)}
    names |= {"data": "YARD_DATA_DIR", "programs": "YARD_PROGRAM_R"}
    assert [variable for variable in names.values() if f"`{variable}`" not in table] == []


TEXTS = {
    "spool_sync": "true",
    "database": "sqlite:///x",
    "address": "https://yard.example.com",
    "proxies": "10.0.0.1",
    "blobs": "b",
    "host": "::1",
    "engine": "local",
    "portable": "true",
    "apart": "true",
    "allow_uncontained": "true",
    "seal_blobs": "true",
    "log_level": "DEBUG",
    "log_format": "json",
    "traces_share": "0.5",
}


@pytest.mark.parametrize("name", [f.name for f in msgspec.structs.fields(Settings)])
def test_every_setting_has_its_variable(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if name == "programs":
        monkeypatch.setenv("YARD_PROGRAM_JULIA", "/opt/julia")
        monkeypatch.setenv("YARD_PROGRAM_R", "")
        assert Settings.from_environment().programs == {"julia": "/opt/julia"}, "an empty one is not set"
    elif name == "data":
        monkeypatch.setenv("YARD_DATA_DIR", "/srv/yard")
        assert Settings.from_environment().data == Path("/srv/yard")
    else:
        text = TEXTS.get(name, "17")
        monkeypatch.setenv(f"YARD_{name.upper()}", text)
        kind = type(getattr(Settings(data=Path()), name))
        assert getattr(Settings.from_environment(), name) == (True if kind is bool else kind(text))


def test_what_is_given_goes_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YARD_PORT", "1")
    monkeypatch.setenv("YARD_HOST", "0.0.0.0")  # noqa: S104  # the word, not a socket
    made = Settings.from_environment(port=2, host=None)
    assert (made.port, made.host) == (2, "0.0.0.0")  # noqa: S104


def test_the_data_folder_is_taken_as_a_whole_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert Settings.from_environment(data="here").data == tmp_path / "here"


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("YARD_PORT", "eighty"),
        ("YARD_FRONTS", "1.5"),
        ("YARD_SPOOL_SYNC", "perhaps"),
        ("YARD_LOG_LEVEL", "LOUD"),
        ("YARD_IDLE_AFTER", ""),
    ],
)
def test_a_value_that_is_not_of_its_type_names_the_variable(
    variable: str, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, text)
    with pytest.raises(InvalidError) as caught:
        Settings.from_environment()
    assert variable in caught.value.message
    assert repr(text) in caught.value.message
    assert variable in caught.value.hint


@pytest.mark.parametrize(
    "wrong",
    [
        {"engine": "slurm"},
        {"fronts": 0},
        {"port": -1},
        {"port": 65536},
        {"replicas": 0},
        {"load_timeout": 0.0},
        {"answer_timeout": -1.0},
        {"worker_memory": 0},
        {"max_rows": 0},
        {"batch_rows": 0},
    ],
)
def test_a_value_that_cannot_work_is_refused_at_once(wrong: dict[str, object]) -> None:
    with pytest.raises(InvalidError) as caught:
        Settings.from_environment(**wrong)
    assert caught.value.hint


def test_the_sockets_fit_however_deep_the_data_folder_is(tmp_path: Path) -> None:
    for depth in (0, 1, 5, 20):
        made = Settings(data=tmp_path / "/".join(["a-long-name"] * depth))
        made.run.mkdir(parents=True, exist_ok=True)
        longest = made.run / "workers" / f"{'f' * 16}.sock"
        longest.parent.mkdir(exist_ok=True)
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(str(longest))
        longest.unlink()
        longest.parent.rmdir()
        if depth == 20:
            assert made.run != Settings(data=made.data / "other").run, "each folder has its own"
            made.run.rmdir()


def test_where_a_node_keeps_what(tmp_path: Path) -> None:
    made = Settings(data=tmp_path, database="postgresql://db/yard", blobs="s3://bucket/yard")
    assert made.database_url == "postgresql://db/yard"
    assert made.blobs_url == "s3://bucket/yard"
    assert made.engine_socket.parent == made.run
    assert made.routes_file.parent == tmp_path, "it outlives a clean-up of the run folder"


@pytest.mark.parametrize("address", ["yard.example.com", "ftp://yard", "https://", "https://yard/below"])
def test_an_address_that_is_none_is_refused(tmp_path: Path, address: str) -> None:
    with pytest.raises(InvalidError, match="YARD_ADDRESS"):
        Settings(data=tmp_path, address=address)


def test_the_address_is_a_name_that_the_yard_answers_to(tmp_path: Path) -> None:
    assert "yard.example.com" in Settings(data=tmp_path, address="https://yard.example.com").names


def test_proxies_are_networks(tmp_path: Path) -> None:
    made = Settings(data=tmp_path, proxies="10.0.0.5, 10.1.0.0/16")
    assert [str(n) for n in made.proxy_networks] == ["10.0.0.5/32", "10.1.0.0/16"]
    with pytest.raises(InvalidError, match="YARD_PROXIES"):
        Settings(data=tmp_path, proxies="everybody")


def test_the_file_of_the_companys_accounts(tmp_path: Path) -> None:
    assert Settings(data=tmp_path).oidc_file is None
    (tmp_path / "oidc.toml").touch()
    assert Settings(data=tmp_path).oidc_file == tmp_path / "oidc.toml"
    assert Settings(data=tmp_path, oidc="/etc/oidc.toml").oidc_file == Path("/etc/oidc.toml")
