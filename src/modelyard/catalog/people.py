"""People and services: principals and their tokens."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import msgspec
from sqlalchemy import Connection

from modelyard.catalog import words
from modelyard.records.errors import ConflictError, InvalidError, NotFoundError
from modelyard.records.people import YARD_ROLES, NewToken, Role, Token
from modelyard.records.references import check_name
from modelyard.store import departments, state, tokens
from modelyard.store.database import Database

FIRST = "administrator"  # the principal that the yard begins with
_PREFIX = "yard_"  # lets a person, or a scanner of repositories, know a secret when they see one
_BYTES = 32
_LONGEST = timedelta(days=3_650)
_MAX_ID = 2**31 - 1


def hash_secret(secret: str) -> str:
    """The sha256 of a token's secret in hex: the only form in which it is kept.

    A secret has 256 random bits, so it needs no salt and no slow hash.

    >>> hash_secret("yard_example")[:8]
    '598aeccd'
    """
    return hashlib.sha256(secret.encode(errors="surrogatepass")).hexdigest()


class People:
    """Principals and tokens. Every method is one transaction.

    Args:
        database: upgraded already.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def first_administrator(self, keep: Callable[[str], None] | None = None) -> str | None:
        """Make the administrator and its token where the yard has never had one.

        Args:
            keep: gets the secret before the transaction ends, to write it to a file. If the process dies
                in between, there is a file with a secret that opens nothing, and the next start makes
                another; without it, a yard that nobody can open.

        Returns:
            The secret, to exactly one caller in the yard's life; None to all others.
        """
        with self._database.write() as connection:
            if not tokens.add_principal(connection, FIRST, by=FIRST, at=_now()):
                return None
            made = _add(connection, _draft("first", FIRST, Role.ADMINISTRATOR, by=FIRST))
            if keep is not None:
                keep(made.secret)
            return made.secret

    def create_token(
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
        draft = _draft(name, principal, role, by=by)
        if (department is None) != (role in YARD_ROLES):
            wrong = "must have a department" if department is None else "is held in the whole yard"
            hint = "Give a department to every role but auditor and administrator."
            raise InvalidError(f"The role {role} {wrong}.", hint, field="department")
        expires_at = None if expires_in is None else draft.created_at + _checked_time(expires_in)
        draft = msgspec.structs.replace(draft, department=department, expires_at=expires_at)
        with self._database.write() as connection:
            if department and not departments.exists(connection, check_name(department, "department")):
                raise NotFoundError(f"There is no department {department}.", "Publish into it first.")
            tokens.add_principal(connection, principal, by=by, at=draft.created_at)
            return _add(connection, draft)

    def tokens(self, departments: frozenset[str] | None = None) -> list[Token]:
        """Tokens of these departments (None: of all, and of the yard itself), newest first."""
        with self._database.read() as connection:
            return tokens.of_departments(connection, departments)

    def token(self, token_id: int) -> Token:
        """One token, to see whose it is before it is revoked.

        Raises:
            NotFoundError: no such token.
        """
        with self._database.read() as connection:
            return _found(connection, token_id)

    def revoke_token(self, token_id: int, *, by: str) -> Token:  # noqa: ARG002 - for the audit, in a later issue
        """End a token now. Nothing happens where it is revoked already.

        Raises:
            NotFoundError: no such token.
            ConflictError: it is the last administrator's that is valid.
        """
        with self._database.write() as connection:
            now = _now()
            administrators = tokens.lock_administrators(connection, now)
            token = _found(connection, token_id)
            if token.revoked_at is not None:
                return token
            if administrators == [token_id]:
                raise ConflictError(
                    "This is the last administrator's token; without it nobody could manage the yard.",
                    "Make another first: yard token create --role administrator.",
                )
            tokens.revoke(connection, token_id, now)
            state.bump_generation(connection)
            return _found(connection, token_id)


def _now() -> datetime:
    return datetime.now(UTC)


def _draft(name: str, principal: str, role: Role, *, by: str) -> Token:
    return Token(
        id=0,
        name=words.label(name, "token name"),
        principal=words.label(principal, "principal"),
        role=role,
        department=None,
        created_at=_now(),
        created_by=by,
    )


def _add(connection: Connection, draft: Token) -> NewToken:
    secret = _PREFIX + secrets.token_urlsafe(_BYTES)
    token_id = tokens.add(connection, draft, hash_secret(secret))
    state.bump_generation(connection)
    return NewToken(secret, msgspec.structs.replace(draft, id=token_id))


def _checked_time(expires_in: timedelta) -> timedelta:
    if timedelta() < expires_in <= _LONGEST:
        return expires_in
    hint = f"Give a time of at most {_LONGEST.days} days, or none for a token that does not expire."
    raise InvalidError("A token cannot expire at that time.", hint, field="expires_in")


def _found(connection: Connection, token_id: int) -> Token:
    token = tokens.get(connection, token_id) if 0 < token_id <= _MAX_ID else None
    if token is None:
        raise NotFoundError(f"There is no token {token_id}.", "See what there is: yard token list.")
    return token
