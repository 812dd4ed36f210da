"""People and tokens, on SQLite and PostgreSQL."""

from __future__ import annotations

import multiprocessing
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy

from modelyard.catalog.people import People, hash_secret
from modelyard.catalog.registry import Registry
from modelyard.records.errors import ConflictError, InvalidError, NotFoundError
from modelyard.records.people import NewToken, Role
from modelyard.store import departments
from modelyard.store.database import Database
from modelyard.store.schema import metadata

FUTURE = timedelta(days=1)


@pytest.fixture(autouse=True)
def finance(database: Database) -> None:
    with database.write() as connection:
        departments.add(connection, "finance", by="anna", at=datetime.now(UTC))


def administrator(people: People, name: str = "second", expires_in: timedelta | None = None) -> NewToken:
    return people.create_token(name, "anna", Role.ADMINISTRATOR, None, expires_in, by="anna")


def test_the_first_administrator(people: People, registry: Registry) -> None:
    secret = people.first_administrator()
    assert secret is not None
    assert secret.startswith("yard_")
    assert len(secret) == 48  # 32 bytes in base64url
    assert people.first_administrator() is None
    grant = registry.route_table().tokens[hash_secret(secret)]
    assert (grant.principal, grant.role, grant.department, grant.expires) == (
        "administrator",
        Role.ADMINISTRATOR,
        None,
        None,
    )


def _first(url: str) -> str | None:
    database = Database(url)
    try:
        return People(database).first_administrator()
    finally:
        database.close()


def test_hardening_37_two_processes_are_first_at_once(database_url: str, people: People) -> None:
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        secrets = pool.map(_first, [database_url] * 4, chunksize=1)
        pool.close()
        pool.join()
    assert len([s for s in secrets if s]) == 1
    assert len(people.tokens()) == 1


def test_a_secret_that_cannot_be_kept_makes_no_administrator(people: People, tmp_path: Path) -> None:
    """The token's file is written before the transaction ends: a crash in between locks nobody out."""

    def keep(secret: str) -> None:
        (tmp_path / "not-there" / "admin.token").write_text(secret)

    with pytest.raises(FileNotFoundError):
        people.first_administrator(keep)
    assert people.tokens() == []
    kept: list[str] = []
    assert people.first_administrator(kept.append) == kept[0]


@pytest.mark.parametrize("name", ["yard", "Yard"])
def test_nobody_acts_under_the_name_of_the_yard(people: People, name: str) -> None:
    """The audit says `yard` of what the yard does by itself."""
    with pytest.raises(InvalidError, match="what the yard calls itself"):
        people.create_token("app", name, Role.OWNER, "finance", by="anna")
    with pytest.raises(InvalidError):
        people.add_person(name, by="anna")
    assert people.principals() == []


def test_a_token_is_made_and_listed(people: People) -> None:
    before = datetime.now(UTC)
    made = people.create_token("app", "booking", Role.CALLER, "finance", FUTURE, by="anna")
    assert people.tokens() == [made.token]
    assert people.token(made.token.id) == made.token
    assert made.token.expires_at is not None
    assert before + FUTURE <= made.token.expires_at <= datetime.now(UTC) + FUTURE
    assert (made.token.name, made.token.principal, made.token.created_by) == ("app", "booking", "anna")


def test_secrets_differ_and_are_nowhere_in_the_database(people: People, database: Database) -> None:
    made = [people.create_token("app", "booking", Role.CALLER, "finance", by="anna") for _ in range(3)]
    assert len({m.secret for m in made}) == 3
    with database.read() as connection:
        for table in metadata.tables.values():
            rows = str(connection.execute(sqlalchemy.select(table)).all())
            assert not any(m.secret in rows or m.secret.removeprefix("yard_") in rows for m in made)
        digests = set(connection.scalars(sqlalchemy.select(metadata.tables["tokens"].c.digest)))
    assert digests == {hash_secret(m.secret) for m in made}


def test_tokens_of_departments(people: People, database: Database) -> None:
    with database.write() as connection:
        departments.add(connection, "operations", by="anna", at=datetime.now(UTC))
    people.first_administrator()
    people.create_token("f", "app", Role.OWNER, "finance", by="anna")
    people.create_token("o", "app", Role.OWNER, "operations", by="anna")
    assert [t.name for t in people.tokens()] == ["o", "f", "first"]
    assert [t.name for t in people.tokens(frozenset({"finance"}))] == ["f"]
    assert people.tokens(frozenset()) == []


