"""The audit over HTTP: no entry, no change, on every route; who reads it; refusals that cost little."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from anyio.from_thread import start_blocking_portal
from sqlalchemy import select

from modelyard.api.auth import identify, routes
from modelyard.api.errors import REFUSED
from modelyard.api.refusals import KINDS, Refusals
from modelyard.catalog.audit import Checkpoints
from modelyard.catalog.people import People
from modelyard.catalog.registry import Registry
from modelyard.records.audit import Query, Verified
from modelyard.records.errors import ForbiddenError, UnauthenticatedError, UnavailableError
from modelyard.records.people import MATRIX, Need, Role
from modelyard.store import audit
from modelyard.store.blobs import Blobs
from modelyard.store.database import Database
from modelyard.store.schema import metadata
from tests.bundles import TAR, bundle_tar
from tests.contract.api_house import HERE, MODEL, House
from tests.contract.test_api_policies import BODIES, fill

# Tables of which nothing is a change of anybody's: what is due, counters that say "look again".
_NO_CHANGES = {"audit", "audit_head", "duties", "state", "attempts"}
_SUBJECT = re.compile(r"[a-z][a-z0-9-]*([/@].*)?", re.ASCII)
on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)  # the rules are the same there
_PATHS = f"/api/v1/models/{MODEL}"


@pytest.fixture
def house(database: Database, tmp_path: Path) -> Iterator[House]:
    registry = Registry(database, Blobs(str(tmp_path / "blobs")), tmp_path / "scratch")
    with start_blocking_portal() as portal, House(portal, registry, People(database), tmp_path) as made:
        made.publish(MODEL, b"two")
        yield made


def dump(database: Database) -> dict[str, list[Any]]:
    with database.read() as connection:
        return {
            name: sorted(map(repr, connection.execute(select(table))))
            for name, table in metadata.tables.items()
            if name not in _NO_CHANGES
        }


def changing(house: House) -> list[tuple[str, str]]:
    """Every route of the application that is asked with another method than GET."""
    app: Any = house.app
    while hasattr(app, "_app"):
        app = app._app
    return [(m, path) for path, handler in routes(app) for m in sorted(handler.http_methods) if m != "GET"]  # type: ignore[attr-defined]


def ask(house: House, method: str, path: str) -> httpx.Response:
    last = path.rpartition("/")[2].replace("{alias}", "champion")
    given: dict[str, Any] = BODIES.get(last, {})
    if path.endswith("/policy"):
        given = {"json": {"retrain": {"max_age": "30d"}}}
    if path.endswith("/versions"):
        given = {"content": bundle_tar(b"three"), "headers": {"Content-Type": TAR}}
    if path.endswith("/{alias}"):
        return house.ask(
            method,
            path.format(department=HERE, name="fuel-cost", alias="spare"),
            Role.ADMINISTRATOR,
            json={"version": 2},
        )
    return house.ask(method, fill(path, HERE), Role.ADMINISTRATOR, **given)


def test_no_entry_no_change_on_every_route(
    house: House, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of every route that the application has: first the audit cannot be written, then it can."""

    def fail(*_: object) -> None:
        raise UnavailableError("The disk is full.")

    changed = []
    for method, path in changing(house):
        before = dump(database)
        with monkeypatch.context() as patch:
            patch.setattr(audit, "_chain", fail)
            ask(house, method, path)
        assert dump(database) == before, f"{method} {path} changed something without an entry"
        entries = len(house.services.audit.entries(Query()))
        answer = ask(house, method, path)
        assert answer.status_code < 500, (method, path, answer.text)
        if dump(database) != before:
            changed.append(f"{method} {path.removeprefix('/api/v1')}")
            assert len(house.services.audit.entries(Query())) > entries, f"{method} {path} told nothing"
    assert {
        "POST /departments/{department}/tokens",
        "POST /models/{department}/{name}/versions",
        "PUT /models/{department}/{name}/card",
        "PUT /models/{department}/{name}/policy",
        "PUT /models/{department}/{name}/policy/paused",
        "PUT /models/{department}/{name}/aliases/{alias}",
    } <= set(changed)
    assert house.services.audit.verify().faults == ()
    wrong = {e.subject for e in house.services.audit.entries(Query()) if not _SUBJECT.fullmatch(e.subject)}
    assert not wrong, "a subject begins with its department, so that the department's owner finds it"


