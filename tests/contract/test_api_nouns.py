"""What each address does, on both databases: models, versions, aliases, tokens, the yard."""

from __future__ import annotations

import io
import tarfile
import time
from collections.abc import Iterator
from concurrent.futures import wait
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from anyio import to_thread
from anyio.from_thread import start_blocking_portal

from modelyard.catalog.people import People
from modelyard.catalog.registry import Registry
from modelyard.records.models import AliasChange, Model, Version
from modelyard.records.people import Grant, NewToken, Role, Token
from tests.bundles import SIGNATURE, TAR, bundle_files, bundle_tar, tar_of
from tests.contract.api_house import MODEL, WORKER, House, stream

VERSIONS = f"/api/v1/models/{MODEL}/versions"
CHAMPION = f"/api/v1/models/{MODEL}/aliases/champion"
AS_TAR = {"Content-Type": TAR}


@pytest.fixture
def house(registry: Registry, people: People, tmp_path: Path) -> Iterator[House]:
    with start_blocking_portal() as portal, House(portal, registry, people, tmp_path) as house:
        yield house


def put(house: House, version: int, who: Role | str = Role.OWNER, alias: str = "champion") -> Any:
    path = f"/api/v1/models/{MODEL}/aliases/{alias}"
    return house.ask("PUT", path, who, json={"version": version, "why": "a try"})


# Models and versions


def test_records_are_serialised_as_they_are(house: House) -> None:
    model = house.ask("GET", f"/api/v1/models/{MODEL}", Role.VIEWER)
    assert msgspec.json.decode(model.content, type=Model) == house.registry.model(MODEL)
    listed = house.ask("GET", VERSIONS, Role.VIEWER)
    assert msgspec.json.decode(listed.content, type=list[Version]) == house.registry.versions(MODEL)
    one = house.ask("GET", f"{VERSIONS}/1", Role.VIEWER)
    assert msgspec.json.decode(one.content, type=Version) == house.registry.version(MODEL, 1)
    history = house.ask("GET", f"/api/v1/models/{MODEL}/history", Role.VIEWER)
    assert msgspec.json.decode(history.content, type=list[AliasChange]) == house.registry.history(MODEL)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (f"{VERSIONS}/7", 404),
        ("/api/v1/models/finance/none", 404),
        ("/api/v1/models/finance/none/versions", 404),
        ("/api/v1/models/finance/none/history", 404),
        (f"{VERSIONS}/0", 422),
        (f"{VERSIONS}/latest", 422),
        (f"{VERSIONS}/1?wait=long", 422),
        (f"{VERSIONS}/1?wait=-1", 422),
        (f"{VERSIONS}/1?wait=61", 422),
        (f"{VERSIONS}/1?wait=nan", 422),
        ("/api/v1/models/finance", 404),
    ],
)
def test_what_is_not_there_is_said_so(house: House, path: str, status: int) -> None:
    answer = house.ask("GET", path, Role.VIEWER)
    assert answer.status_code == status
    assert answer.json()["detail"]


def test_the_log_of_a_failed_check_is_plain_text(house: House) -> None:
    house.publish(MODEL, b"bad", check=False)
    house.registry.checks.start(MODEL, 2)
    house.registry.checks.failed(MODEL, 2, "it does not load", "line\n<script>alert(1)</script>")
    answer = house.ask("GET", f"{VERSIONS}/2/log", Role.VIEWER)
    assert answer.text == "line\n<script>alert(1)</script>"
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"


def test_waiting_ends_when_something_changes(house: House) -> None:
    house.publish(MODEL, b"two", check=False)
    house.registry.checks.start(MODEL, 2)
    waiting = house.portal.start_task_soon(
        lambda: house._client.get(f"{VERSIONS}/2?wait=30", headers=house.signed(Role.VIEWER))
    )
    number = 0
    while not waiting.done():  # what changes before the first look is not seen, so change it until it is
        number += 1
        house.registry.checks.progress(MODEL, 2, f"step {number}")
        wait([waiting], timeout=0.05)
    said = waiting.result().json()
    assert said["state"] == "checking"
    assert said["progress"].startswith("step ")


