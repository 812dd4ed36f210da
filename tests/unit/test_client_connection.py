"""Where an SDK finds the yard, what it tries again, and how the yard's problems come out as errors."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.contract.small_yard import Answer, SmallYard, small_yard

from modelyard.api.errors import problem as answer_of_the_yard
from modelyard.client import connection
from modelyard.client.connection import Address, Connection, find_address, login_file, problem, remember
from modelyard.records import errors
from modelyard.records.errors import (
    BusyError,
    InvalidError,
    MalformedError,
    UnauthenticatedError,
    UnavailableError,
    WorkerStartError,
    YardError,
)

CLASSES = [kind for kind in vars(errors).values() if isinstance(kind, type)]
KINDS = [kind for kind in CLASSES if issubclass(kind, YardError) and kind is not YardError]


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No login of the person who runs the tests."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.delenv("YARD_URL", raising=False)
    monkeypatch.delenv("YARD_TOKEN", raising=False)
    monkeypatch.setattr(connection, "_PAUSE", 0.0)


@pytest.fixture
def yard() -> Iterator[SmallYard]:
    with small_yard() as started:
        yield started


@pytest.fixture
def talk(yard: SmallYard) -> Iterator[Connection]:
    made = Connection(Address(yard.url, "secret"))
    yield made
    made.close()


def test_no_yard_is_known() -> None:
    with pytest.raises(InvalidError, match="No yard is known here") as caught:
        find_address()
    assert "yard login" in caught.value.hint


def test_what_is_given_goes_before_the_environment_and_that_before_the_login(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    remember(Address("http://remembered:1", "r"))
    assert find_address() == Address("http://remembered:1", "r")
    monkeypatch.setenv("YARD_URL", "http://environment:2/")
    monkeypatch.setenv("YARD_TOKEN", "e")
    assert find_address() == Address("http://environment:2", "e")
    assert find_address("https://given:3", "g") == Address("https://given:3", "g")


def test_a_remembered_token_goes_to_no_other_address(monkeypatch: pytest.MonkeyPatch) -> None:
    remember(Address("http://remembered:1", "r"))
    monkeypatch.setenv("YARD_URL", "http://elsewhere:2")
    with pytest.raises(UnauthenticatedError, match="No token is known for http://elsewhere:2") as caught:
        find_address()
    assert "r" not in str(caught.value.fields)


def test_an_address_that_is_none() -> None:
    for url in ("localhost:8080", "ftp://x", "file:///etc/passwd"):
        with pytest.raises(InvalidError, match="is not the address of a yard"):
            find_address(url, "t")


def test_the_login_file_is_its_owners_alone() -> None:
    before = os.umask(0)
    try:
        path = remember(Address("http://x:1", "t"))
        remember(Address("http://x:1", "t2"))
    finally:
        os.umask(before)
    assert path == login_file()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text() == "url = http://x:1\ntoken = t2\n"
    assert [p.name for p in path.parent.iterdir()] == ["login"]


def test_a_damaged_login_file_is_as_none() -> None:
    login_file().parent.mkdir()
    login_file().write_text("what\nurl\n")
    with pytest.raises(InvalidError, match="No yard is known"):
        find_address()


def test_a_request_has_the_token_and_its_parameters(yard: SmallYard, talk: Connection) -> None:
    yard.answers = [Answer([1, 2])]
    assert talk.get("/api/v1/x", list[int], wait=30) == [1, 2]
    assert talk.send("PUT", "/api/v1/y", list[int], {"a": 1.5}) == [1, 2]
    get, put = yard.asked
    assert (get.method, get.path, get.query) == ("GET", "/api/v1/x", {"wait": "30"})
    assert get.headers["authorization"] == "Bearer secret"
    assert (put.method, put.body) == ("PUT", b'{"a":1.5}')
    assert put.headers["content-type"] == "application/json"


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_each_error_of_the_yard_comes_out_as_what_it_was(kind: type[YardError]) -> None:
    error = kind("What happened.", "What to do.", column="age")
    said = answer_of_the_yard(error)
    found = problem(said.status, said.body, {name.lower(): value for name, value in said.headers.items()})
    assert type(found) is kind
    assert (found.message, found.hint, found.fields) == ("What happened.", "What to do.", {"column": "age"})


def test_a_busy_yard_says_when_to_come_again() -> None:
    said = answer_of_the_yard(BusyError("Full.", retry_after=7.0))
    found = problem(said.status, said.body, {"retry-after": said.headers["Retry-After"]})
    assert isinstance(found, BusyError)
    assert found.retry_after == 7.0
    assert problem(503, b"", {"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}).retry_after == 1.0  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("status", "body", "kind", "words"),
    [
        (404, b"<html>nginx</html>", errors.NotFoundError, "answered with status 404"),
        (418, b"{}", YardError, "answered with status 418"),
        (500, b'{"title": "The yard failed"}', YardError, "The yard failed"),
        (503, b"[]", UnavailableError, "status 503"),
        (422, b'{"type": "urn:other:thing", "detail": "Wrong."}', InvalidError, "Wrong."),
        (400, b'{"type": 7, "detail": null, "fields": 1, "message": "x"}', MalformedError, "status 400"),
    ],
)
def test_problems_of_other_makes(status: int, body: bytes, kind: type[YardError], words: str) -> None:
    found = problem(status, body, {})
    assert type(found) is kind
    assert words in found.message


def test_a_log_comes_with_the_error() -> None:
    body = msgspec.json.encode(
        {"type": "urn:problem-type:modelyard:worker-start", "detail": "x", "log": "Traceback"}
    )
    found = problem(503, body, {})
    assert isinstance(found, WorkerStartError)
    assert found.log == "Traceback"


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    made = Connection(Address(url, "t"))
    with pytest.raises(UnavailableError, match=f"No yard answers at {url}") as caught:
        made.get("/api/v1/models", list[Any])
    assert "yard up" in caught.value.hint
    made.close()


def test_a_get_is_asked_again_and_a_post_is_not(yard: SmallYard, talk: Connection) -> None:
    yard.answers = [Answer(None, 0), Answer(None, 0), Answer([])]
    assert talk.get("/api/v1/models", list[int]) == []
    assert len(yard.asked) == 3
    yard.answers = [Answer(None, 0), Answer([])]
    with pytest.raises(UnavailableError, match="ended the connection"):
        talk.send("POST", "/models/a/b/predict", list[int], [])
    assert len(yard.asked) == 4
    yard.answers = [Answer(None, 0)]
    with pytest.raises(UnavailableError):
        talk.get("/api/v1/models", list[int])
    assert len(yard.asked) == 7


@pytest.mark.parametrize("body", [b"<html>", b"{}", b"\xff"])
def test_what_does_not_speak_as_a_yard(body: bytes, yard: SmallYard, talk: Connection) -> None:
    yard.answers = [Answer(body)]
    with pytest.raises(
        MalformedError, match=r"http://127.0.0.1:\d+/api/v1/models does not speak as a yard does"
    ):
        talk.get("/api/v1/models", list[int])


def test_a_redirect_does_not_carry_the_token_away(yard: SmallYard, talk: Connection) -> None:
    yard.answers = [Answer({}, 307, (("Location", f"{yard.url}/elsewhere"),))]
    with pytest.raises(YardError, match="status 307"):
        talk.get("/api/v1/models", list[int])
    assert len(yard.asked) == 1