@pytest.mark.parametrize("role", Role)
def test_hardening_48_roles_of_the_yard_have_no_department_and_others_one(people: People, role: Role) -> None:
    of_yard = role in (Role.AUDITOR, Role.ADMINISTRATOR)
    with pytest.raises(InvalidError, match="The role"):
        people.create_token("t", "p", role, "finance" if of_yard else None, by="anna")
    made = people.create_token("t", "p", role, None if of_yard else "finance", by="anna")
    assert made.token.role is role


def test_an_unknown_department(people: People) -> None:
    with pytest.raises(NotFoundError, match="no department operations"):
        people.create_token("t", "p", Role.VIEWER, "operations", by="anna")
    with pytest.raises(InvalidError):
        people.create_token("t", "p", Role.VIEWER, "../finance", by="anna")
    assert people.tokens() == []


@pytest.mark.parametrize("words", ["", " ", " a", "a\nb", "a\0b", "x" * 201, "\x1b[31m", "a\u202eb"])
def test_hardening_5_names_with_unseen_characters(people: People, words: str) -> None:
    with pytest.raises(InvalidError, match="token name"):
        people.create_token(words, "p", Role.VIEWER, "finance", by="anna")
    with pytest.raises(InvalidError, match="principal"):
        people.create_token("t", words, Role.VIEWER, "finance", by="anna")


@pytest.mark.parametrize("time", [timedelta(0), timedelta(seconds=-1), timedelta(days=4000), timedelta.max])
def test_times_at_which_no_token_expires(people: People, time: timedelta) -> None:
    with pytest.raises(InvalidError, match="cannot expire"):
        people.create_token("t", "p", Role.VIEWER, "finance", time, by="anna")


def test_hardening_35_expired_and_revoked_tokens_have_no_routes(people: People, registry: Registry) -> None:
    made = people.create_token("t", "p", Role.VIEWER, "finance", FUTURE, by="anna")
    brief = people.create_token("t", "p", Role.VIEWER, "finance", timedelta(microseconds=1), by="anna")
    tokens = registry.route_table().tokens
    assert made.token.expires_at is not None
    assert {d: g.expires for d, g in tokens.items()} == {
        hash_secret(made.secret): made.token.expires_at.timestamp()
    }
    assert hash_secret(brief.secret) not in tokens
    revoked = people.revoke_token(made.token.id, by="anna")
    assert revoked.revoked_at is not None
    assert registry.route_table().tokens == {}
    assert people.revoke_token(made.token.id, by="bert") == revoked


@pytest.mark.parametrize("token_id", [0, -1, 99, 2**31, 10**30])
def test_tokens_that_are_not_there(people: People, token_id: int) -> None:
    with pytest.raises(NotFoundError, match="no token"):
        people.revoke_token(token_id, by="anna")
    with pytest.raises(NotFoundError, match="no token"):
        people.token(token_id)


def test_the_last_administrator_stays(people: People) -> None:
    people.first_administrator()
    (first,) = people.tokens()
    people.create_token("t", "p", Role.OWNER, "finance", by="anna")
    gone = administrator(people)
    people.revoke_token(gone.token.id, by="anna")
    administrator(people, expires_in=timedelta(microseconds=1))
    with pytest.raises(ConflictError, match="last administrator"):
        people.revoke_token(first.id, by="anna")
    administrator(people)
    assert people.revoke_token(first.id, by="anna").revoked_at is not None


def test_hardening_49_two_administrators_remove_each_other_at_once(people: People) -> None:
    for _ in range(5):
        pair = [administrator(people).token.id for _ in range(2)]
        for token in people.tokens():
            if token.id not in pair and token.revoked_at is None:
                people.revoke_token(token.id, by="anna")
        start = threading.Barrier(2)

        def revoke(token_id: int, start: threading.Barrier = start) -> bool:
            start.wait()
            try:
                people.revoke_token(token_id, by="anna")
            except ConflictError:
                return False
            return True

        with ThreadPoolExecutor(2) as pool:
            assert sorted(pool.map(revoke, pair)) == [False, True]


def test_the_last_use_of_a_token_is_kept_and_never_goes_back(people: People) -> None:
    made = people.create_token("app", "booking", Role.CALLER, "finance", by="anna").token
    assert made.used_at is None
    at = datetime.now(UTC)
    people.mark_used({made.id, 999}, at)
    people.mark_used({made.id}, at - FUTURE)
    assert people.token(made.id).used_at == at
