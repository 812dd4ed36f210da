"""The audit on both databases: written with the change or not at all, chained, several writers in order."""

from __future__ import annotations

import threading
from datetime import UTC, datetime

import pytest
from sqlalchemy import Connection, delete, select, update
from sqlalchemy.exc import DatabaseError

from modelyard.records.audit import BEGINNING, Entry, chained
from modelyard.records.errors import UnavailableError
from modelyard.store import audit, departments
from modelyard.store.database import Database
from modelyard.store.schema import audit as entries
from modelyard.store.schema import audit_head

AT = datetime(2026, 1, 2, tzinfo=UTC)


def note(connection: Connection, subject: str = "yard", **more: object) -> None:
    audit.append(connection, by="anna", action="thing.change", subject=subject, **more)


def kept(database: Database) -> list[Entry]:
    with database.read() as connection:
        rows = connection.execute(select(entries).order_by(entries.c.number)).mappings()
        return [Entry(**row) for row in rows]


def test_entries_are_chained_in_the_order_of_their_commits(database: Database) -> None:
    for subject in ("finance/a", "finance/b"):
        with database.write() as connection:
            note(connection, subject, before={"x": 1}, after=[1.5, "é"])
            note(connection, "yard")
    found = kept(database)
    assert [(e.number, e.subject) for e in found] == [
        (1, "finance/a"),
        (2, "yard"),
        (3, "finance/b"),
        (4, "yard"),
    ]
    assert (found[0].before, found[0].after) == ('{"x":1}', '[1.5,"é"]')
    previous = BEGINNING
    for entry in found:
        assert entry == chained(entry, previous)
        previous = entry.hash
    with database.read() as connection:
        head = connection.execute(select(audit_head)).one()
    assert (head.number, head.hash) == (4, previous)


def test_an_exception_takes_the_entry_back_with_the_change(database: Database) -> None:
    def fail() -> None:
        with database.write() as connection:
            departments.add(connection, "finance", by="anna", at=AT)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    with database.write(unaudited="nothing is changed"):
        pass
    assert kept(database) == []


def test_without_a_transaction_of_the_house_there_is_no_entry(database: Database) -> None:
    with database.read() as connection, pytest.raises(RuntimeError, match=r"thing\.change"):
        note(connection)
    with database.write() as connection, pytest.raises(RuntimeError, match="shout"):
        audit.append(connection, by="anna", action="shout", subject="yard")


def test_66_an_entry_is_neither_changed_nor_deleted(database: Database) -> None:
    with database.write() as connection:
        note(connection)
    before = kept(database)
    for statement in (update(entries).values(by="nobody"), delete(entries)):
        with (
            pytest.raises((UnavailableError, DatabaseError), match="never changed"),
            database.write() as connection,
        ):
            connection.execute(statement)
    assert kept(database) == before


def test_65_line_breaks_escapes_and_10_mb_do_no_harm(database: Database) -> None:
    evil = "a\r\nb\x1b[31m\0\u202e"
    with database.write() as connection:
        audit.append(connection, by=evil, action="thing.change", subject="x" * 10_000_000, after=evil)
        note(connection, after="y" * 10_000_000)
    first, second = kept(database)
    assert first.by.isprintable()
    assert len(first.subject) == audit.MAX_WORDS
    assert first.after is not None
    assert first.after.isprintable()
    assert second.after is not None
    assert len(second.after) < audit.MAX_VALUE
    assert '"characters":10000002' in second.after


def test_several_writers_make_one_chain(database: Database) -> None:
    def write(name: str) -> None:
        for number in range(10):
            with database.write() as connection:
                note(connection, f"{name}/{number}")

    threads = [threading.Thread(target=write, args=(f"w{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = kept(database)
    assert [e.number for e in found] == list(range(1, 41))
    assert {e.subject for e in found} == {f"w{n}/{i}" for n in range(4) for i in range(10)}
    previous = BEGINNING
    for entry in found:
        assert entry == chained(entry, previous)
        previous = entry.hash


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_67_a_full_disk_keeps_neither_the_change_nor_its_entry(database: Database) -> None:
    """SQLite says that it is full at a number of pages, which holds for the connection: one here."""
    with database.write(unaudited="a small disk") as connection:
        (pages,) = connection.exec_driver_sql("PRAGMA page_count").one()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages + 12}")
    made = 0

    def fill() -> None:
        nonlocal made
        while True:
            with database.write() as connection:
                departments.add(connection, f"d{made}", by="a" * 400, at=AT)
            made += 1

    with pytest.raises(UnavailableError, match="full"):
        fill()
    assert made > 3
    with database.read() as connection:
        assert len(departments.names(connection)) == made
    found = kept(database)
    assert len(found) == made
    assert chained(found[-1], found[-2].hash) == found[-1]
