"""People and services: principals, the roles they hold, and their tokens."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

import msgspec
from sqlalchemy import Connection

from modelyard.catalog import clock, words
from modelyard.records.audit import YARD
from modelyard.records.errors import ConflictError, ForbiddenError, InvalidError, NotFoundError
from modelyard.records.people import (
    CALLERS_GRACE,
    LONGEST_GRACE,
    OTHERS_GRACE,
    YARD_ROLES,
    Held,
    NewToken,
    Principal,
    PrincipalKind,
    Role,
    Token,
    check_not_the_yard,
    check_person,
)
from modelyard.records.references import check_name, shown
from modelyard.records.spans import span
from modelyard.store import audit, departments, principals, sessions, state, tokens
from modelyard.store.database import Database

FIRST = "administrator"  # the principal that the yard begins with
_PREFIX = "yard_"  # lets a person, or a scanner of repositories, know a secret when they see one
_BYTES = 32
LONGEST = timedelta(days=3_650)
_MAX_ID = 2**31 - 1


def hash_secret(secret: str) -> str:
    """The sha256 of a token's secret in hex: the only form in which it is kept.

    A secret has 256 random bits, so it needs no salt and no slow hash.

    >>> hash_secret("yard_example")[:8]
    '598aeccd'
    """
    return hashlib.sha256(secret.encode(errors="surrogatepass")).hexdigest()


def new_secret(prefix: str = _PREFIX) -> str:
    """A secret that nobody can guess."""
    return prefix + secrets.token_urlsafe(_BYTES)


class People:
    """Principals, roles and tokens. Every method is one transaction.

    Args:
        database: upgraded already.

    Changes raise ConflictError where nobody could come in as an administrator any more, and NotFoundError
    where somebody or something they name is not there.
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
        with self._database.read() as connection:
            if principals.get(connection, FIRST):
                return None
        with self._database.write() as connection:
            at = clock.now()
            if not principals.add(connection, FIRST, PrincipalKind.PERSON, by=FIRST, at=at):
                return None
            principals.give(connection, FIRST, None, Role.ADMINISTRATOR, by=FIRST, at=at)
            made = _add(connection, _draft("first", FIRST, Role.ADMINISTRATOR, by=FIRST))
            if keep is not None:
                keep(made.secret)
            state.bump_generation(connection)
            return made.secret

    # Principals and their roles

    def principals(self) -> list[Principal]:
        """All persons and services, by name, with the roles they hold."""
        with self._database.read() as connection:
            return principals.listed(connection)

    def principal(self, name: str) -> Principal:
        """One of them."""
        with self._database.read() as connection:
            return known(connection, name)

    def members(self, department: str) -> list[Principal]:
        """Who holds a role in a department; of their other roles nothing is told."""
        with self._database.read() as connection:
            found = principals.listed(connection)
        return [p.seen_in(department) for p in found if department in p.departments]

    def add_person(self, name: str, *, by: str) -> Principal:
        """Make a person, who can do nothing and come in by nothing yet.

        Raises:
            InvalidError: the name is not one for a person.
            ConflictError: it is taken.
        """
        check_person(name)
        with self._changing() as connection:
            if not principals.add(connection, name, PrincipalKind.PERSON, by=by, at=clock.now()):
                raise ConflictError(f"The name {name} is taken.", "See who is there: yard users list.")
            made = known(connection, name)
            tell(connection, "user.create", name, by=by, after={"kind": made.kind})
            return made

    def add_department(self, name: str, *, by: str) -> None:
        """Make a department; nothing happens where it is there."""
        check_name(name, "department")
        with self._changing() as connection:
            departments.add(connection, name, by=by, at=clock.now())

    def trust_department(self, name: str, *, trusted: bool, by: str) -> None:
        """Say whether a department may bring code of its own; without, only models that are data alone run.

        Raises:
            NotFoundError: no such department.
        """
        with self._changing() as connection:
            need_department(connection, name)
            departments.set_trusted(connection, name, trusted=trusted, by=by)

    def untrusted(self) -> list[str]:
        """The departments that may bring no code, by name."""
        with self._database.read() as connection:
            return sorted(departments.untrusted(connection))

    def set_grace(self, name: str, seconds: float | None, *, by: str) -> None:
        """Say how long a department's predictions go on while the database is away; None: as usual.

        Raises:
            NotFoundError: no such department.
            InvalidError: less than a minute or more than a week.
        """
        if seconds is not None and not OTHERS_GRACE <= seconds <= LONGEST_GRACE:
            raise InvalidError(
                f"{span(seconds)} is no time to go on without the database.",
                f"Say between {span(OTHERS_GRACE)} and {span(LONGEST_GRACE)}.",
                field="seconds",
            )
        with self._changing() as connection:
            need_department(connection, name)
            departments.set_grace(connection, name, seconds, by=by)

    def graces(self) -> dict[str, float]:
        """Each department's, in seconds, by name."""
        with self._database.read() as connection:
            own = departments.graces(connection)
            return {name: own.get(name, CALLERS_GRACE) for name in departments.names(connection)}

    def departments(self) -> list[str]:
        """All departments, by name."""
        with self._database.read() as connection:
            return departments.names(connection)

    def set_role(self, name: str, role: Role | None, department: str | None, *, by: str) -> Principal:
        """Have somebody hold this role (None: none any more) in a department, or in the whole yard.

        Raises:
            InvalidError: a role of the yard with a department, or another without one.
        """
        if role is not None:
            check_place(role, department)
        with self._changing() as connection:
            before = known(connection, name)
            if department is not None:
                need_department(connection, department)
            if role is None:
                principals.take(connection, name, department)
            else:
                principals.give(connection, name, department, role, by=by, at=clock.now())
            was = before.role if department is None else before.departments.get(department)
            told = {"user": name, "role": role}
            tell(connection, "user.role", department or YARD, by=by, before={"role": was}, after=told)
            return known(connection, name)

    def set_disabled(self, name: str, *, disabled: bool, by: str) -> Principal:
        """Keep somebody out at once, with all their tokens and sessions; or let them in again."""
        before = self.principal(name)
        if (before.disabled_at is not None) == disabled:
            return before
        with self._changing() as connection:
            principals.set_disabled(connection, name, clock.now() if disabled else None)
            sessions.end_all(connection, name)
            tell(connection, "user.disable" if disabled else "user.enable", YARD, by=by, after=name)
            return known(connection, name)

    # Tokens

    def create_token(
        self,
        name: str,
        principal: str,
        role: Role,
        department: str | None,
        expires_in: timedelta | None = None,
        *,
        by: str,
        rows_per_second: float | None = None,
    ) -> NewToken:
        """Make a token; the answer is the only place where its secret is.

        A person's token is made by that person, and gives no more than they hold. A service that is not
        there, or holds less, is given the role: whoever may make tokens here may do so.

        Raises:
            InvalidError: a role of the yard with a department, another role without one, bad words or time.
            ForbiddenError: it is for a person who is not the maker, or who holds less.
            NotFoundError: no such department.
        """
        draft = _draft(name, principal, role, by=by)
        check_place(role, department)
        expires_at = None if expires_in is None else draft.created_at + checked_time(expires_in)
        draft = msgspec.structs.replace(
            draft, department=department, expires_at=expires_at, rows_per_second=rows_per_second
        )
        with self._changing() as connection:
            if department is not None:
                need_department(connection, department)
            _hold(connection, draft)
            return _add(connection, draft)

    def tokens(self, departments: frozenset[str] | None = None) -> list[Token]:
        """Tokens of these departments (None: of all, and of the yard itself), newest first."""
        with self._database.read() as connection:
            return tokens.of_departments(connection, departments)

    def tokens_of(self, principal: str) -> list[Token]:
        """Somebody's tokens, newest first."""
        with self._database.read() as connection:
            return tokens.of_principal(connection, principal)

    def token(self, token_id: int) -> Token:
        """One token, to see whose it is before it is revoked."""
        with self._database.read() as connection:
            return _found(connection, token_id)

    def revoke_token(self, token_id: int, *, by: str) -> Token:
        """End a token now. Nothing happens where it is revoked already."""
        before = self.token(token_id)
        if before.revoked_at is not None:
            return before
        with self._changing() as connection:
            tokens.revoke(connection, token_id, clock.now())
            revoked = _found(connection, token_id)
            tell(connection, "token.revoke", revoked.department or YARD, by=by, before=before, after=revoked)
            return revoked

    def mark_used(self, token_ids: Iterable[int], at: datetime) -> None:
        """Say that these tokens were used up to this time."""
        with self._database.write(unaudited="a use is no change") as connection:
            tokens.mark_used(connection, token_ids, at)

    @contextmanager
    def _changing(self) -> Iterator[Connection]:
        with changing(self._database) as connection:
            yield connection


