"""Words that come from outside and go into the database, made fit for it and for a terminal."""

from __future__ import annotations

import re

from modelyard.records.errors import InvalidError

MAX_WORDS = 2_000  # characters of a reason
MAX_NAME = 200  # characters of a person's or a token's name
MAX_LOG = 65_536  # characters kept of a worker's log: its end
MAX_COMMIT = 200
_SECRETS = (
    re.compile(r"()yard_[A-Za-z0-9_-]{20,}"),
    re.compile(r"(\bbearer\s+)[A-Za-z0-9._~+/=-]{8,}", re.IGNORECASE),
    re.compile(r"(\b[a-z][a-z0-9+.-]{1,30}://[^\s:/@]{0,200}:)[^\s/@]{1,500}(?=@)", re.IGNORECASE),
    re.compile(r"()\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"),
    re.compile(r"()-----BEGIN [A-Z ]*PRIVATE KEY-----[A-Za-z0-9+/=\s]*"),
)


def reason(text: str) -> str:
    r"""A person's reason on one line.

    Raises:
        InvalidError: too long, or with characters that cannot be seen.

    >>> reason("better on\n the holdout ")
    'better on the holdout'
    """
    line = " ".join(text.split())
    if len(line) > MAX_WORDS or not line.isprintable():
        message = f"The reason (why) is over {MAX_WORDS} characters, or has some that cannot be seen."
        raise InvalidError(message, "Write it in plain words.", field="why")
    return line


def label(text: str, what: str) -> str:
    """The name of a person, a service or a token: any letters, none of them unseen.

    Raises:
        InvalidError: empty, too long, or with characters that cannot be seen.
    """
    if not text.strip() or len(text) > MAX_NAME or not text.isprintable() or text != text.strip():
        message = (
            f"The {what} is empty, over {MAX_NAME} characters, or has spaces around it or unseen characters."
        )
        raise InvalidError(message, "Write it in plain words.", field=what)
    return text


def output(text: str, limit: int = MAX_LOG) -> str:
    """The end of what a program said, without what a database cannot hold (NUL, halves of characters)."""
    whole = text[-limit:].replace("\0", "\N{REPLACEMENT CHARACTER}")
    return whole.encode(errors="replace").decode()


def commit(text: str) -> str:
    """What is said of the commit that files are of, on one line.

    Raises:
        InvalidError: too long, or with characters that cannot be seen.
    """
    line = " ".join(text.split())
    if len(line) > MAX_COMMIT or not line.isprintable():
        message = f"The commit is over {MAX_COMMIT} characters, or has some that cannot be seen."
        raise InvalidError(message, "Send it as `git 4f1c2e`.", field="code")
    return line


def masked(text: str) -> str:
    """The text without what has the form of a secret: tokens, keys, a password in an address.

    A second wall: the yard gives jobs no secret in the first place.

    >>> masked("GET postgresql://ann:tiger@db/x, Authorization: Bearer abcdefgh12")
    'GET postgresql://ann:***@db/x, Authorization: Bearer ***'
    """
    for secret in _SECRETS:
        text = secret.sub(r"\g<1>***", text)
    return text
