"""Signing in: passwords, the links to set them, identities of a provider, sessions, limits on guessing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from msgspec import Struct
from sqlalchemy import Connection

from modelyard.catalog import clock
from modelyard.catalog.people import changing, hash_secret, known, new_secret, tell
from modelyard.records.audit import YARD
from modelyard.records.errors import (
    ConflictError,
    ForbiddenError,
    InvalidError,
    LimitedError,
    NotFoundError,
    UnauthenticatedError,
)
from modelyard.records.people import Grant, NewLink, PrincipalKind, Role, check_person
from modelyard.records.references import shown
from modelyard.store import attempts, departments, passwords, principals, sessions, state, tokens
from modelyard.store.attempts import Bucket
from modelyard.store.database import Database
from modelyard.store.passwords import Link
from modelyard.store.sessions import Session

LIFE = timedelta(hours=12)  # of a session
LINK_LIFE = timedelta(days=7)
_LONGEST_LINK = timedelta(days=30)
SHORTEST, LONGEST = 12, 200  # characters of a password
_FEW_CHARACTERS = 5  # different ones that a password must have
_HASHER = PasswordHasher()  # argon2id with the costs of RFC 9106, low memory: 64 MiB, 3 passes
# An account that is not there takes as long as one that is: this, of which nobody has the password, is tried.
_NOBODY = "$argon2id$v=19$m=65536,t=3,p=4$jSscdfIxBi2a8oxmh/2JQg$RPnjqFyKTkzwns++SlterQgFP5S3sMGQo2VFyoGl++4"
_WRONG = "The name or the password is wrong."
SESSION, _LINK = "session_", "link_"  # how their secrets begin


class Came(Struct, frozen=True):
    """From where somebody tries to come in: the address, and the secret of a browser that is known."""

    address: str = ""
    browser: str = ""


class SignedIn(Struct, frozen=True):
    """A session just begun: its secret, and that of the browser, which is known from now on."""

    secret: str
    principal: str
    browser: str = ""


class Identity(Struct, frozen=True):
    """Who somebody is for an identity provider.

    Attributes:
        issuer, subject: together unique and lasting.
        name: what they are called there.
        roles: what their groups give them here: a department (None: the whole yard) and a role.
    """

    issuer: str
    subject: str
    name: str
    roles: tuple[tuple[str | None, Role], ...]


class Signing:
    """Who comes in, and by what. Blocking; a password takes a tenth of a second and 64 MiB.

    Args:
        database: upgraded already.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    # Links

    def make_link(self, name: str, expires_in: timedelta = LINK_LIFE, *, by: str) -> NewLink:
        """A link by which a person sets a password, once: an invitation, or where there is one, a reset.

        An earlier link of theirs ends. The answer is the only place where its code is.

        Raises:
            NotFoundError: nobody of that name.
            ConflictError: it is a service, or disabled.
            InvalidError: it would hold for more than 30 days.
        """
        if not timedelta() < expires_in <= _LONGEST_LINK:
            raise InvalidError("A link cannot end at that time.", "Give it from a minute to 30 days.")
        code, at = new_secret(_LINK), clock.now()
        with self._database.write() as connection:
            person = known(connection, name)
            if person.kind is not PrincipalKind.PERSON:
                message = f"{name} is a service, which has tokens and no password."
                raise ConflictError(message, "Make a person: yard users invite NAME.")
            if person.disabled_at is not None:
                raise ConflictError(f"{name} is disabled.", f"Enable first: yard users enable {name}.")
            link = Link(hash_secret(code), name, at, by, at + expires_in)
            passwords.add_link(connection, link)
            action = "user.reset" if person.has_password else "user.invite"
            tell(connection, action, YARD, by=by, after={"user": name, "expires_at": link.expires_at})
            return NewLink(code, _path(code, person.has_password), name, person.has_password, link.expires_at)

    def whose_link(self, code: str) -> str:
        """Who may set a password by this code.

        Raises:
            NotFoundError: nobody: it was used, has ended, or never was; the same words for all.
        """
        with self._database.read() as connection:
            return _link(connection, code).principal

    def set_password(self, code: str, password: str) -> str:
        """Set a password by a link, which ends by it; whose it is. A reset ends their sessions and tokens.

        Raises:
            NotFoundError: no such link.
            InvalidError: the password is too short or too simple.
        """
        name = self.whose_link(code)
        check_password(password, name)
        hashed = _HASHER.hash(password)
        with changing(self._database) as connection:
            link = _link(connection, code, locks=True)
            person = known(connection, name)
            if person.disabled_at is not None:
                raise _no_link()
            passwords.use_link(connection, link.digest, clock.now())
            _put(connection, name, hashed)
            if person.has_password:
                for token in tokens.of_principal(connection, name):
                    if token.revoked_at is None:
                        tokens.revoke(connection, token.id, clock.now())
            tell(connection, "user.password", YARD, by=name, after={"by": "link"})
        return name

    def change_password(self, name: str, old: str, new: str, came: Came) -> None:
        """Set a new password, knowing the old one. All sessions of theirs end.

        Raises:
            UnauthenticatedError: the old one is wrong.
            InvalidError: the new one is too short or too simple.
            LimitedError: too many attempts.
        """
        buckets = self._count(name, came)
        self._verify(name, old)
        check_password(new, name)
        hashed = _HASHER.hash(new)
        with changing(self._database) as connection:
            attempts.give_back(connection, [b.key for b in buckets])
            _put(connection, name, hashed)
            tell(connection, "user.password", YARD, by=name, after={"by": "password"})

    # Sessions

    def by_password(self, name: str, password: str, came: Came) -> SignedIn:
        """Begin a session with a name and a password.

        Raises:
            UnauthenticatedError: one of them is wrong; the same words and time whichever it is.
            LimitedError: too many attempts.
        """
        buckets = self._count(name, came)
        self._verify(name, password)
        browser = new_secret("browser_")
        with self._database.write() as connection:
            if known(connection, name).disabled_at is not None:
                raise UnauthenticatedError(_WRONG)
            attempts.give_back(connection, [b.key for b in buckets])
            passwords.remember_browser(connection, hash_secret(browser), name, clock.now())
            return SignedIn(_begin(connection, name, "password"), name, browser)

    def by_token(self, grant: Grant) -> SignedIn:
        """Begin a session with the rights and the end of a token that was found valid."""
        with self._database.write() as connection:
            return SignedIn(_begin(connection, grant.principal, "token", grant.token_id), grant.principal)

    def by_identity(self, identity: Identity) -> SignedIn:
        """Begin a session for somebody whom the identity provider knows, with the roles that it says.

        Somebody who is new is made a person here, if a group of theirs gives a role.

        Raises:
            ForbiddenError: none of their groups gives a role, nor did anybody here; or they are disabled.
            ConflictError: their name is another's here.
        """
        with self._reported(identity.name):
            with changing(self._database) as connection:
                name = _person(connection, identity)
                _sync(connection, name, identity)  # kept also where nothing is left to come in with
                secret = _begin(connection, name, "oidc") if _may_come_in(connection, name) else ""
            if not secret:
                hint = "Ask an administrator, or an owner of your department, for a role."
                raise ForbiddenError(f"{name} may do nothing here.", hint)
            return SignedIn(secret, name)

    def join(self, name: str, issuer: str, subject: str, *, by: str) -> None:
        """Have somebody here be whom a provider calls so; they sign in there from now on.

        Raises:
            NotFoundError: nobody of that name.
            ConflictError: it is somebody else here, or a service.
        """
        with self._database.write() as connection:
            if known(connection, name).kind is not PrincipalKind.PERSON:
                raise ConflictError(f"{name} is a service.", "Only persons sign in.")
            before = passwords.identified(connection, issuer, subject)
            if before not in (None, name):
                raise ConflictError("That is somebody else here.", "Join the other name.")
            if before is None:
                passwords.identify(connection, issuer, subject, name, clock.now())
            told = {"user": name, "issuer": issuer, "subject": subject}
            tell(connection, "user.join", YARD, by=by, after=told)

    @contextmanager
    def _reported(self, name: str) -> Iterator[None]:
        try:
            yield
        except (ForbiddenError, ConflictError) as error:
            self._refused(name, error.message)
            raise

    def end(self, secret: str) -> None:
        """End a session; nothing happens where there is none."""
        digest = hash_secret(secret)
        with self._database.read() as connection:
            principal = sessions.get(connection, digest)
        if principal is not None:
            with self._database.write() as connection:
                sessions.end(connection, digest)
                tell(connection, "session.end", YARD, by=principal)
                state.bump_generation(connection)

    # Guessing

    def refuse_token(self, came: Came) -> None:
        """Count and note a token that is none, typed where people sign in.

        Raises:
            LimitedError: too many attempts from this address.
        """
        self._count("", Came(came.address))
        self._refused("", "unknown token")

    def _count(self, name: str, came: Came) -> list[Bucket]:
        at = clock.now()
        with self._database.write(unaudited="who came in or was refused is") as connection:
            buckets = _buckets(connection, name, came)
            wait = attempts.take(connection, buckets, at)
        if wait:
            raise LimitedError(
                "There were too many attempts to sign in.",
                f"Wait {wait:.0f} seconds, then try again; a browser you have used before need not wait.",
                retry_after=wait,
            )
        return buckets

    def _verify(self, name: str, password: str) -> None:
        with self._database.read() as connection:
            hashed = passwords.get(connection, name)
            person = principals.get(connection, name) if hashed else None
        try:
            _HASHER.verify(hashed or _NOBODY, password)
        except (VerificationError, InvalidHashError):
            hashed = None
        is_disabled = person is not None and person.disabled_at is not None
        if hashed is None or is_disabled:
            self._refused(name, "wrong name or password" if hashed is None else "disabled")
            raise UnauthenticatedError(_WRONG, "Try again, or ask an administrator for a link to reset it.")
        if _HASHER.check_needs_rehash(hashed):
            with self._database.write(unaudited="the password stays") as connection:
                passwords.put(connection, name, _HASHER.hash(password), clock.now())

    def _refused(self, name: str, why: str) -> None:
        with self._database.write() as connection:
            is_known = principals.get(connection, name[:LONGEST]) is not None
            # What is no name here may be a password, typed in the wrong field.
            told = {"user": name if is_known else "unknown", "why": why}
            tell(connection, "session.refuse", YARD, by=name if is_known else "", after=told)