@contextmanager
def changing(database: Database) -> Iterator[Connection]:
    """A transaction that changes who may come in; the fronts hear of it.

    Raises:
        ConflictError: there was an administrator who could come in, and would be none.
    """
    with database.write() as connection:
        principals.lock(connection)
        before = principals.administrators(connection, clock.now())
        yield connection
        if before and not principals.administrators(connection, clock.now()):
            raise ConflictError(
                "This is the last administrator who can come in; without one nobody could manage the yard.",
                "Make another first: yard users invite NAME --role administrator.",
            )
        state.bump_generation(connection)


def known(connection: Connection, name: str) -> Principal:
    """Somebody.

    Raises:
        NotFoundError: there is nobody of that name.
    """
    found = principals.get(connection, name) if len(name) <= words.MAX_NAME else None
    if found is None:
        raise NotFoundError(f"There is nobody called {shown(name)}.", "See who is there: yard users list.")
    return found


def need_department(connection: Connection, department: str) -> None:
    """Nothing if there is such a department.

    Raises:
        NotFoundError: there is none.
    """
    if not departments.exists(connection, check_name(department, "department")):
        hint = "Publish into it first, or make it: yard users department NAME."
        raise NotFoundError(f"There is no department {department}.", hint)


def check_place(role: Role, department: str | None) -> None:
    """Nothing if the role can be held there.

    Raises:
        InvalidError: a role of the yard with a department, or another without one.
    """
    if (department is None) != (role in YARD_ROLES):
        wrong = "must have a department" if department is None else "is held in the whole yard"
        hint = "Give a department to every role but auditor and administrator."
        raise InvalidError(f"The role {role} {wrong}.", hint, field="department")


