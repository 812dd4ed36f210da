"""Log lines: stable keys, the request's id, a traceback in one line, and no secret in any form."""

from __future__ import annotations

import json
import logging
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.catalog.people import new_secret
from modelyard.logs import REQUEST, JsonFormatter, TextFormatter, without_secrets


def record(words: str, *values: object, **extra: object) -> logging.LogRecord:
    made = logging.LogRecord("modelyard.x", logging.WARNING, "x.py", 1, words, values, None)
    made.__dict__.update(extra)
    return made


def test_a_line_is_an_object_with_stable_keys() -> None:
    line = json.loads(JsonFormatter("front-0").format(record("%s is late", "it", request_id="a1")))
    assert list(line) == ["at", "level", "logger", "process", "pid", "words", "request_id"]
    assert (line["words"], line["request_id"], line["process"]) == ("it is late", "a1", "front-0")
    assert line["at"].endswith("+00:00")


def test_what_is_logged_on_the_way_has_the_requests_id() -> None:
    token = REQUEST.set("b2")
    try:
        assert json.loads(JsonFormatter("engine").format(record("x")))["request_id"] == "b2"
    finally:
        REQUEST.reset(token)
    assert "request_id" not in json.loads(JsonFormatter("engine").format(record("x")))


def test_a_traceback_stays_in_its_line() -> None:
    try:
        raise ValueError("a\nb password=geheim1234")  # noqa: TRY301
    except ValueError:
        made = record("it failed")
        made.exc_info = sys.exc_info()
    text = JsonFormatter("engine").format(made)
    assert "\n" not in text
    assert "ValueError" in json.loads(text)["error"]
    assert "geheim" not in text


@pytest.mark.parametrize("prefix", ["yard_", "session_", "browser_", "link_"])
@pytest.mark.parametrize("formatter", [JsonFormatter("engine"), TextFormatter()])
def test_hardening_68_no_secret_is_in_a_log(prefix: str, formatter: logging.Formatter) -> None:
    secret = new_secret(prefix)
    for words in (
        f"GET /join?code={secret} failed",
        f"Authorization: Bearer {secret}",
        f"postgresql://anna:{secret}@db:5432/yard refused",
        f"{{'secret': '{secret}'}}",
    ):
        shown = formatter.format(record("%s", words))
        assert secret.removeprefix(prefix) not in shown, shown


@given(st.text())
def test_any_text_can_be_logged(text: str) -> None:
    line = JsonFormatter("engine").format(record("%s", text.encode("utf-8", "ignore").decode()))
    assert "\n" not in line
    assert json.loads(line)["level"] == "WARNING"


def test_ordinary_words_stay() -> None:
    words = "front-0 ended (-9); starting another; see http://127.0.0.1:8080/health/ready"
    assert without_secrets(words) == words