def test_waiting_ends_at_its_time_and_needs_none_for_what_is_decided(house: House) -> None:
    house.publish(MODEL, b"two", check=False)
    began = time.monotonic()
    assert house.ask("GET", f"{VERSIONS}/2?wait=0.3", Role.VIEWER).json()["state"] == "unchecked"
    assert time.monotonic() - began >= 0.3
    began = time.monotonic()
    assert house.ask("GET", f"{VERSIONS}/1?wait=60", Role.VIEWER).json()["state"] == "checked"
    assert time.monotonic() - began < 30


def test_36_rights_that_go_while_one_waits_are_gone(house: House) -> None:
    house.publish(MODEL, b"two", check=False)
    waiting = house.portal.start_task_soon(
        lambda: house._client.get(f"{VERSIONS}/2?wait=30", headers=house.signed(Role.VIEWER))
    )
    for token in house.people.tokens():
        if token.role is Role.VIEWER:
            house.people.revoke_token(token.id, by="test")
    house.swap()
    assert waiting.result().status_code == 401


def test_36_a_download_is_cut_where_the_rights_go(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = house.services.blobs.open

    def revoked(digest: str) -> Iterator[bytes]:
        house.table = msgspec.structs.replace(house.table, tokens={})
        return opened(digest)

    monkeypatch.setattr(house.services.blobs, "open", revoked)  # the first header has been sent by then
    with pytest.raises(Exception, match="after response started"):
        house.ask("GET", f"{VERSIONS}/1/bundle", Role.BUILDER)


# Publish


def test_publishing_gives_201_then_200_with_the_same_version(house: House) -> None:
    body = bundle_tar(b"new")
    first = house.ask("POST", VERSIONS, Role.BUILDER, content=body, headers=AS_TAR)
    assert first.status_code == 201
    assert first.json() | {"model": MODEL, "version": 2, "state": "unchecked"} == first.json()
    assert first.headers["location"] == f"{VERSIONS}/2"
    assert house.checked == ["finance.fuel-cost.2"]
    packed = tar_of(bundle_files(b"new"), "w:gz")
    again = house.ask(
        "POST", VERSIONS, Role.BUILDER, content=packed, headers={"Content-Type": "application/gzip"}
    )
    assert (again.status_code, again.json()["version"]) == (200, 2)


def test_publishing_in_small_pieces_and_while_the_engine_is_away(house: House) -> None:
    house.engine_away = True
    body = bundle_tar(b"new" * 100_000)
    pieces = [body[i : i + 1000] for i in range(0, len(body), 1000)]
    answer = house.ask("POST", VERSIONS, Role.BUILDER, content=stream(*pieces), headers=AS_TAR)
    assert answer.status_code == 201
    assert [v.version for v in house.registry.checks.due()] == [2]


def test_an_administrator_makes_the_department_by_publishing_others_do_not(house: House) -> None:
    path = "/api/v1/models/marketing/clicks/versions"
    for who in (Role.OWNER, Role.BUILDER, Role.VIEWER):
        answer = house.ask("POST", path, who, content=bundle_tar(), headers=AS_TAR)
        assert answer.status_code == 404
    auditor = house.ask("POST", path, Role.AUDITOR, content=bundle_tar(), headers=AS_TAR)
    assert auditor.status_code == 403
    answer = house.ask("POST", path, Role.ADMINISTRATOR, content=bundle_tar(), headers=AS_TAR)
    assert (answer.status_code, answer.json()["created_by"]) == (201, "administrator-None")


@pytest.mark.parametrize("kind", ["", "application/json", "text/plain", "multipart/form-data"])
def test_an_archive_of_another_kind_is_refused_with_words(house: House, kind: str) -> None:
    headers = {"Content-Type": kind} if kind else {}
    answer = house.ask("POST", VERSIONS, Role.BUILDER, content=bundle_tar(b"new"), headers=headers)
    assert answer.status_code == 415
    assert "application/x-tar" in answer.json()["hint"]
    assert len(house.registry.versions(MODEL)) == 1


def test_a_bundle_over_the_limit_is_refused_before_and_while_it_comes(house: House) -> None:
    declared = ((b"content-type", TAR.encode()), (b"content-length", b"99999999999999"))
    assert house.raw("POST", VERSIONS, Role.BUILDER, headers=declared).status == 413
    pulled = 0

    async def endless() -> Any:
        nonlocal pulled
        while True:
            pulled += 1
            yield bytes(1024 * 1024)

    answer = house.ask("POST", VERSIONS, Role.BUILDER, content=endless(), headers=AS_TAR)
    assert answer.status_code in (400, 413)
    assert pulled < 30
    assert len(house.registry.versions(MODEL)) == 1


@pytest.mark.parametrize("after", [0, 100, 2000])
def test_a_connection_that_ends_leaves_nothing(house: House, tmp_path: Path, after: int) -> None:
    piece = {"type": "http.request", "body": bundle_tar(b"new")[:after], "more_body": True}
    headers = ((b"content-type", TAR.encode()),)
    answer = house.raw("POST", VERSIONS, Role.BUILDER, headers=headers, messages=[piece])
    assert answer.status == 400
    assert len(house.registry.versions(MODEL)) == 1
    assert not list((tmp_path / "scratch").iterdir())


def test_36_a_token_revoked_while_its_bundle_comes_in_publishes_nothing(house: House, tmp_path: Path) -> None:
    body = bundle_tar(b"new" * 500_000)
    ours = next(t for t in house.people.tokens() if (t.role, t.department) == (Role.BUILDER, "finance"))

    async def revoked_half_way() -> Any:
        yield body[:1_200_000]
        await to_thread.run_sync(lambda: house.people.revoke_token(ours.id, by="test"))
        house.swap()
        yield body[1_200_000:]

    answer = house.ask("POST", VERSIONS, Role.BUILDER, content=revoked_half_way(), headers=AS_TAR)
    assert answer.status_code == 401
    assert len(house.registry.versions(MODEL)) == 1
    assert not list((tmp_path / "scratch").iterdir())


def test_a_builder_moves_no_alias_that_is_in_use(house: House) -> None:
    house.registry.set_alias(MODEL, "stable", 1, by="test")
    for alias in ("champion", "stable"):
        path = f"{VERSIONS}?alias={alias}"
        answer = house.ask("POST", path, Role.BUILDER, content=bundle_tar(b"new"), headers=AS_TAR)
        assert answer.status_code == 403, alias
        assert "owner" in answer.json()["detail"]
    assert len(house.registry.versions(MODEL)) == 1
    path = f"{VERSIONS}?alias=fresh&why=a%20try"
    made = house.ask("POST", path, Role.BUILDER, content=bundle_tar(b"new"), headers=AS_TAR)
    assert made.status_code == 201
    house.registry.checks.passed(MODEL, 2, SIGNATURE)
    assert house.registry.model(MODEL).aliases == {"champion": 1, "stable": 1, "fresh": 2}
    assert house.registry.history(MODEL)[0].why == "a try"


def test_a_builder_who_asks_for_champion_cannot_overtake_one_that_comes_meanwhile(house: House) -> None:
    path = "/api/v1/models/finance/fresh/versions?alias=champion"
    for content in (b"one", b"two"):
        answer = house.ask("POST", path, Role.BUILDER, content=bundle_tar(content), headers=AS_TAR)
        assert answer.status_code == 201
    for number in (1, 2):
        house.registry.checks.passed("finance/fresh", number, SIGNATURE)
    assert house.registry.model("finance/fresh").champion == 1


def test_an_owner_publishes_a_champion(house: House) -> None:
    path = f"{VERSIONS}?alias=champion"
    house.ask("POST", path, Role.OWNER, content=bundle_tar(b"new"), headers=AS_TAR)
    house.registry.checks.passed(MODEL, 2, SIGNATURE)
    assert house.registry.model(MODEL).champion == 2


def test_a_downloaded_bundle_publishes_as_the_same_content(house: House) -> None:
    answer = house.ask("GET", f"{VERSIONS}/1/bundle", Role.BUILDER)
    assert answer.headers["content-disposition"] == 'attachment; filename="finance.fuel-cost.1.tar"'
    assert int(answer.headers["content-length"]) == len(answer.content)
    with tarfile.open(fileobj=io.BytesIO(answer.content)) as tar:
        found = {m.name: tar.extractfile(m).read() for m in tar}  # type: ignore[union-attr]
    assert found == bundle_files(b"one")
    again = house.ask("POST", VERSIONS, Role.BUILDER, content=answer.content, headers=AS_TAR)
    assert (again.status_code, again.json()["version"]) == (200, 1)


def test_15_a_damaged_file_is_never_sent_whole(house: House, tmp_path: Path) -> None:
    file = next(f for f in house.registry.files(MODEL, 1) if f.path == "model.rds")
    stored = next(p for p in (tmp_path / "blobs").rglob(f"*{file.digest[2:]}*") if p.is_file())
    stored.chmod(0o600)
    stored.write_bytes(b"x" * file.size)
    with pytest.raises(Exception, match="after response started"):
        house.ask("GET", f"{VERSIONS}/1/bundle", Role.BUILDER)


# Aliases


def test_promote_roll_back_and_the_history_of_it(house: House) -> None:
    house.publish(MODEL, b"two")
    change = put(house, 2)
    assert change.status_code == 200
    assert change.json() | {"before": 1, "after": 2, "by": "owner-finance", "why": "a try"} == change.json()
    assert house.warmed == ["finance.fuel-cost.2"]
    assert house.table.models[MODEL].aliases == {"champion": 2}
    back = house.ask("POST", f"/api/v1/models/{MODEL}/rollback", Role.OWNER, json={"why": "worse"})
    assert (back.status_code, back.json()["after"]) == (200, 1)
    assert house.warmed[1:] == ["finance.fuel-cost.1"]
    assert house.table.models[MODEL].aliases == {"champion": 1}
    said = house.ask("GET", f"/api/v1/models/{MODEL}/history", Role.VIEWER).json()
    assert [(h["before"], h["after"], h["why"]) for h in said[:2]] == [(2, 1, "worse"), (1, 2, "a try")]


def test_what_the_state_does_not_allow_is_409_and_warms_nothing(house: House) -> None:
    house.publish(MODEL, b"two", check=False)
    assert put(house, 2).status_code == 409
    assert house.ask("POST", f"/api/v1/models/{MODEL}/rollback", Role.OWNER, json={}).status_code == 409
    assert house.ask("DELETE", CHAMPION, Role.OWNER).status_code == 409
    assert put(house, 9).status_code == 404
    assert house.warmed == []


def test_an_alias_does_not_move_to_a_version_that_cannot_start(house: House) -> None:
    house.publish(MODEL, b"two")
    house.engine_away = True
    answer = put(house, 2)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert house.registry.model(MODEL).champion == 1


def test_other_aliases_come_and_go(house: House) -> None:
    assert put(house, 1, alias="stable").status_code == 200
    dropped = house.ask("DELETE", f"/api/v1/models/{MODEL}/aliases/stable?why=old", Role.OWNER)
    assert dropped.json() | {"alias": "stable", "before": 1, "after": None, "why": "old"} == dropped.json()
    assert house.ask("DELETE", f"/api/v1/models/{MODEL}/aliases/stable", Role.OWNER).status_code == 404


def test_a_kept_change_that_not_all_fronts_know_is_202_not_an_error(house: House) -> None:
    put(house, 1, alias="stable")
    house.engine_away = True
    answer = house.ask("DELETE", f"/api/v1/models/{MODEL}/aliases/stable", Role.OWNER)
    assert (answer.status_code, answer.json()["after"]) == (202, None)


# Tokens


def make(house: House, who: Role | str, role: str, department: str | None = "finance", **more: Any) -> Any:
    path = f"/api/v1/departments/{department}/tokens" if department else "/api/v1/tokens"
    return house.ask("POST", path, who, json={"name": "app", "principal": "gate", "role": role, **more})


def test_a_token_works_at_once_and_ends_at_once(house: House) -> None:
    answer = make(house, Role.OWNER, "caller")
    assert answer.status_code == 201
    made = msgspec.json.decode(answer.content, type=NewToken)
    assert (made.token.principal, made.token.created_by) == ("gate", "owner-finance")
    me = house.ask("GET", "/api/v1/whoami", made.secret)
    grant = msgspec.json.decode(me.content, type=Grant)
    assert grant == Grant("gate", Role.CALLER, "finance", made.token.id)
    path = f"/api/v1/departments/finance/tokens/{made.token.id}"
    revoked = house.ask("DELETE", path, Role.OWNER)
    assert msgspec.json.decode(revoked.content, type=Token).revoked_at is not None
    assert house.ask("GET", "/api/v1/whoami", made.secret).status_code == 401


def test_lists_of_tokens_have_no_secrets(house: House) -> None:
    secret = make(house, Role.OWNER, "caller").json()["secret"]
    own = house.ask("GET", "/api/v1/departments/finance/tokens", Role.OWNER)
    assert {t["department"] for t in own.json()} == {"finance"}
    everything = house.ask("GET", "/api/v1/tokens", Role.ADMINISTRATOR)
    assert {t["department"] for t in everything.json()} == {"finance", "operations", None}
    assert secret not in own.text + everything.text


def test_42_a_token_of_another_department_is_not_revoked(house: House) -> None:
    other = next(t for t in house.people.tokens(frozenset({"operations"})))
    path = f"/api/v1/departments/finance/tokens/{other.id}"
    assert house.ask("DELETE", path, Role.OWNER).status_code == 404
    assert house.people.token(other.id).revoked_at is None
    assert house.ask("DELETE", f"/api/v1/tokens/{other.id}", Role.ADMINISTRATOR).status_code == 200


@pytest.mark.parametrize("role", ["administrator", "auditor"])
def test_48_no_token_is_wider_than_its_maker(house: House, role: str) -> None:
    assert make(house, Role.OWNER, role).status_code == 422
    assert make(house, Role.OWNER, role, None).status_code == 403
    assert make(house, Role.OWNER, "caller", "operations").status_code == 404
    assert make(house, Role.BUILDER, "caller").status_code == 403


def test_48_no_token_lives_longer_than_its_maker(house: House) -> None:
    maker = house.token(Role.OWNER, "finance", timedelta(days=2))
    house.swap()
    assert make(house, maker, "caller", expires_in_days=3).status_code == 403
    for days in (None, 1):
        made = msgspec.json.decode(make(house, maker, "caller", expires_in_days=days).content, type=NewToken)
        assert made.token.expires_at is not None
        assert made.token.expires_at - made.token.created_at <= timedelta(days=2)


def test_49_the_last_administrator_stays(house: House) -> None:
    mine = next(t for t in house.people.tokens() if t.role is Role.ADMINISTRATOR)
    assert house.ask("DELETE", f"/api/v1/tokens/{mine.id}", Role.ADMINISTRATOR).status_code == 409
    assert house.ask("GET", "/api/v1/tokens", Role.ADMINISTRATOR).status_code == 200


@pytest.mark.parametrize("days", [0, -1, 1e9, "1"])
def test_a_time_that_cannot_be_is_refused(house: House, days: Any) -> None:
    assert make(house, Role.OWNER, "caller", expires_in_days=days).status_code == 422


# The yard


def test_the_yard_says_what_it_is(house: House) -> None:
    said = house.ask("GET", "/api/v1/yard", Role.VIEWER).json()
    assert said | {"version": "1.2.3", "ready": True, "reason": "", "models": 1, "versions": 1} == said
    workers = house.ask("GET", "/api/v1/workers", Role.ADMINISTRATOR)
    assert workers.json() == [msgspec.to_builtins(WORKER)]


def test_probes_are_open(house: House) -> None:
    assert house.ask("GET", "/health/live").json() == {"status": "live"}
    assert house.ask("GET", "/health/ready").json() == {"status": "ready"}


def test_the_description_names_every_address_and_only_problems_as_errors(house: House) -> None:
    schema = house.ask("GET", "/api/openapi.json", Role.VIEWER).json()
    assert schema["openapi"].startswith("3.1")
    assert "/models/{department}/{name}/predict" in schema["paths"]
    for path, item in schema["paths"].items():
        for method, operation in item.items():
            assert operation["summary"], (path, method)
            assert operation["x-need"], (path, method)
            assert "400" not in operation["responses"]
            problem = operation["responses"]["default"]["content"]["application/problem+json"]
            assert problem["schema"] == {"$ref": "#/components/schemas/Problem"}
    publish = schema["paths"]["/api/v1/models/{department}/{name}/versions"]["post"]
    assert "application/x-tar" in publish["requestBody"]["content"]
