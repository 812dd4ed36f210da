"""Signing in, on SQLite and PostgreSQL: passwords, links, sessions, identities, limits on guessing."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Literal

import pytest
import sqlalchemy
from argon2 import PasswordHasher

from modelyard.catalog import signing as module
from modelyard.catalog.people import People, hash_secret
from modelyard.catalog.registry import Registry
from modelyard.catalog.signing import Came, Identity, Signing
from modelyard.records.errors import (
    ConflictError,
    ForbiddenError,
    InvalidError,
    LimitedError,
    NotFoundError,
    UnauthenticatedError,
    YardError,
)
from modelyard.records.people import Grant, PrincipalKind, Role
from modelyard.store.database import Database
from modelyard.store.schema import metadata

PASSWORD = "four words in a row"
HOME = Came("10.0.0.1")
ISSUER = "https://login.example"
GROUPS = ((None, Role.AUDITOR), ("finance", Role.BUILDER))


pytestmark = pytest.mark.usefixtures("cheap_passwords")


@pytest.fixture
def signing(database: Database) -> Signing:
    return Signing(database)


@pytest.fixture
def maria(people: People, signing: Signing) -> str:
    """An administrator, and a person with a password who builds in finance."""
    people.first_administrator()
    people.add_department("finance", by="administrator")
    people.add_person("maria", by="administrator")
    people.set_role("maria", Role.BUILDER, "finance", by="administrator")
    signing.set_password(signing.make_link("maria", by="administrator").code, PASSWORD)
    return "maria"


def grant_of(registry: Registry, secret: str) -> Grant | None:
    return registry.route_table().tokens.get(hash_secret(secret))


def test_a_password_opens_a_session_with_the_roles_held(
    signing: Signing, maria: str, registry: Registry
) -> None:
    came = signing.by_password(maria, PASSWORD, HOME)
    grant = grant_of(registry, came.secret)
    assert grant is not None
    assert (grant.principal, grant.role, grant.department) == ("maria", Role.BUILDER, "finance")
    assert grant.expires is not None
    left = grant.expires - datetime.now(UTC).timestamp()
    assert timedelta(hours=11.9) < timedelta(seconds=left) <= timedelta(hours=12)
    signing.end(came.secret)
    assert grant_of(registry, came.secret) is None
    signing.end(came.secret)


def test_hardening_37_no_empty_default_or_simple_password(
    signing: Signing, people: People, maria: str
) -> None:
    people.add_person("otto-the-long", by="administrator")
    code = signing.make_link("otto-the-long", by="administrator").code
    for password in ("", "short", "aaaaaaaaaaaaaaaa", "otto-the-long123", "x" * 201):
        with pytest.raises(InvalidError):
            signing.set_password(code, password)
    with pytest.raises(UnauthenticatedError):
        signing.by_password("otto-the-long", "", HOME)
    with pytest.raises(UnauthenticatedError):
        signing.by_password(maria, "", HOME)


def test_hardening_39_a_wrong_name_and_a_wrong_password_look_alike(
    signing: Signing, maria: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[str] = []

    class Watched(PasswordHasher):
        def verify(self, hash: str | bytes, password: str | bytes) -> Literal[True]:  # noqa: A002
            hashed.append(str(hash))
            return super().verify(hash, password)

    monkeypatch.setattr(module, "_HASHER", Watched(time_cost=1, memory_cost=64, parallelism=1))
    said = []
    for name in (maria, "nobody", "administrator", "a' OR 1=1 --", "x" * 5_000):
        with pytest.raises(UnauthenticatedError) as refused:
            signing.by_password(name, "wrong", HOME)
        said.append(str(refused.value))
    assert len(set(said)) == 1
    assert len(hashed) == 5  # as much work for each


def test_a_password_and_codes_are_nowhere_in_the_database(
    signing: Signing, maria: str, database: Database
) -> None:
    secrets = [PASSWORD, signing.by_password(maria, PASSWORD, HOME).secret]
    secrets.append(signing.make_link(maria, by="administrator").code)
    with database.read() as connection:
        for table in metadata.tables.values():
            rows = str(connection.execute(sqlalchemy.select(table)).all())
            assert not any(secret in rows for secret in secrets)
        (hashed,) = connection.scalars(sqlalchemy.select(metadata.tables["passwords"].c.hash))
    assert hashed.startswith("$argon2id$")


def test_costs_of_a_hash_are_those_of_rfc_9106() -> None:
    made = PasswordHasher()
    assert (made.time_cost, made.memory_cost, made.type.name) == (3, 64 * 1024, "ID")


def test_a_hash_of_lower_costs_is_made_anew(
    signing: Signing, maria: str, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_HASHER", PasswordHasher(time_cost=2, memory_cost=64, parallelism=1))
    signing.by_password(maria, PASSWORD, HOME)
    with database.read() as connection:
        (hashed,) = connection.scalars(sqlalchemy.select(metadata.tables["passwords"].c.hash))
    assert "t=2" in hashed
    signing.by_password(maria, PASSWORD, HOME)


# Links


@pytest.mark.usefixtures("maria")
def test_a_link_works_once_and_a_newer_one_ends_it(signing: Signing, people: People) -> None:
    people.add_person("nina", by="administrator")
    first = signing.make_link("nina", by="administrator")
    second = signing.make_link("nina", by="administrator")
    assert not second.is_reset
    assert second.path == f"/invitation?code={second.code}"
    assert signing.whose_link(second.code) == "nina"
    signing.set_password(second.code, PASSWORD)
    for code in (first.code, second.code, "link_x", ""):
        with pytest.raises(NotFoundError, match="This link has ended") as gone:
            signing.set_password(code, PASSWORD)
        assert "nina" not in str(gone.value)
    assert signing.make_link("nina", by="administrator").is_reset


@pytest.mark.usefixtures("maria")
def test_a_link_is_used_once_by_two_at_once(signing: Signing, people: People) -> None:
    people.add_person("nina", by="administrator")
    code = signing.make_link("nina", by="administrator").code
    start = threading.Barrier(2)

    def use(password: str) -> bool:
        start.wait()
        try:
            signing.set_password(code, password)
        except NotFoundError:
            return False
        return True

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(use, [PASSWORD, PASSWORD + "!"])) == [False, True]


@pytest.mark.usefixtures("maria")
def test_a_link_ends(signing: Signing, people: People) -> None:
    people.add_person("nina", by="administrator")
    code = signing.make_link("nina", timedelta(microseconds=1), by="administrator").code
    with pytest.raises(NotFoundError):
        signing.whose_link(code)
    for time in (timedelta(0), timedelta(days=31)):
        with pytest.raises(InvalidError):
            signing.make_link("nina", time, by="administrator")


def test_links_are_for_persons_who_may_come_in(signing: Signing, people: People, maria: str) -> None:
    people.create_token("gate", "gate", Role.CALLER, "finance", by="administrator")
    with pytest.raises(ConflictError, match="is a service"):
        signing.make_link("gate", by="administrator")
    with pytest.raises(NotFoundError):
        signing.make_link("nobody", by="administrator")
    link = signing.make_link(maria, by="administrator")
    people.set_disabled(maria, disabled=True, by="administrator")
    with pytest.raises(ConflictError, match="disabled"):
        signing.make_link(maria, by="administrator")
    with pytest.raises(NotFoundError):
        signing.set_password(link.code, PASSWORD)


def test_hardening_36_a_reset_ends_sessions_and_tokens(
    signing: Signing, people: People, maria: str, registry: Registry
) -> None:
    session = signing.by_password(maria, PASSWORD, HOME).secret
    token = people.create_token("mine", maria, Role.BUILDER, "finance", by=maria).secret
    other = people.create_token("gate", "gate", Role.CALLER, "finance", by="administrator").secret
    signing.set_password(signing.make_link(maria, by="administrator").code, PASSWORD + "!")
    assert [grant_of(registry, s) is None for s in (session, token, other)] == [True, True, False]
    with pytest.raises(UnauthenticatedError):
        signing.by_password(maria, PASSWORD, HOME)
    assert signing.by_password(maria, PASSWORD + "!", HOME).principal == maria


def test_the_first_administrator_keeps_the_token_when_a_password_is_first_set(
    signing: Signing, people: People, registry: Registry
) -> None:
    secret = people.first_administrator()
    assert secret
    signing.set_password(signing.make_link("administrator", by="administrator").code, PASSWORD)
    assert grant_of(registry, secret) is not None


def test_a_password_is_changed_by_who_knows_it(signing: Signing, maria: str, registry: Registry) -> None:
    session = signing.by_password(maria, PASSWORD, HOME).secret
    with pytest.raises(UnauthenticatedError):
        signing.change_password(maria, "wrong", PASSWORD + "!", HOME)
    with pytest.raises(InvalidError):
        signing.change_password(maria, PASSWORD, "short", HOME)
    signing.change_password(maria, PASSWORD, PASSWORD + "!", HOME)
    assert grant_of(registry, session) is None
    signing.by_password(maria, PASSWORD + "!", HOME)


# Rights follow roles


def test_hardening_36_sessions_and_tokens_follow_the_roles(
    signing: Signing, people: People, maria: str, registry: Registry
) -> None:
    session = signing.by_password(maria, PASSWORD, HOME).secret
    token = people.create_token("mine", maria, Role.BUILDER, "finance", by=maria).secret
    before = registry.generation()
    people.set_role(maria, Role.VIEWER, "finance", by="administrator")
    assert registry.generation() > before  # so every front swaps, on all nodes
    for secret in (session, token):
        grant = grant_of(registry, secret)
        assert grant is not None
        assert grant.role is Role.VIEWER
    people.set_role(maria, None, "finance", by="administrator")
    assert grant_of(registry, token) is None
    grant = grant_of(registry, session)
    assert grant is not None
    assert grant.seen == frozenset()
    people.set_role(maria, Role.BUILDER, "finance", by="administrator")
    assert grant_of(registry, token) is not None
    people.set_disabled(maria, disabled=True, by="administrator")
    assert (grant_of(registry, token), grant_of(registry, session)) == (None, None)
    with pytest.raises(UnauthenticatedError):
        signing.by_password(maria, PASSWORD, HOME)
    people.set_disabled(maria, disabled=False, by="administrator")
    assert grant_of(registry, token) is not None
    assert grant_of(registry, session) is None


def test_hardening_48_a_person_makes_their_own_tokens_and_none_wider(people: People, maria: str) -> None:
    with pytest.raises(ForbiddenError, match="nobody else makes"):
        people.create_token("x", maria, Role.VIEWER, "finance", by="administrator")
    with pytest.raises(ForbiddenError, match="more than its holder"):
        people.create_token("x", maria, Role.OWNER, "finance", by=maria)
    assert people.create_token("x", maria, Role.CALLER, "finance", by=maria).token.role is Role.CALLER


def test_a_session_by_token_has_its_rights_and_its_end(
    signing: Signing, people: People, maria: str, registry: Registry
) -> None:
    made = people.create_token("x", maria, Role.CALLER, "finance", timedelta(hours=1), by=maria)
    grant = grant_of(registry, made.secret)
    assert grant is not None
    session = signing.by_token(grant).secret
    found = grant_of(registry, session)
    assert found is not None
    assert (found.role, found.expires) == (Role.CALLER, grant.expires)
    people.revoke_token(made.token.id, by=maria)
    assert grant_of(registry, session) is None


def test_hardening_49_who_can_come_in_as_administrator_stays(people: People, maria: str) -> None:
    (first,) = people.tokens_of("administrator")
    for change in (
        lambda: people.revoke_token(first.id, by="administrator"),
        lambda: people.set_role("administrator", None, None, by="administrator"),
        lambda: people.set_role("administrator", Role.AUDITOR, None, by="administrator"),
        lambda: people.set_disabled("administrator", disabled=True, by="administrator"),
    ):
        with pytest.raises(ConflictError, match="last administrator"):
            change()
    people.set_role(maria, Role.ADMINISTRATOR, None, by="administrator")  # she has a password
    people.revoke_token(first.id, by="administrator")
    with pytest.raises(ConflictError, match="last administrator"):
        people.set_disabled(maria, disabled=True, by="administrator")


# Guessing


def test_hardening_39_guessing_is_held_up_by_account_and_address(signing: Signing, maria: str) -> None:
    for _ in range(5):
        with pytest.raises(UnauthenticatedError):
            signing.by_password(maria, "guess", Came("10.0.0.66"))
    for password in ("guess", PASSWORD):
        with pytest.raises(LimitedError) as limited:
            signing.by_password(maria, password, Came("10.0.0.66"))
        assert 0 < limited.value.retry_after <= 60
    signing.by_password(maria, PASSWORD, HOME)  # the owner, from elsewhere, is not held up


@pytest.mark.usefixtures("maria")
def test_hardening_39_an_address_that_tries_many_names_is_held_up(signing: Signing) -> None:
    refused: list[type[YardError]] = []
    for number in range(60):
        with pytest.raises((UnauthenticatedError, LimitedError)) as error:
            signing.by_password(f"name-{number}", "guess", Came("10.0.0.66"))
        refused.append(error.type)
    assert LimitedError in refused[49:]
    assert LimitedError not in refused[:50]


def test_the_owner_comes_in_from_a_known_browser_while_many_guess(signing: Signing, maria: str) -> None:
    browser = signing.by_password(maria, PASSWORD, HOME).browser
    for number in range(40):
        with pytest.raises((UnauthenticatedError, LimitedError)):
            signing.by_password(maria, "guess", Came(f"10.0.1.{number}"))
    with pytest.raises(LimitedError):
        signing.by_password(maria, PASSWORD, HOME)
    with pytest.raises(LimitedError):
        signing.by_password(maria, PASSWORD, Came("10.0.0.1", "browser_x"))
    assert signing.by_password(maria, PASSWORD, Came("10.0.0.1", browser)).principal == maria


def test_many_guesses_at_once_count_each(signing: Signing, maria: str) -> None:
    def guess(_: int) -> type[YardError]:
        with pytest.raises((UnauthenticatedError, LimitedError)) as error:
            signing.by_password(maria, "guess", Came("10.0.0.66"))
        return error.type

    with ThreadPoolExecutor(4) as pool:
        kinds = list(pool.map(guess, range(12)))
    assert kinds.count(UnauthenticatedError) == 5


def test_who_is_right_is_not_counted(signing: Signing, maria: str) -> None:
    for _ in range(12):
        signing.by_password(maria, PASSWORD, HOME)


# Identities


@pytest.mark.usefixtures("maria")
def test_a_provider_brings_a_person_with_the_roles_of_their_groups(
    signing: Signing, people: People, registry: Registry
) -> None:
    came = signing.by_identity(Identity(ISSUER, "17", "Nina@example.com", GROUPS))
    assert came.principal == "nina@example.com"
    person = people.principal("nina@example.com")
    assert (person.kind, person.role, person.departments) == (
        PrincipalKind.PERSON,
        Role.AUDITOR,
        {"finance": Role.BUILDER},
    )
    grant = grant_of(registry, came.secret)
    assert grant is not None
    assert grant.words == "auditor, builder in finance"


@pytest.mark.usefixtures("maria")
def test_roles_of_groups_go_with_the_group_and_those_given_here_stay(
    signing: Signing, people: People, registry: Registry
) -> None:
    nina = Identity(ISSUER, "17", "nina", GROUPS)
    signing.by_identity(nina)
    people.set_role("nina", Role.VIEWER, "finance", by="administrator")
    token = people.create_token("x", "nina", Role.BUILDER, "finance", by="nina").secret
    signing.by_identity(Identity(ISSUER, "17", "renamed", ()))
    assert people.principal("nina").departments == {"finance": Role.VIEWER}
    grant = grant_of(registry, token)
    assert grant is not None
    assert grant.role is Role.VIEWER
    people.set_role("nina", None, "finance", by="administrator")
    signing.by_identity(nina)
    with pytest.raises(ForbiddenError, match="may do nothing"):
        signing.by_identity(Identity(ISSUER, "17", "nina", ()))
    assert people.principal("nina").departments == {}  # kept though it was refused
    assert grant_of(registry, token) is None


@pytest.mark.usefixtures("maria")
def test_who_has_no_group_that_gives_a_role_is_not_made(signing: Signing, people: People) -> None:
    with pytest.raises(ForbiddenError, match="None of your groups"):
        signing.by_identity(Identity(ISSUER, "18", "eve", ()))
    with pytest.raises(NotFoundError):
        people.principal("eve")


def test_a_name_at_the_provider_does_not_open_the_account_of_that_name(
    signing: Signing, people: People, maria: str
) -> None:
    for name in ("maria", "MARIA", "administrator"):
        with pytest.raises(ConflictError, match="another account"):
            signing.by_identity(Identity(ISSUER, f"evil-{name}", name, GROUPS))
    signing.join(maria, ISSUER, "21", by="administrator")
    signing.join(maria, ISSUER, "21", by="administrator")
    assert signing.by_identity(Identity(ISSUER, "21", "other", ())).principal == maria
    people.add_person("nina", by="administrator")
    with pytest.raises(ConflictError, match="somebody else"):
        signing.join("nina", ISSUER, "21", by="administrator")


@pytest.mark.usefixtures("maria")
def test_who_is_disabled_here_does_not_come_in_by_a_provider(signing: Signing, people: People) -> None:
    nina = Identity(ISSUER, "17", "nina", GROUPS)
    signing.by_identity(nina)
    people.set_disabled("nina", disabled=True, by="administrator")
    with pytest.raises(ForbiddenError):
        signing.by_identity(nina)


def test_what_people_do_is_in_the_audit_and_no_secret_is(
    signing: Signing, people: People, maria: str, database: Database
) -> None:
    session = signing.by_password(maria, PASSWORD, HOME).secret
    with pytest.raises(UnauthenticatedError):
        signing.by_password(maria, "guessed words", HOME)
    with pytest.raises(UnauthenticatedError):
        signing.by_password("a password typed here", "x", HOME)
    signing.end(session)
    link = signing.make_link(maria, by="administrator")
    signing.set_password(link.code, PASSWORD + "!")
    people.set_disabled(maria, disabled=True, by="administrator")
    with database.read() as connection:
        entries = connection.execute(sqlalchemy.select(metadata.tables["audit"])).all()
    told = [(e.action, e.by) for e in entries]
    for expected in (
        ("user.create", "administrator"),
        ("user.role", "administrator"),
        ("user.invite", "administrator"),
        ("user.password", "maria"),
        ("session.begin", "maria"),
        ("session.refuse", "maria"),
        ("session.refuse", ""),
        ("session.end", "maria"),
        ("user.reset", "administrator"),
        ("user.disable", "administrator"),
        ("token.create", "administrator"),
    ):
        assert expected in told
    text = str(entries)
    for secret in (PASSWORD, session, link.code, "guessed words", "a password typed here", "argon2id"):
        assert secret not in text
