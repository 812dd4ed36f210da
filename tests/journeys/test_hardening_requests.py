"""HARDENING, requests and departments: tried on a whole running yard, byte by byte and through proxies."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import httpx
import msgspec
import pytest

from modelyard.records.models import Model
from modelyard.web.home import matching
from tests.journeys.models import times
from tests.journeys.proxies import PROGRAMS, before, find_proxy
from tests.journeys.running import PATIENCE, RunningYard, publish

MODEL = "ops/twice"
_QUIET = 1.0  # seconds
ASK = f"/models/{MODEL}/predict"


@pytest.fixture(scope="module", autouse=True)
def model(yard: RunningYard) -> None:
    with yard.client() as client:
        assert publish(client, MODEL, times(2))["state"] == "checked"
        publish(client, MODEL, times(3))


@pytest.fixture(autouse=True)
def as_before(yard: RunningYard) -> Iterator[None]:
    """Whatever was sent, the first version is champion, and it answers."""
    yield
    with yard.client() as client:
        assert client.get(f"/api/v1/models/{MODEL}").json()["champion"] == 1
        assert client.post(ASK, json=[{"x": 2}]).json()["predictions"] == [4.0]


def sent(port: int, data: bytes) -> bytes:
    """All that comes back for these bytes, until the other side hangs up or has nothing more to say."""
    parts = []
    with socket.create_connection(("127.0.0.1", port), _QUIET) as line, suppress(OSError):
        line.sendall(data)
        while part := line.recv(65536):
            parts.append(part)
    return b"".join(parts)


@contextmanager
def door(name: str, yard: RunningYard, folder: Path) -> Iterator[int]:
    """The port of the yard itself, or of a proxy before it."""
    if name == "yard":
        yield yard.port
    elif find_proxy(name) is None:
        pytest.skip(f"{name} is not installed")
    else:
        with before(name, yard.port, folder) as port:
            yield port


@pytest.mark.parametrize("name", ["yard", *PROGRAMS])
def test_31_a_second_request_hidden_in_the_first(name: str, yard: RunningYard, tmp_path: Path) -> None:
    """Two lengths for one body: where a proxy and a server differ, a request slips between them."""
    bearer = f"Authorization: Bearer {yard.token}\r\n"
    body = b'{"version": 2, "why": "slipped in"}'
    hidden = (
        f"PUT /api/v1/models/{MODEL}/aliases/champion HTTP/1.1\r\nHost: 127.0.0.1\r\n{bearer}"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode() + body
    chunked = b"0\r\n\r\n" + hidden
    both = [
        f"Content-Length: {len(chunked)}\r\nTransfer-Encoding: chunked\r\n",
        f"Transfer-Encoding: chunked\r\nContent-Length: {len(chunked)}\r\n",
        f"Content-Length: {len(chunked)}\r\nTransfer-Encoding : chunked\r\n",
        f"Content-Length: {len(chunked)}\r\nTransfer-Encoding: xchunked\r\n",
        f"Content-Length: {len(chunked)}\r\nTransfer-Encoding: chunked, identity\r\n",
        f"Content-Length: {len(chunked)}\r\nContent-Length: 0\r\n",
        f"Content-Length: +{len(chunked)}\r\n",
        f"Content-Length: 0{len(chunked)}\r\nTransfer-Encoding:\x0bchunked\r\n",
    ]
    with door(name, yard, tmp_path) as port:
        start = f"POST {ASK} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: text/csv\r\n{bearer}"
        asked = [f"{start}{lengths}\r\n".encode("latin-1") + chunked for lengths in both]
        with ThreadPoolExecutor(len(asked)) as pool:  # most say nothing more, and are listened to for a while
            for lengths, answer in zip(both, pool.map(partial(sent, port), asked), strict=True):
                assert answer.count(b"HTTP/1.1 200") == 0, (lengths, answer)
        with yard.client() as client:
            plain = client.post(f"http://127.0.0.1:{port}{ASK}", json=[{"x": 2}])
            assert plain.json()["predictions"] == [4.0]


MULTIPART = "multipart/form-data; boundary="


@pytest.mark.parametrize("address", [ASK, f"/api/v1/models/{MODEL}/versions", "/sign-in"])
@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (MULTIPART + "x", b"--x\r\n" + b"A: b\r\n" * 50_000),
        (MULTIPART, b"----\r\n" * 10_000),
        (MULTIPART + "x", b"--x\r\n\r\n" * 50_000),
        (MULTIPART + "-" * 4_000, b"-" * 200_000),
        (MULTIPART + "x", b'--x\r\nContent-Disposition: form-data; name="' + b"a" * 200_000),
    ],
)
def test_29_multipart_is_taken_nowhere(client: httpx.Client, address: str, kind: str, body: bytes) -> None:
    answer = client.post(address, content=body, headers={"Content-Type": kind})
    assert answer.status_code in (400, 403, 413, 415), answer.text


def test_32_a_page_of_a_billion_and_a_column_that_is_hidden(client: httpx.Client) -> None:
    for query in (
        "limit=1000000000",
        "limit=-1",
        "limit=1e9",
        "sort=secret_hash",
        "order_by=token",
        "filter[secret]=a",
    ):
        for address in ("/api/v1/models", "/api/v1/tokens", f"/api/v1/models/{MODEL}/versions"):
            answer = client.get(f"{address}?{query}")
            assert answer.status_code in (200, 400, 404, 405, 422), (address, query)
            assert "secret" not in answer.text.replace("secret_hash", "").replace("filter[secret]", "")
            assert "hash" not in answer.text.replace("secret_hash", "")


def test_33_a_search_is_words_and_not_a_pattern(client: httpx.Client) -> None:
    there = msgspec.json.decode(client.get("/api/v1/models").content, type=list[Model])
    there.append(msgspec.structs.replace(there[0], model="ops/" + "a" * 60, description="a" * 5_000 + "!"))
    for pattern in ("(a+)+$", ".*", "%", "_", "[a-z]+", "\\", "a" * 100_000):
        assert matching(there, pattern) == []
        assert client.get("/", params={"q": pattern[:2_000]}).status_code < 500
    assert [m.model for m in matching(there, "TWICE")] == [MODEL]


def test_45_rows_cannot_choose_another_department(client: httpx.Client) -> None:
    publish(client, "sales/thrice", times(3))
    rows = [
        {"x": 1, "model": "sales/thrice", "department": "sales"},
        {"x": 1, "department": "ops", "version": 2},
        {"x": 1, "alias": "champion", "model_name": "sales.thrice"},
    ]
    answer = client.post(ASK, json=rows).json()
    assert (answer["model"], answer["version"], answer["predictions"]) == (MODEL, 1, [2.0, 2.0, 2.0])


def test_46_the_same_content_in_two_departments_tells_neither_of_the_other(
    yard: RunningYard, client: httpx.Client
) -> None:
    publish(client, "secret-lab/probe", times(7))
    publish(client, "open-lab/other", times(8))
    made = client.post(
        "/api/v1/departments/open-lab/tokens", json={"name": "o", "principal": "olga", "role": "owner"}
    )
    with yard.client(made.json()["secret"]) as olga:
        answer = olga.post(
            "/api/v1/models/open-lab/probe/versions",
            content=times(7),
            headers={"Content-Type": "application/x-tar"},
        )
        assert answer.status_code == 201  # as new as if nobody had it
        assert answer.json()["version"] == 1
        assert "secret-lab" not in answer.text
        assert olga.get("/api/v1/models/secret-lab/probe").status_code == 404


def test_51_html_in_a_bundle_is_never_shown_as_a_page(client: httpx.Client) -> None:
    answer = client.get(f"/api/v1/models/{MODEL}/versions/1/bundle")
    assert answer.headers["content-type"] == "application/x-tar"
    assert answer.headers["content-disposition"].startswith("attachment")
    assert answer.headers["x-content-type-options"] == "nosniff"
    for path in ("mine.py", "example.csv", "yardbundle.toml"):
        assert client.get(f"/api/v1/models/{MODEL}/versions/1/bundle/{path}").status_code == 404


def test_68_a_password_in_an_address_is_not_printed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import sys; from modelyard.cli.main import run; sys.exit(run())"]
    for words in (
        ["up", "--data", str(tmp_path / "a"), "--database", "postgresql://yard:hunter2@127.0.0.1:1/yard"],
        ["up", "--data", str(tmp_path / "b"), "--database", "postgresql://yard:hunter2@[bad/yard"],
        ["up", "--data", str(tmp_path / "c"), "--database", "mysql://yard:hunter2@127.0.0.1/yard"],
    ):
        done = subprocess.run(
            [*command, *words, "--port", "0"], capture_output=True, text=True, timeout=PATIENCE, check=False
        )
        assert done.returncode != 0
        assert done.stderr.strip()
        assert "hunter2" not in done.stdout + done.stderr, words