def check_password(password: str, name: str) -> None:
    """Nothing if the password will do: long, not one character over and over, not the name.

    Raises:
        InvalidError: it will not.
    """
    if not SHORTEST <= len(password) <= LONGEST:
        hint = "A few words in a row are easy to remember."
        raise InvalidError(f"A password has {SHORTEST} to {LONGEST} characters.", hint, field="password")
    if len(set(password)) < _FEW_CHARACTERS or name.partition("@")[0] in password.lower():
        raise InvalidError("This password is easily guessed.", "Take other words.", field="password")


def _buckets(connection: Connection, name: str, came: Came) -> list[Bucket]:
    """What an attempt is counted in.

    From a browser somebody has used before in that one's own alone: others who guess lock nobody out there.
    Else by account and address together, where few are allowed, and by each of them, where more are.
    """
    browser = hash_secret(came.browser)
    if came.browser and passwords.is_known_browser(connection, browser, name):
        return [Bucket(hash_secret(f"browser {browser}"), 10, 30.0)]
    return [
        Bucket(hash_secret(f"both {name} {came.address}"), 5, 60.0),
        Bucket(hash_secret(f"account {name}"), 30, 20.0),
        Bucket(hash_secret(f"address {came.address}"), 50, 6.0),
    ]


def _begin(connection: Connection, name: str, how: str, token: int | None = None) -> str:
    secret, at = new_secret(SESSION), clock.now()
    sessions.add(connection, Session(hash_secret(secret), name, token, how, at, at + LIFE))
    tell(connection, "session.begin", YARD, by=name, after={"how": how})
    state.bump_generation(connection)
    return secret


