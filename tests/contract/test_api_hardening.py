"""What went wrong elsewhere, tried on our door: each test is named after its row."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from anyio.from_thread import start_blocking_portal

from modelyard.catalog.people import People
from modelyard.catalog.registry import Registry
from modelyard.records.people import Role
from modelyard.store.blobs import Blobs
from modelyard.store.database import Database
from tests.bundles import TAR, bundle_tar
from tests.contract.api_house import MODEL, House
from tests.contract.conftest import DATABASES
from tests.contract.postgresql import Server

MODELS = "/api/v1/models"
JSON = ((b"content-type", b"application/json"),)
ALIAS = f"{MODELS}/{MODEL}/aliases/stable"


@pytest.fixture
def house(registry: Registry, people: People, tmp_path: Path) -> Iterator[House]:
    with start_blocking_portal() as portal, House(portal, registry, people, tmp_path) as house:
        yield house


@pytest.fixture(scope="module", params=DATABASES)
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """One yard, on each kind of database, for all the tests that must change nothing in it."""
    folder = tmp_path_factory.mktemp("shared")
    url = f"sqlite:///{folder / 'yard.sqlite'}"
    if request.param == "postgresql":
        server: Server = request.getfixturevalue("postgresql")
        url = server.url(server.create(request.getfixturevalue("postgresql_template")))
    database = Database(url)
    database.upgrade()
    registry = Registry(database, Blobs(str(folder / "blobs")), folder / "scratch")
    with start_blocking_portal() as portal, House(portal, registry, People(database), folder) as house:
        yield house
    database.close()


@pytest.fixture
def unchanged(shared: House) -> Iterator[House]:
    """A yard that after the test holds what it held before."""
    before = shared.registry.route_table(), shared.people.tokens(), shared.registry.models()
    yield shared
    assert (shared.registry.route_table(), shared.people.tokens(), shared.registry.models()) == before


STEPS = [
    "..",
    ".",
    "%2e%2e",
    "%2e",
    "%252e%252e",
    "..%2f..%2foperations",
    "%2e%2e%2foperations",
    "..%5coperations",
    "fuel-cost%2f..%2f..%2foperations%2ffuel-cost",
    "fuel-cost%00",
    "fuel-cost%0d%0aX-Evil:%20yes",
    "%e2%80%aefuel-cost",
    "fuel%20cost",
    "fuel-cost;a=b",
    "fuel-cost%3fa",
    "fuel-cost%23a",
    "Fuel-Cost",
    "FUEL-COST",
    "-fuel",
    "7",
    "%d1%84%d1%83%d0%b5%d0%bb",
    "file:etc",
    "http:%2f%2fevil",
    "gs:",
    "a" * 64,
]


@pytest.mark.parametrize("step", STEPS)
def test_1_to_7_a_name_that_is_none_is_404_or_422_everywhere(unchanged: House, step: str) -> None:
    body = [{"type": "http.request", "body": b'{"version": 1}', "more_body": False}]
    for method, address in [
        ("GET", f"{MODELS}/finance/{step}"),
        ("GET", f"{MODELS}/{step}/fuel-cost"),
        ("GET", f"{MODELS}/finance/{step}/versions/1/bundle"),
        ("GET", f"{MODELS}/{MODEL}/versions/{step}x/bundle"),
        ("PUT", f"{MODELS}/{MODEL}/aliases/{step}"),
        ("PUT", f"{MODELS}/finance/{step}/aliases/stable"),
        ("DELETE", f"{MODELS}/{MODEL}/aliases/{step}"),
        ("DELETE", f"/api/v1/tokens/{step}x"),
        ("POST", f"/api/v1/departments/{step}/tokens"),
    ]:
        headers = JSON if method in ("PUT", "POST") else ()
        answer = unchanged.raw(method, address, Role.ADMINISTRATOR, headers, body)
        assert answer.status in (404, 405, 422), (method, address, answer)
        assert "evil" not in " ".join(answer.headers).lower()
        assert b"\0" not in answer.body


@pytest.mark.parametrize(
    "address",
    [
        "//api/v1/models",
        "/api//v1/models",
        "/api/v1/models/",
        "/api/v1/models//finance/fuel-cost",
        "/api/v1/models/./finance/fuel-cost",
        "/api/v1/models/finance/fuel-cost/",
        "//proc/self/root",
        "/..%2f..%2f/etc/passwd",
        "/health/../api/v1/models",
        "/health/live/..",
        "/health/live%2f..%2f..%2fapi/v1/models",
        "/api/v1/models/operations/../finance/fuel-cost",
        "/api/v1/models/finance;/../operations/fuel-cost",
    ],
)
@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT", "POST"])
def test_3_4_an_address_that_could_be_read_in_two_ways_is_nowhere(
    unchanged: House, method: str, address: str
) -> None:
    assert unchanged.raw(method, address, Role.ADMINISTRATOR, JSON).status == 404


@pytest.mark.parametrize("size", [2_500, 200_000])
def test_5_a_name_of_200_kb(unchanged: House, size: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    for who in (None, Role.ADMINISTRATOR):
        answer = unchanged.raw("GET", f"{MODELS}/finance/{'a' * size}", who)
        assert answer.status in (401, 413)
        assert len(answer.body) < 1_000
    assert len(caplog.text) < 2_000


def test_6_case_twins_make_no_second_department(house: House) -> None:
    headers = {"Content-Type": TAR}
    path = f"{MODELS}/Finance/fuel-cost/versions"
    answer = house.ask("POST", path, Role.ADMINISTRATOR, content=bundle_tar(b"new"), headers=headers)
    assert answer.status_code == 422
    assert [m.model for m in house.registry.models()] == ["finance/fuel-cost", "operations/fuel-cost"]


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        b'{"version":' * 50_000,
        b'{"version": 1, "why": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"version": NaN}',
        b'{"version": 1e999}',
        b'{"version": 1.5}',
        b'{"version": -1}',
        b'{"version": 99999999999999999999999999}',
        b'{"version": "1"}',
        b'{"version": true}',
        b'{"version": null}',
        b'{"version": 1',
        b"{}",
        b"",
        b"null",
        b"\xff\xfe",
        b'{"version": 1, "why": "\xed\xa0\x80"}',
        b'{"version": 1, "why": 7}',
        b'{"version": 1, "why": "' + b"x" * 3_000 + b'"}',
    ],
    ids=lambda body: repr(body[:24]),
)
def test_25_26_a_body_that_is_none(unchanged: House, body: bytes) -> None:
    messages = [{"type": "http.request", "body": body, "more_body": False}]
    answer = unchanged.raw("PUT", ALIAS, Role.OWNER, JSON, messages)
    assert answer.status in (400, 422)
    assert answer.json()["detail"]
    assert len(answer.body) < 1_000


def test_a_body_over_the_limit_is_refused_even_if_it_does_not_say_so(unchanged: House) -> None:
    piece = {"type": "http.request", "body": b" " * 500_000, "more_body": True}
    assert unchanged.raw("PUT", ALIAS, Role.OWNER, JSON, [piece] * 10).status == 413
    declared = ((b"content-length", b"99999999"), *JSON)
    assert unchanged.raw("PUT", ALIAS, Role.OWNER, declared).status == 413


@pytest.mark.parametrize("kind", [b"", b"text/plain", b"application/x-www-form-urlencoded", b"text/json"])
def test_a_body_of_another_kind_is_refused_with_words(unchanged: House, kind: bytes) -> None:
    messages = [{"type": "http.request", "body": b'{"version": 1}', "more_body": False}]
    answer = unchanged.raw("PUT", ALIAS, Role.OWNER, ((b"content-type", kind),), messages)
    assert answer.status == 415
    assert answer.json()["hint"] == "Send application/json."


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer ",
        "Basic YWRtaW46YWRtaW4=",
        "Bearer ' OR '1'='1",
        "Bearer x'; DROP TABLE tokens; --",
        "Bearer %",
        "Bearer null",
        "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZG1pbiJ9.",
        "Bearer " + "x" * 100_000,
        "Bearer \u00e9",
    ],
)
def test_35_37_40_a_header_that_is_no_token(unchanged: House, header: str) -> None:
    headers = ((b"authorization", header.encode("latin-1")),)
    answer = unchanged.raw("GET", f"{MODELS}", None, headers)
    assert answer.status == 401
    assert answer.headers["www-authenticate"] == "Bearer"


def test_35_an_altered_token_another_yards_and_an_expired_one_look_alike(house: House) -> None:
    secret = house.secrets[Role.OWNER, "finance"]
    expired = house.token(Role.OWNER, "finance", timedelta(seconds=0.05))
    house.swap()  # may still be in the table: the clock is looked at with each request
    end = time.monotonic() + 180
    while house.ask("GET", f"{MODELS}", expired).status_code != 401:
        assert time.monotonic() < end
    flipped = secret[:-1] + ("A" if secret[-1] != "A" else "B")
    altered = [flipped, secret + "A", secret.upper(), secret[5:], f"{secret} ", f" {secret}"]
    bodies = {
        house.ask("GET", f"{MODELS}", wrong).content for wrong in (*altered, expired, "yard_" + "x" * 43)
    }
    assert len(bodies) == 1
    assert b"unknown, has expired or was revoked" in bodies.pop()


def test_two_tokens_are_none(house: House) -> None:
    token = (b"authorization", f"Bearer {house.secrets[Role.OWNER, 'finance']}".encode())
    assert house.raw("GET", MODELS, None, (token,)).status == 200
    assert house.raw("GET", MODELS, None, (token, token)).status == 401


def test_41_a_token_is_taken_from_the_header_alone_and_never_logged(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    secret = house.secrets[Role.OWNER, "finance"]
    for query in (f"?token={secret}", f"?access_token={secret}", f"?authorization=Bearer%20{secret}"):
        assert house.raw("GET", MODELS + query).status == 401
    assert house.raw("GET", MODELS, headers=((b"cookie", f"token={secret}".encode()),)).status == 401
    answer = house.ask("GET", f"{MODELS}/finance/none", secret)
    assert answer.status_code == 404
    assert secret not in answer.text + str(answer.headers)
    ours = "".join(r.getMessage() for r in caplog.records if r.name.startswith("modelyard"))
    assert "404 not-found" in ours
    assert secret not in ours


def test_43_47_a_body_cannot_say_more_than_it_is_asked(unchanged: House) -> None:
    for more in ("department", "created_by", "by", "owner", "id", "expires", "scopes", "__class__"):
        body = {"name": "x", "principal": "y", "role": "viewer", more: "operations"}
        answer = unchanged.ask("POST", "/api/v1/departments/finance/tokens", Role.OWNER, json=body)
        assert answer.status_code == 422, more
        assert more in answer.json()["detail"]
        answer = unchanged.ask("PUT", ALIAS, Role.OWNER, json={"version": 1, more: "operations/fuel-cost"})
        assert answer.status_code == 422, more


def test_44_a_model_of_the_same_name_elsewhere_is_not_touched(house: House) -> None:
    house.publish("finance/fuel-cost", b"two")
    before = house.registry.model("operations/fuel-cost"), house.registry.history("operations/fuel-cost")
    assert house.ask("PUT", f"{MODELS}/{MODEL}/aliases/champion", Role.OWNER, json={"version": 2}).is_success
    path = f"{MODELS}/operations/fuel-cost/aliases/champion"
    assert house.ask("PUT", path, Role.OWNER, json={"version": 1}).status_code == 404
    after = house.registry.model("operations/fuel-cost"), house.registry.history("operations/fuel-cost")
    assert after == before


@pytest.mark.parametrize("header", [b"x-request-id", b"x-correlation-id", b"traceparent"])
def test_65_a_request_id_is_never_taken_from_outside(house: House, header: bytes) -> None:
    given = b"0000000000000000\r\nX-Evil: yes"
    answer = house.raw("GET", "/health/live", headers=((header, given),))
    assert answer.headers["x-request-id"] != "0000000000000000"
    assert "evil" not in str(answer.headers).lower()


def test_65_a_log_line_stays_one_line(house: House, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    house.raw("GET", f"{MODELS}/finance/a%0aFAKE%20200%1b[2J", Role.OWNER)
    house.ask("PUT", ALIAS, Role.OWNER, json={"version": 1, "a\nFAKE": 1})
    ours = [r.getMessage() for r in caplog.records if r.name.startswith("modelyard")]
    assert len(ours) == 2
    assert not any(c in line for line in ours for c in "\n\r\x1b")


def test_a_fault_of_ours_tells_nothing_but_its_id(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: object) -> None:
        message = "postgresql://yard:secret@db/yard is away"
        raise RuntimeError(message)

    monkeypatch.setattr(house.registry, "model", fail)
    answer = house.ask("GET", f"{MODELS}/{MODEL}", Role.VIEWER)
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert answer.json()["request_id"] == answer.headers["x-request-id"]
    assert answer.headers["x-request-id"] in caplog.text
    assert "RuntimeError" in caplog.text


def test_52_a_foreign_origin_gets_no_leave(house: House) -> None:
    headers = {"Origin": "https://evil.example", "Host": "evil.example"}
    answer = house.ask("GET", MODELS, Role.VIEWER, headers=headers)
    assert not [name for name in answer.headers if name.startswith("access-control")]
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    assert answer.headers["x-frame-options"] == "DENY"
