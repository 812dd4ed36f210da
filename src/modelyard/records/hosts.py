"""Hosts outside the yard that a model's jobs may reach: declared by the project, approved by an owner."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime

from msgspec import Struct

from modelyard.records.errors import InvalidError
from modelyard.records.references import shown

MOST_HOSTS = 20
_LONGEST = 253  # characters of a name
_LARGEST_PORT = 65_535
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?", re.ASCII)
_PORT = re.compile(r"[1-9][0-9]{0,4}", re.ASCII)


class Asked(Struct, frozen=True):
    """A job that waits, or runs, and the hosts of its project."""

    job: int
    hosts: tuple[str, ...]


class Hosts(Struct, frozen=True):
    """Which hosts the jobs of a model may reach.

    Attributes:
        approved: as `name:port`, sorted; a job goes if its project names exactly these.
        by: the owner who has approved them, `at` when, and `why`; empty where nobody has.
        asked: the model's jobs that go on and name hosts, oldest first.
    """

    model: str
    approved: tuple[str, ...] = ()
    by: str = ""
    at: datetime | None = None
    why: str = ""
    asked: tuple[Asked, ...] = ()


def check_hosts(given: Iterable[str], key: str = "hosts") -> tuple[str, ...]:
    """The hosts as they are kept and compared: `name:port` in small letters, sorted, each once.

    Names alone, no addresses: an owner is to read what is approved, and an address does not say whose
    it is.

    Args:
        key: what the error names.

    Raises:
        InvalidError: one is none, or there are too many.

    >>> check_hosts(["Files.Example.org:443", "cran.example.org:443"])
    ('cran.example.org:443', 'files.example.org:443')
    """
    found = tuple(sorted({text.lower() for text in given}))
    if len(found) > MOST_HOSTS:
        message = f"{key} names {len(found)} hosts."
        raise InvalidError(message, f"It may name at most {MOST_HOSTS}.", key=key)
    for text in found:
        name, _, port = text.rpartition(":")
        if not _is_name(name) or not _PORT.fullmatch(port) or int(port) > _LARGEST_PORT:
            raise InvalidError(
                f"{key} names {shown(text)}.",
                "A host is a name and a port, as files.example.org:443; no address, no '*', no 'https://'.",
                key=key,
            )
    return found


def _is_name(text: str) -> bool:
    labels = text.split(".")
    # A last label that begins with a digit would be read as an address: 127.1, 0x7f.1, 2130706433.
    is_address = labels[-1][:1].isdigit()
    return len(text) <= _LONGEST and not is_address and all(map(_LABEL.fullmatch, labels))