def _put(connection: Connection, name: str, hashed: str) -> None:
    passwords.put(connection, name, hashed, clock.now())
    passwords.forget_browsers(connection, name)
    sessions.end_all(connection, name)


def _link(connection: Connection, code: str, *, locks: bool = False) -> Link:
    found = passwords.valid_link(connection, hash_secret(code), clock.now(), locks=locks)
    if found is None:
        raise _no_link()
    return found


def _path(code: str, is_reset: bool) -> str:
    return f"/{'reset' if is_reset else 'invitation'}?code={code}"


def _no_link() -> NotFoundError:
    return NotFoundError(
        "This link has ended: it was used, is too old, or a newer one was made.",
        "Ask an administrator for another.",
    )


def _person(connection: Connection, identity: Identity) -> str:
    name = passwords.identified(connection, identity.issuer, identity.subject)
    if name is not None:
        return name
    name, at = check_person(identity.name.lower()), clock.now()
    if not identity.roles:
        raise ForbiddenError(
            f"{shown(name)} may do nothing here yet.",
            "None of your groups gives a role here; ask an administrator.",
        )
    if not principals.add(connection, name, PrincipalKind.PERSON, by=identity.issuer, at=at):
        raise ConflictError(
            f"The name {name} is another account's here.",
            f"If it is yours, an administrator joins the two: yard users join {name} SUBJECT.",
        )
    passwords.identify(connection, identity.issuer, identity.subject, name, at)
    tell(connection, "user.create", YARD, by=name, after={"user": name, "issuer": identity.issuer})
    return name


def _sync(connection: Connection, name: str, identity: Identity) -> None:
    before = known(connection, name)
    principals.take_all(connection, name, source=principals.OIDC)
    for department, role in identity.roles:
        if department is not None:
            departments.add(connection, department, by=identity.issuer, at=clock.now())
        principals.give(
            connection, name, department, role, by=identity.issuer, at=clock.now(), source=principals.OIDC
        )
    after = known(connection, name)
    if (before.role, before.departments) != (after.role, after.departments):
        tell(connection, "user.role", YARD, by=identity.issuer, before=before, after=after)


def _may_come_in(connection: Connection, name: str) -> bool:
    person = known(connection, name)
    return person.disabled_at is None and bool(person.role or person.departments)
