"""Words that come from outside and go into the database, made fit for it and for a terminal."""

from __future__ import annotations

from modelyard.records.errors import InvalidError

MAX_WORDS = 2_000  # characters of a reason
MAX_NAME = 200  # characters of a person's or a token's name
MAX_LOG = 65_536  # characters kept of a worker's log: its end


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
