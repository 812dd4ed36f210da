"""People and services: principals and their tokens."""

from __future__ import annotations

from datetime import timedelta

from modelyard.records.people import NewToken, Role, Token
from modelyard.store.database import Database


def hash_secret(secret: str) -> str:
    """The sha256 of a token's secret in hex: the only form in which it is kept.

    A secret has 256 random bits, so it needs no salt and no slow hash.
    """
    raise NotImplementedError


class People:
    """Principals and tokens. Every method is one transaction."""

    def __init__(self, database: Database) -> None:
        raise NotImplementedError

    def first_administrator(self) -> str | None:
        """Make the administrator and its token where the yard has never had one.

        Returns:
            The secret, to exactly one caller in the yard's life; None to all others.
        """
        raise NotImplementedError

    def create_token(  # noqa: PLR0913 - each is part of the request
        self,
        name: str,
        principal: str,
        role: Role,
        department: str | None,
        expires_in: timedelta | None = None,
        *,
        by: str,
    ) -> NewToken:
        """Make a token; the answer is the only place where its secret is.

        Raises:
            InvalidError: a role of the yard with a department, another role without one, bad words or time.
            NotFoundError: no such department.
        """
        raise NotImplementedError

    def tokens(self, departments: frozenset[str] | None = None) -> list[Token]:
        """Tokens of these departments (None: of all, and of the yard itself), newest first."""
        raise NotImplementedError

    def revoke_token(self, token_id: int, *, by: str) -> Token:
        """End a token now. Nothing happens where it is revoked already.

        Raises:
            NotFoundError: no such token.
            ConflictError: it is the last administrator's.
        """
        raise NotImplementedError
