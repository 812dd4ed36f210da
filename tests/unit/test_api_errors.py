"""Errors to statuses: every error of ours has one, and nothing of an unexpected one is told."""

from __future__ import annotations

import json
import logging

import pytest
from litestar.exceptions import HTTPException

from modelyard.api.errors import explain, known, problem
from modelyard.client.connection import problem as read_problem
from modelyard.records import errors
from modelyard.records.errors import BusyError, InvalidError, NotFoundError, UnauthenticatedError, YardError

ALL = [k for k in vars(errors).values() if isinstance(k, type) and issubclass(k, YardError)]
STATUSES = {
    "invalid": 422,
    "malformed": 400,
    "too-large": 413,
    "unsupported": 415,
    "limited": 429,
    "over-limit": 429,
    "untrusted": 503,
    "unauthenticated": 401,
    "forbidden": 403,
    "not-found": 404,
    "conflict": 409,
    "busy": 503,
    "unavailable": 503,
    "deadline": 504,
    "model-failed": 500,
    "worker-lost": 502,
    "worker-start": 503,
    "environment": 503,
    "release": 503,
    "error": 500,
}


def test_every_error_has_its_status() -> None:
    assert {kind.code: problem(kind("words")).status for kind in ALL} == STATUSES


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.code)
def test_the_client_reads_back_the_error_that_was_meant(kind: type[YardError]) -> None:
    made = problem(kind("What happened.", "What to do.", column="age", row=3))
    read = read_problem(made.status, made.body, {k.lower(): v for k, v in made.headers.items()})
    assert (type(read), read.message, read.hint) == (kind, "What happened.", "What to do.")
    assert read.fields | {"column": "age", "row": 3} == read.fields


def test_fields_cannot_take_the_place_of_what_a_problem_is_made_of() -> None:
    body = json.loads(problem(InvalidError("words", status=200, detail="x", type="y", path=object)).body)
    assert (body["status"], body["detail"]) == (422, "words")
    assert body["type"] == "urn:problem-type:modelyard:invalid"
    assert isinstance(body["path"], str)


def test_headers_that_go_with_an_error() -> None:
    assert problem(UnauthenticatedError("x")).headers == {"WWW-Authenticate": "Bearer"}
    assert problem(BusyError("x", retry_after=0.2)).headers == {"Retry-After": "1"}
    assert problem(BusyError("x", retry_after=7)).headers == {"Retry-After": "7"}
    assert problem(NotFoundError("x")).headers == {}


def test_only_faults_of_the_yard_repeat_the_request_id() -> None:
    assert "request_id" not in json.loads(problem(NotFoundError("x"), "abc").body)
    assert json.loads(problem(YardError("x"), "abc").body)["request_id"] == "abc"


@pytest.mark.parametrize("status", [404, 405, 413, 400, 418, 500])
def test_what_the_framework_refuses_is_a_problem_as_well(status: int) -> None:
    due = {404: 404, 405: 405, 413: 413, 500: 500}.get(status, 400)
    assert problem(known(HTTPException("secret" if status == 500 else "x", status_code=status))).status == due
    assert "secret" not in known(HTTPException("secret", status_code=500)).message


def test_an_unexpected_error_is_logged_with_its_id_and_told_without_its_words(
    caplog: pytest.LogCaptureFixture,
) -> None:
    answer = explain(ValueError("password=x"), method="GET", path="/a\n\x1b[2J", request_id="abc", who="anna")
    assert (answer.status, b"password" in answer.body) == (500, False)
    (record,) = caplog.records
    assert record.exc_info
    assert record.getMessage().startswith("abc GET '/a\\n\\x1b[2J': 500 error")
    assert record.getMessage().endswith("by anna")


def test_refusals_are_logged_at_info_and_faults_above(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    for error in (NotFoundError("x"), BusyError("y")):
        explain(error, method="GET", path="/", request_id="abc")
    assert [r.levelno for r in caplog.records] == [logging.INFO, logging.WARNING]