def checked_time(expires_in: timedelta, what: str = "token") -> timedelta:
    """The time if it is one at which something may end.

    Raises:
        InvalidError: it is not.
    """
    if timedelta() < expires_in <= LONGEST:
        return expires_in
    hint = f"Give a time of at most {LONGEST.days} days, or none for a {what} that does not expire."
    raise InvalidError(f"A {what} cannot expire at that time.", hint, field="expires_in")


def tell(  # whom it concerns, who did it, and what was and is
    connection: Connection,
    action: str,
    subject: str,
    *,
    by: str,
    before: object = None,
    after: object = None,
) -> None:
    """Write to the audit what was changed of people."""
    audit.append(connection, by=by, action=action, subject=subject, before=before, after=after)


def _hold(connection: Connection, draft: Token) -> None:
    """Have the token's holder hold its role, or refuse the token."""
    by, at = draft.created_by, draft.created_at
    holder = principals.get(connection, draft.principal)
    if holder is None:
        principals.add(connection, draft.principal, PrincipalKind.SERVICE, by=by, at=at)
    held = principals.all_held(connection).get(draft.principal, Held())
    if holder is not None and holder.disabled_at is not None:
        raise ConflictError(f"{draft.principal} is disabled.", "An administrator can enable it again.")
    if holder is not None and holder.kind is PrincipalKind.PERSON and by != draft.principal:
        hint = "They make their own on the page You; an owner gives them a role: yard users role."
        raise ForbiddenError(f"{draft.principal} is a person, whose tokens nobody else makes.", hint)
    if held.covers(draft.role, draft.department):
        return
    if holder is not None and holder.kind is PrincipalKind.PERSON:
        raise ForbiddenError(
            "A token cannot give more than its holder holds.", "Ask for a role you have yourself."
        )
    principals.give(connection, draft.principal, draft.department, draft.role, by=by, at=at)
    told = {"user": draft.principal, "role": draft.role}
    tell(connection, "user.role", draft.department or YARD, by=by, after=told)


def _draft(name: str, principal: str, role: Role, *, by: str) -> Token:
    return Token(
        id=0,
        name=words.label(name, "token name"),
        principal=check_not_the_yard(words.label(principal, "principal")),
        role=role,
        department=None,
        created_at=clock.now(),
        created_by=by,
    )


def _add(connection: Connection, draft: Token) -> NewToken:
    secret = new_secret()
    token = msgspec.structs.replace(draft, id=tokens.add(connection, draft, hash_secret(secret)))
    tell(connection, "token.create", token.department or YARD, by=token.created_by, after=token)
    return NewToken(secret, token)


def _found(connection: Connection, token_id: int) -> Token:
    token = tokens.get(connection, token_id) if 0 < token_id <= _MAX_ID else None
    if token is None:
        raise NotFoundError(f"There is no token {token_id}.", "See what there is: yard token list.")
    return token
