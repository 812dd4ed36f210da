"""Log lines: words for a person, or a JSON object a line for programs; no secret in either."""

from __future__ import annotations

import logging
import re
import sys
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

REQUEST: ContextVar[str] = ContextVar("request", default="")  # the id of the request that is being answered
Form = Literal["text", "json"]

# The last line of defence: nothing of ours writes a secret, but an error of a library may repeat one.
_SECRETS = (
    (re.compile(r"\b(yard_|session_|browser_|link_)[A-Za-z0-9_-]{8,}"), r"\1…"),
    (re.compile(r"(://[^/\s:@]+:)[^/\s@]+@"), r"\1…@"),
    (re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}"), r"\1 …"),
    (
        re.compile(r"(?i)\b(password|passphrase|secret\w*)(['\"]?\s*[=:]\s*['\"]?)[^\s'\",&]+"),
        r"\1\2…",
    ),
)


def without_secrets(text: str) -> str:
    """The text with tokens, passwords in addresses and the like left out.

    >>> without_secrets("postgresql://anna:geheim@db/yard refused Bearer abcdefghijkl")
    'postgresql://anna:…@db/yard refused Bearer …'
    """
    for pattern, instead in _SECRETS:
        text = pattern.sub(instead, text)
    return text


class TextFormatter(logging.Formatter):
    """Time, level, who, and words, for a person."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s[%(process)d] %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """One entry; a traceback follows in further lines."""
        return without_secrets(super().format(record))


class JsonFormatter(logging.Formatter):
    """One JSON object a line, with stable keys: at, level, logger, process, pid, words, and where there are
    any request_id and error (a traceback).

    Args:
        process: which process of the node this is, as `engine` or `front-0`.
    """

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        line: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "process": self._process,
            "pid": record.process,
            "words": without_secrets(record.getMessage()),
        }
        if request := getattr(record, "request_id", "") or REQUEST.get():
            line["request_id"] = request
        if record.exc_info:
            line["error"] = without_secrets(self.formatException(record.exc_info))
        return msgspec.json.encode(line).decode()


def set_up(level: str, form: Form, process: str) -> None:
    """Log lines to standard error, once a process."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(process) if form == "json" else TextFormatter())
    logging.basicConfig(handlers=[handler], level=level, force=True)
