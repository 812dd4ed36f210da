"""The database: transactions, and the few differences between SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection


class Database:
    """SQLite or PostgreSQL, by address.

    Args:
        url: `sqlite:///path` or `postgresql://user@host/name`.

    Raises:
        InvalidError: the address is neither.

    No connection is made before it is needed, and none made before a fork is used after it.
    """

    def __init__(self, url: str) -> None:
        raise NotImplementedError

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One snapshot to read from; writing in it fails.

        Raises:
            UnavailableError: the database does not answer.
        """
        raise NotImplementedError

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One transaction: committed at the end, rolled back by an exception.

        Raises:
            UnavailableError: the database does not answer, is locked for too long, or its disk is full.
        """
        raise NotImplementedError

    def upgrade(self) -> None:
        """Bring the schema to this release's; safe from several processes at once.

        Raises:
            ConflictError: the database was written by a newer release.
            UnavailableError: the database does not answer.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Let go of all connections; the next use makes new ones."""
        raise NotImplementedError