@on_sqlite
def test_an_entry_says_who_from_where_by_which_request(house: House) -> None:
    answer = house.ask("PUT", f"{_PATHS}/aliases/spare", Role.OWNER, json={"version": 2, "why": "to see"})
    (entry,) = house.services.audit.entries(Query(action="alias.move", subject=f"{MODEL}@spare"))
    assert entry.by == "owner-finance"
    assert entry.origin == "127.0.0.1"
    assert entry.request == answer.headers["x-request-id"]
    assert entry.via.startswith("token ")
    assert entry.after == '{"version":2,"why":"to see","cause":"person"}'
    found = house.ask("GET", f"/api/v1/audit?request_id={entry.request}", Role.AUDITOR).json()
    assert [e["number"] for e in found] == [entry.number]


@on_sqlite
def test_data_and_models_leave_no_further_than_the_audit_is_told(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = f"{_PATHS}/versions/1/bundle"
    assert house.ask("GET", address, Role.BUILDER).status_code == 200
    (entry,) = house.services.audit.entries(Query(action="data.read"))
    assert (entry.by, entry.subject) == ("builder-finance", f"{MODEL}/1")

    def fail(*_: object) -> None:
        raise UnavailableError("The disk is full.")

    monkeypatch.setattr(audit, "_chain", fail)
    assert house.ask("GET", address, Role.BUILDER).status_code == 503


@on_sqlite
def test_an_owner_reads_the_own_department_alone(house: House) -> None:
    found = house.ask("GET", f"/api/v1/departments/{HERE}/audit?limit=1000", Role.OWNER).json()
    assert found
    assert {e["subject"].split("/")[0].split("@")[0] for e in found} == {HERE}
    escape = house.ask("GET", f"/api/v1/departments/{HERE}/audit?subject=operations/fuel-cost", Role.OWNER)
    assert escape.json() == []
    assert house.ask("GET", "/api/v1/departments/operations/audit", Role.OWNER).status_code == 404
    assert house.ask("GET", "/api/v1/audit", Role.OWNER).status_code == 403
    assert Need.OVERSEE in MATRIX[Role.AUDITOR]


@on_sqlite
def test_a_role_in_the_department_yard_shows_nothing_of_the_whole_yard(house: House) -> None:
    assert (
        house.ask("POST", "/api/v1/departments", Role.ADMINISTRATOR, json={"name": "yard"}).status_code == 201
    )
    refused = house.ask("GET", "/api/v1/departments/yard/audit", Role.ADMINISTRATOR)
    assert refused.status_code == 403
    assert "yard audit --subject yard" in refused.json()["hint"]


@on_sqlite
def test_filters_take_words_and_nothing_else(house: House) -> None:
    for asked, status in [
        ("subject=%25", 200),
        ("by=' OR 1=1 --", 200),
        ("action=_ersion.", 200),
        ("by=%00", 422),
        ("subject=a%0d%0ab", 422),
        ("limit=1000000000", 422),
        ("below=-1", 422),
        ("since=yesterday", 422),
    ]:
        answer = house.ask("GET", f"/api/v1/audit?{asked}", Role.AUDITOR)
        assert answer.status_code == status, asked
        assert status == 422 or answer.json() == []


@on_sqlite
def test_listing_goes_on_below_a_number_and_the_export_has_all(house: House) -> None:
    whole = house.ask("GET", "/api/v1/audit?limit=1000", Role.AUDITOR).json()
    first = house.ask("GET", "/api/v1/audit?limit=2", Role.AUDITOR).json()
    then = house.ask("GET", f"/api/v1/audit?limit=1000&below={first[-1]['number']}", Role.AUDITOR).json()
    assert first + then == whole
    lines = house.ask("GET", "/api/v1/audit/export?form=json", Role.AUDITOR).content.splitlines()
    assert len(lines) == len(whole) + 1, "and the export itself"
    table = house.ask("GET", "/api/v1/audit/export?subject=finance", Role.AUDITOR)
    assert table.headers["content-type"].startswith("text/csv")
    assert table.text.startswith("number,at,by")


# Verified


def verified(house: House, more: str = "") -> Verified:
    answer = house.ask("GET", f"/api/v1/audit/verify{more}", Role.AUDITOR)
    assert answer.status_code == 200, answer.text
    return msgspec.json.decode(answer.content, type=Verified)


def meddle(database: Database, *statements: str) -> None:
    """What whoever owns the database can do: take the triggers off, and write."""
    off = (
        ["DROP TRIGGER audit_no_UPDATE", "DROP TRIGGER audit_no_DELETE"]
        if database.is_sqlite
        else ["DROP TRIGGER audit_is_kept ON audit"]
    )
    with database.write(unaudited="an attack") as connection:
        for statement in (*off, *statements):
            connection.exec_driver_sql(statement)


def test_66_an_edit_past_the_triggers_shows(house: House, database: Database) -> None:
    assert verified(house).faults == ()
    meddle(database, "UPDATE audit SET by = 'nobody' WHERE number = 3")
    found = verified(house)
    assert [(f.number, f.words) for f in found.faults] == [(3, "is not what was written, or not where")]


def test_66_a_cut_end_shows_by_the_checkpoint_that_then_stays(house: House, database: Database) -> None:
    kept = verified(house)
    assert house.services.audit.advance() == ()
    mark = house.services.audit.checkpoint()
    assert mark is not None
    assert (mark.number, mark.hash) == (kept.entries, kept.hash)
    meddle(
        database,
        "DELETE FROM audit WHERE number > (SELECT number - 2 FROM audit_head)",
        "UPDATE audit_head SET number = number - 2",
        "UPDATE audit_head SET hash = (SELECT hash FROM audit WHERE number = audit_head.number)",
    )
    (fault,) = verified(house).faults
    assert "the end is cut" in fault.words
    for _ in range(4):  # new entries in the place of those that are gone
        house.services.audit.note(by="anna", action="data.read", subject=MODEL)
    assert house.services.audit.advance(), "the checkpoint does not go along"
    assert house.services.audit.checkpoint() == mark
    assert any("written anew" in f.words for f in verified(house).faults)


@on_sqlite
def test_an_auditor_compares_with_a_checkpoint_of_their_own(house: House) -> None:
    kept = verified(house)
    assert verified(house, f"?entries={kept.entries}&hash={kept.hash}").faults == ()
    (fault,) = verified(house, f"?entries={kept.entries}&hash={'0' * 64}").faults
    assert "written anew" in fault.words
    assert house.ask("GET", "/api/v1/audit/verify?entries=3", Role.AUDITOR).status_code == 422


@on_sqlite
def test_checkpoints_follow_while_the_engine_runs(house: House) -> None:
    checkpoints = Checkpoints(house.services.audit, every=0.01)
    checkpoints.start()
    house.services.audit.note(by="anna", action="data.read", subject=MODEL)
    checkpoints.stop()
    mark = house.services.audit.checkpoint()
    assert mark is not None
    assert mark.number == house.services.audit.verify().entries


@on_sqlite
def test_a_damaged_checkpoint_is_told(house: House, tmp_path: Path) -> None:
    (tmp_path / "audit.checkpoint").write_text("{")
    answer = house.ask("GET", "/api/v1/audit/verify", Role.AUDITOR)
    assert answer.status_code == 503
    assert "audit.checkpoint" in answer.json()["detail"]


# What answered at a time


@on_sqlite
def test_what_answered_at_a_time_and_who_put_it_there(house: House) -> None:
    before = datetime.now(UTC)
    house.ask("PUT", f"{_PATHS}/aliases/champion", Role.OWNER, json={"version": 2, "why": "better"})
    after = datetime.now(UTC)

    def at(moment: datetime, more: str = "") -> dict[str, Any]:
        asked = moment.isoformat().replace("+00:00", "")
        answer = house.ask("GET", f"{_PATHS}/answering?at={asked}{more}", Role.VIEWER)
        return answer.json()  # type: ignore[no-any-return]

    old, new = at(before), at(after)
    assert (old["version"], old["promoted_by"], old["aliases"]) == (1, "test", ["champion"])
    assert (new["version"], new["promoted_by"], new["why"]) == (2, "owner-finance", "better")
    assert old["until"] == new["promoted_at"]
    assert new["until"] is None
    entries = {e.number: e for e in house.services.audit.entries(Query())}
    assert entries[new["entry"]].action == "alias.move"
    assert entries[new["published_entry"]].subject == f"{MODEL}/2"
    assert at(after, "&version=1")["aliases"] == []
    assert "pointed to nothing" in at(datetime(2020, 1, 1, tzinfo=UTC))["detail"]
    assert "had no version" in at(datetime(2020, 1, 1, tzinfo=UTC), "&version=1")["detail"]


# Refused attempts


def refusing(house: House) -> Refusals:
    return Refusals(house.services.audit.note_refused, lambda sent: identify(sent, house.table))


def scope(path: str, address: str = "10.0.0.1", token: str = "") -> dict[str, Any]:
    headers = [(b"authorization", f"Bearer {token}".encode())] if token else []
    return {"method": "POST", "path": path, "client": (address, 1), "headers": headers, "state": {}}


@on_sqlite
def test_a_refused_request_reaches_the_audit(house: House) -> None:
    refusals = refusing(house)
    inner = house.app

    async def front(asked: Any, receive: Any, send: Any) -> None:
        await inner({**asked, REFUSED: refusals.note}, receive, send)

    house._client = httpx.AsyncClient(transport=httpx.ASGITransport(front), base_url="http://yard")
    assert house.ask("GET", "/api/v1/models").status_code == 401
    assert house.ask("POST", f"{_PATHS}/rollback", Role.VIEWER, json={}).status_code == 403
    assert house.ask("GET", "/api/v1/models/operations/fuel-cost", Role.OWNER).status_code == 404
    assert house.ask("GET", f"{_PATHS}/versions/99", Role.OWNER).status_code == 404  # a slip, no attempt
    house.services.audit.note_refused(refusals.due(1e12))
    found = house.services.audit.entries(Query(action="request.refuse"))
    assert {(e.by, e.subject) for e in found} == {
        ("", "yard"),
        ("viewer-finance", HERE),
        ("owner-finance", "operations"),
    }
    assert all('"times":1' in (e.after or "") and e.origin == "127.0.0.1" for e in found)
    assert all(e.request for e in found)


@on_sqlite
def test_many_refusals_are_few_entries_and_little_memory(house: House) -> None:
    refusals = refusing(house)
    error = UnauthenticatedError("no")
    for number in range(20_000):
        refusals.note(
            scope(f"/models/a/b{number}/predict", f"10.0.{number % 250}.{number // 250}"), error, "r"
        )
    assert len(refusals._counts) == KINDS + 1
    rows = refusals.due(1e9)
    assert len(rows) == KINDS + 1
    assert sum(row[3]["times"] for row in rows) == 20_000  # type: ignore[index]
    for number in range(1_000):
        refusals.note(scope("/models/a/b/predict", f"10.0.{number % 250}.1"), error, "r")
    assert refusals.due(1e9 + 599) == [], "the second entry of a kind waits"
    assert refusals.due(1e9 + 601)
    refusals.due(1e12)
    assert refusals.due(2e12) == []
    assert not refusals._counts, "and quiet kinds are forgotten"


@on_sqlite
def test_refusals_are_written_when_the_front_ends(house: House) -> None:
    refusals = refusing(house)
    done = threading.Event()

    async def live() -> None:
        task = asyncio.create_task(refusals.run())
        await asyncio.sleep(0)
        refusals.note(
            scope("/models/operations/x/predict", token=house.secrets[Role.CALLER, HERE]),
            ForbiddenError("no"),
            "r1",
        )
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        done.set()

    house.portal.call(live)
    assert done.is_set()
    (entry,) = house.services.audit.entries(Query(action="request.refuse"))
    assert (entry.by, entry.subject, entry.request) == ("caller-finance", "operations", "r1")
