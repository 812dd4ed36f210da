"""The registry, on SQLite and PostgreSQL: publishing, checks, aliases, and many at once."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import pytest
from sqlalchemy import event

from modelyard.catalog.bundles import Limits
from modelyard.catalog.people import People, hash_secret
from modelyard.catalog.registry import Registry
from modelyard.records.errors import ConflictError, InvalidError, MalformedError, NotFoundError, TooLargeError
from modelyard.records.models import Version, VersionState
from modelyard.records.people import Role
from modelyard.records.references import CHAMPION, Reference
from modelyard.store import departments
from modelyard.store.blobs import Blobs
from modelyard.store.database import Database
from tests.bundles import SIGNATURE, TAR, bundle_files, bundle_tar, tar_of
from tests.contract.conftest import Bucket

T = TypeVar("T")
MODEL = "finance/fuel-cost"


def publish(registry: Registry, content: int = 1, model: str = MODEL, **more: object) -> Version:
    given = {"by": "anna", "may_create_department": True} | more
    return registry.publish(model, [bundle_tar(b"%d" % content)], TAR, **given)[0]  # type: ignore[arg-type]


def checked(registry: Registry, content: int, model: str = MODEL, **more: object) -> Version:
    version = publish(registry, content, model, **more)
    registry.checks.start(model, version.version)
    return registry.checks.passed(model, version.version, SIGNATURE)


# Publishing


def test_a_version_is_kept(registry: Registry) -> None:
    before = datetime.now(UTC)
    version, is_new = registry.publish(MODEL, [bundle_tar()], TAR, by="anna", may_create_department=True)
    assert is_new
    assert (version.model, version.version, version.id) == (MODEL, 1, "finance.fuel-cost.1")
    assert (version.state, version.created_by, version.aliases) == (VersionState.UNCHECKED, "anna", ())
    assert before <= version.created_at <= datetime.now(UTC)
    assert version.size == sum(map(len, bundle_files().values()))
    assert version.bundle.metrics == {"mae": 12.1}
    assert version == registry.version(MODEL, 1)
    assert {f.path: f.size for f in registry.files(MODEL, 1)} == {
        p: len(d) for p, d in bundle_files().items()
    }


def test_the_files_come_back_as_they_were(registry: Registry, tmp_path: Path) -> None:
    registry.lay_out(publish(registry), tmp_path / "laid-out")
    assert {p.name: p.read_bytes() for p in (tmp_path / "laid-out").iterdir()} == bundle_files(b"1")


def test_nothing_is_left_in_scratch(registry: Registry, tmp_path: Path) -> None:
    publish(registry)
    with pytest.raises(MalformedError):
        registry.publish(MODEL, [bundle_tar()[:1000]], TAR, by="anna")
    assert list((tmp_path / "scratch").iterdir()) == []


def test_what_a_dead_process_left_in_scratch_is_removed_a_day_later(
    registry: Registry, tmp_path: Path
) -> None:
    for name, age in (("publish-old", 48), ("publish-new", 1)):
        (tmp_path / "scratch" / name).mkdir(parents=True)
        then = time.time() - age * 3600
        os.utime(tmp_path / "scratch" / name, (then, then))
    publish(registry)
    assert [p.name for p in (tmp_path / "scratch").iterdir()] == ["publish-new"]


def test_the_same_content_is_the_same_version(registry: Registry) -> None:
    first = publish(registry)
    version, is_new = registry.publish(
        MODEL, [tar_of(bundle_files(b"1"), "w:gz")], "application/gzip", by="bert"
    )
    assert not is_new
    assert (version.version, version.created_by, version.state) == (1, "anna", VersionState.UNCHECKED)
    assert version.digest == first.digest
    assert publish(registry, 2).version == 2
    assert publish(registry, 1, "finance/other").version == 1  # another model has versions of its own


def test_a_failed_version_published_again_is_due_again(registry: Registry) -> None:
    publish(registry)
    registry.checks.failed(MODEL, 1, "R is not installed here", "no R")
    again = publish(registry)
    assert (again.version, again.state, again.reason, again.log) == (1, VersionState.UNCHECKED, "", "")
    assert [v.version for v in registry.checks.due()] == [1]


def test_the_same_content_changes_no_alias(registry: Registry) -> None:
    checked(registry, 1)
    checked(registry, 2)
    again = publish(registry, 2, alias=CHAMPION)
    assert again.version == 2
    assert registry.model(MODEL).champion == 1


def test_a_refused_bundle_leaves_nothing(registry: Registry, tmp_path: Path) -> None:
    small = Registry(registry._database, registry._blobs, tmp_path / "scratch", Limits(total=50))
    for attempt, archive in ((small, bundle_tar()), (registry, tar_of({"model.rds": b"alone"}))):
        with pytest.raises((InvalidError, TooLargeError)):
            attempt.publish(MODEL, [archive], TAR, by="anna", may_create_department=True)
    assert registry.models() == []
    with pytest.raises(NotFoundError):
        registry.model(MODEL)
    assert list(Blobs(str(tmp_path / "blobs")).digests()) == []


def test_a_department_is_made_by_those_who_may(registry: Registry, database: Database) -> None:
    def unread() -> Iterator[bytes]:
        pytest.fail("the body was read")
        yield b""  # type: ignore[unreachable] # makes it a generator

    with pytest.raises(NotFoundError, match="There is no model finance/fuel-cost"):
        registry.publish(MODEL, unread(), TAR, by="anna")
    publish(registry)
    publish(registry, 2, "finance/another", may_create_department=False)
    with database.read() as connection:
        assert departments.names(connection) == ["finance"]


NAMES = [
    "",
    "/",
    "a/",
    "/b",
    "a",
    "a/b/c",
    "a//b",
    "../b",
    "a/..",
    "A/b",
    "a/B",
    "a%2fb/c",
    "a/b\n",
    "a/b\0",
    "é/b",
]


@pytest.mark.parametrize("name", [*NAMES, "a/b@champion", "a/" + "b" * 64, "\u0430/b", "a" * 200_000 + "/b"])
def test_hardening_1_to_6_what_is_no_name(registry: Registry, name: str) -> None:
    calls: list[Callable[[], object]] = [
        lambda: publish(registry, 1, name),
        lambda: registry.version(name, 1),
        lambda: registry.versions(name),
        lambda: registry.history(name),
        lambda: registry.set_alias(name, CHAMPION, 1, by="anna"),
        lambda: registry.rollback(name, by="anna"),
        lambda: registry.checks.start(name, 1),
    ]
    for call in calls:
        with pytest.raises(InvalidError) as raised:
            call()
        assert len(str(raised.value)) < 500
        assert str(raised.value).isprintable()


@pytest.mark.parametrize("number", [0, -1, 2, 2**31, 2**63, 10**30])
def test_versions_that_are_not_there(registry: Registry, number: int) -> None:
    publish(registry)
    for call in (registry.version, registry.files, registry.checks.start):
        with pytest.raises(NotFoundError, match=f"no version {number}"):
            call(MODEL, number)


@pytest.mark.parametrize("why", ["a\x1b[31mred", "a\0b", "x" * 3000, "\u202eright to left"])
def test_hardening_65_a_reason_that_is_no_words(registry: Registry, why: str) -> None:
    checked(registry, 1)
    with pytest.raises(InvalidError, match="reason"):
        registry.set_alias(MODEL, "old", 1, by="anna", why=why)
    with pytest.raises(InvalidError, match="reason"):
        publish(registry, 2, alias="old", why=why)


# Checks


def test_a_check_that_passes(registry: Registry) -> None:
    publish(registry)
    assert [v.version for v in registry.checks.due()] == [1]
    assert registry.checks.start(MODEL, 1).state is VersionState.CHECKING
    registry.checks.progress(MODEL, 1, "building the environment\nstep 2")
    assert registry.version(MODEL, 1).progress == "building the environment step 2"
    assert [v.version for v in registry.checks.due()] == [1]  # left behind, if this engine dies
    version = registry.checks.passed(MODEL, 1, SIGNATURE, "portable", "answers are equal")
    assert (version.state, version.progress) == (VersionState.CHECKED, "")
    assert (version.form, version.form_reason) == ("portable", "answers are equal")
    assert version.bundle.signature == SIGNATURE
    assert version.aliases == (CHAMPION,)
    assert registry.checks.due() == []
    registry.checks.progress(MODEL, 1, "too late")
    assert registry.version(MODEL, 1).progress == ""


def test_a_portable_form_and_from_how_many_rows_on_the_native_one_answers(
    registry: Registry, tmp_path: Path
) -> None:
    version = checked(registry, 1)
    (tmp_path / "model.onnx").write_bytes(b"small")
    before = registry.generation()
    registry.forms.go_portable(version, tmp_path, ("model.onnx",), "equal", 1_000)
    version = registry.version(MODEL, 1)
    assert (version.form, version.form_reason, version.native_from) == ("portable", "equal", 1_000)
    assert registry.generation() > before
    table = registry.route_table()
    served = table.served("finance.fuel-cost.1")
    assert served is not None
    assert (served.form, served.native_from) == ("portable", 1_000)
    many = table.served("finance.fuel-cost.1.many")
    assert many == served.for_many_rows
    assert (many.id, many.form, many.native_from) == ("finance.fuel-cost.1.many", "native", 0)
    registry.forms.stay_native(version, "it does not start")
    assert registry.version(MODEL, 1).native_from == 0
    assert registry.route_table().served("finance.fuel-cost.1.many") is None


def test_a_check_that_fails(registry: Registry) -> None:
    publish(registry)
    registry.checks.start(MODEL, 1)
    log = "begin" + "x" * 100_000 + "\0 caf\udce9 the end"
    version = registry.checks.failed(MODEL, 1, "The model did not load.", log)
    assert (version.state, version.reason) == (VersionState.FAILED, "The model did not load.")
    assert len(version.log) == 65_536
    assert version.log.endswith("\ufffd caf? the end")
    assert version.aliases == ()
    assert registry.model(MODEL).champion is None
    assert registry.checks.due() == []


def test_a_check_ends_once(registry: Registry) -> None:
    checked(registry, 1)
    generation = registry.generation()
    assert registry.checks.passed(MODEL, 1, SIGNATURE).state is VersionState.CHECKED
    assert registry.generation() == generation
    with pytest.raises(ConflictError, match="it is checked"):
        registry.checks.failed(MODEL, 1, "late")
    publish(registry, 2)
    registry.checks.failed(MODEL, 2, "first")
    assert registry.checks.failed(MODEL, 2, "again").reason == "first"
    for call in (registry.checks.start, lambda m, n: registry.checks.passed(m, n, SIGNATURE)):
        with pytest.raises(ConflictError, match="it is failed"):
            call(MODEL, 2)


def test_checks_due_oldest_first_of_all_models(registry: Registry) -> None:
    for content, model in ((1, "b/b"), (2, "a/a"), (3, "b/b")):
        publish(registry, content, model)
    assert [v.id for v in registry.checks.due()] == ["b.b.1", "a.a.1", "b.b.2"]


def test_the_first_checked_version_is_champion_and_later_ones_are_not(registry: Registry) -> None:
    publish(registry, 1)
    checked(registry, 2)
    registry.checks.passed(MODEL, 1, SIGNATURE)
    checked(registry, 3)
    assert registry.model(MODEL).champion == 2
    assert [(c.before, c.after, c.by) for c in registry.history(MODEL)] == [(None, 2, "anna")]


def test_the_alias_asked_for_is_set_with_the_check(
    registry: Registry, database_url: str, tmp_path: Path
) -> None:
    checked(registry, 1)
    publish(registry, 2, alias=CHAMPION, why="better on the holdout", by="bert")
    assert registry.model(MODEL).champion == 1
    database = Database(database_url)  # as after a restart
    again = Registry(database, registry._blobs, tmp_path / "scratch")
    assert again.checks.passed(MODEL, 2, SIGNATURE).aliases == (CHAMPION,)
    change = again.history(MODEL)[0]
    assert (change.before, change.after, change.by, change.why) == (1, 2, "bert", "better on the holdout")
    database.close()


def test_an_alias_asked_for_beside_the_first_champion(registry: Registry) -> None:
    assert checked(registry, 1, alias="candidate").aliases == ("candidate", CHAMPION)
    assert registry.model(MODEL).aliases == {"candidate": 1, CHAMPION: 1}


def test_a_slow_check_does_not_take_the_alias_from_a_newer_version(registry: Registry) -> None:
    checked(registry, 1)
    publish(registry, 2, alias=CHAMPION)
    publish(registry, 3, alias=CHAMPION)
    registry.checks.passed(MODEL, 3, SIGNATURE)
    registry.checks.passed(MODEL, 2, SIGNATURE)
    assert registry.model(MODEL).champion == 3


def test_checks_in_order_move_the_alias_each_time(registry: Registry) -> None:
    checked(registry, 1)
    publish(registry, 2, alias=CHAMPION)
    publish(registry, 3, alias=CHAMPION)
    registry.checks.passed(MODEL, 2, SIGNATURE)
    registry.checks.passed(MODEL, 3, SIGNATURE)
    assert [c.after for c in registry.history(MODEL)] == [3, 2, 1]


def test_a_slow_check_does_not_undo_a_rollback(registry: Registry) -> None:
    checked(registry, 1)
    checked(registry, 2, alias=CHAMPION)
    publish(registry, 3, alias=CHAMPION)
    registry.rollback(MODEL, by="owner")
    registry.checks.passed(MODEL, 3, SIGNATURE)
    assert registry.model(MODEL).champion == 1


# Aliases


def test_aliases_and_their_history(registry: Registry) -> None:
    for content in (1, 2):
        checked(registry, content)
    registry.set_alias(MODEL, "shadow", 1, by="anna", why="try\n it ")
    registry.set_alias(MODEL, "shadow", 2, by="bert")
    dropped = registry.drop_alias(MODEL, "shadow", by="carl", why="done")
    assert (dropped.before, dropped.after) == (2, None)
    told = [(c.alias, c.before, c.after, c.by, c.why) for c in registry.history(MODEL)]
    assert told == [
        ("shadow", 2, None, "carl", "done"),
        ("shadow", 1, 2, "bert", ""),
        ("shadow", None, 1, "anna", "try it"),
        (CHAMPION, None, 1, "anna", "the first version that passed its check"),
    ]
    with pytest.raises(NotFoundError, match="no alias shadow"):
        registry.drop_alias(MODEL, "shadow", by="carl")


def test_setting_what_already_is_changes_nothing(registry: Registry) -> None:
    checked(registry, 1)
    first = registry.set_alias(MODEL, "shadow", 1, by="anna", why="first")
    generation = registry.generation()
    assert registry.set_alias(MODEL, "shadow", 1, by="bert", why="again") == first
    assert registry.generation() == generation
    assert len(registry.history(MODEL)) == 2


def test_only_checked_versions_have_aliases(registry: Registry) -> None:
    publish(registry, 1)
    with pytest.raises(ConflictError, match="not checked yet"):
        registry.set_alias(MODEL, CHAMPION, 1, by="anna")
    registry.checks.failed(MODEL, 1, "no")
    with pytest.raises(ConflictError, match="failed its check"):
        registry.set_alias(MODEL, CHAMPION, 1, by="anna")
    assert registry.history(MODEL) == []


def test_the_champion_cannot_be_dropped(registry: Registry) -> None:
    checked(registry, 1)
    with pytest.raises(ConflictError, match="answers through its champion"):
        registry.drop_alias(MODEL, CHAMPION, by="anna")


def test_rollback_goes_further_back_each_time(registry: Registry) -> None:
    for content in (1, 2, 3):
        checked(registry, content, alias=CHAMPION)
    for expected in (2, 1):
        assert registry.rollback_target(MODEL) == expected
        change = registry.rollback(MODEL, by="anna", why="errors")
        assert (change.before, change.after, change.why) == (expected + 1, expected, "errors")
    for call in (lambda: registry.rollback(MODEL, by="anna"), lambda: registry.rollback_target(MODEL)):
        with pytest.raises(ConflictError, match="no other champion before"):
            call()
    assert registry.model(MODEL).champion == 1


def test_references(registry: Registry) -> None:
    checked(registry, 1)
    checked(registry, 2)
    registry.set_alias(MODEL, "shadow", 2, by="anna")
    for text, number in ((MODEL, 1), (f"{MODEL}@champion", 1), (f"{MODEL}@shadow", 2), (f"{MODEL}/2", 2)):
        assert registry.resolve(Reference.parse(text)).version == number
    for text in ("no/where", "no/where@x", "no/where/1", f"{MODEL}@none", f"{MODEL}/3", "finance/none"):
        with pytest.raises(NotFoundError):
            registry.resolve(Reference.parse(text))
    publish(registry, 1, "finance/unchecked")
    with pytest.raises(NotFoundError, match="no champion yet"):
        registry.resolve(Reference.parse("finance/unchecked"))


def test_lists(registry: Registry) -> None:
    for content, model in ((1, "b/b"), (2, "a-b/c"), (3, "a/z"), (4, "b/b")):
        checked(registry, content, model)
    assert [m.model for m in registry.models()] == ["a-b/c", "a/z", "b/b"]
    assert [m.model for m in registry.models(frozenset({"a", "b"}))] == ["a/z", "b/b"]
    assert registry.models(frozenset()) == []
    found = registry.model("b/b")
    assert (found.latest, found.champion, found.aliases) == (2, 1, {CHAMPION: 1})
    assert (found.language, found.description, found.created_by) == ("r", "what fuel costs", "anna")
    assert found == registry.models()[-1]
    assert [(v.version, v.aliases) for v in registry.versions("b/b")] == [(2, ()), (1, (CHAMPION,))]


# Routes


def test_the_route_table(registry: Registry, people: People) -> None:
    checked(registry, 1)
    publish(registry, 2)
    publish(registry, 3, "finance/unchecked")
    made = people.create_token("app", "booking", Role.CALLER, "finance", by="anna")
    gone = people.create_token("old", "booking", Role.CALLER, "finance", by="anna")
    people.revoke_token(gone.token.id, by="anna")
    table = registry.route_table()
    assert table.generation == registry.generation()
    assert table.models["finance/unchecked"].champion is None
    champion = table.models[MODEL].champion
    assert champion is not None
    assert (champion.id, champion.language, champion.signature) == ("finance.fuel-cost.1", "r", SIGNATURE)
    assert set(table.models[MODEL].versions) == {1}
    assert set(table.tokens) == {hash_secret(made.secret)}
    grant = table.tokens[hash_secret(made.secret)]
    assert (grant.principal, grant.role, grant.department) == ("booking", Role.CALLER, "finance")


def test_the_generation_grows_with_what_changes_routes_alone(registry: Registry, people: People) -> None:
    seen = [registry.generation()]

    def grew() -> bool:
        seen.append(registry.generation())
        return seen[-1] > seen[-2]

    publish(registry, 1)
    assert grew()  # a new model
    registry.checks.start(MODEL, 1)
    registry.checks.progress(MODEL, 1, "…")
    assert not grew()
    registry.checks.passed(MODEL, 1, SIGNATURE)
    assert grew()
    publish(registry, 2)
    registry.checks.failed(MODEL, 2, "no")
    assert not grew()
    for change in (
        lambda: registry.set_alias(MODEL, "shadow", 1, by="anna"),
        lambda: registry.drop_alias(MODEL, "shadow", by="anna"),
        lambda: people.create_token("app", "app", Role.CALLER, "finance", by="anna"),
        lambda: people.revoke_token(1, by="anna"),
    ):
        change()
        assert grew()
    registry.route_table()
    assert not grew()


# Many at once


def at_once(count: int, act: Callable[[int], T]) -> list[T | ConflictError]:
    """The results, or errors, of calls that begin together."""
    start = threading.Barrier(count)

    def run(number: int) -> T | ConflictError:
        start.wait()
        try:
            return act(number)
        except ConflictError as error:
            return error

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


def test_the_same_content_at_once_is_one_version(registry: Registry) -> None:
    def act(_: int) -> tuple[int, bool]:
        version, is_new = registry.publish(MODEL, [bundle_tar()], TAR, by="a", may_create_department=True)
        return version.version, is_new

    assert sorted(at_once(4, act)) == [(1, False), (1, False), (1, False), (1, True)]  # type: ignore[type-var]
    assert len(registry.versions(MODEL)) == 1


def test_other_content_at_once_has_numbers_of_its_own(registry: Registry) -> None:
    at_once(6, lambda content: publish(registry, content))
    assert [v.version for v in registry.versions(MODEL)] == [6, 5, 4, 3, 2, 1]


def test_promotions_at_once_leave_one_unbroken_history(registry: Registry) -> None:
    for content in range(4):
        checked(registry, content)
    at_once(4, lambda n: registry.set_alias(MODEL, CHAMPION, n + 1, by="anna"))
    changes = registry.history(MODEL)[::-1]
    assert [c.before for c in changes[1:]] == [c.after for c in changes[:-1]]
    assert registry.model(MODEL).champion == changes[-1].after


def test_rollbacks_at_once_go_back_one_step_each(registry: Registry) -> None:
    for content in (1, 2, 3):
        checked(registry, content, alias=CHAMPION)
    results = at_once(3, lambda _: registry.rollback(MODEL, by="anna"))
    assert sum(isinstance(r, ConflictError) for r in results) == 1
    assert [c.after for c in registry.history(MODEL)][:2] == [1, 2]


def _publish_in_process(url: str, folder: str) -> tuple[int, bool]:
    database = Database(url)
    try:
        registry = Registry(database, Blobs(f"{folder}/blobs"), Path(folder) / "scratch")
        version, is_new = registry.publish(MODEL, [bundle_tar()], TAR, by="a", may_create_department=True)
        return version.version, is_new
    finally:
        database.close()


def test_two_processes_publish_at_once(database_url: str, tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        results = pool.starmap(_publish_in_process, [(database_url, str(tmp_path))] * 4, chunksize=1)
        pool.close()
        pool.join()
    assert sorted(results) == [(1, False), (1, False), (1, False), (1, True)]


# With a bucket, and in quantity


def test_with_blobs_in_a_bucket(database: Database, s3: Bucket, tmp_path: Path) -> None:
    registry = Registry(database, Blobs(f"{s3.url}/{tmp_path.name}", s3.options), tmp_path / "scratch")
    registry.lay_out(publish(registry), tmp_path / "laid-out")
    assert {p.name: p.read_bytes() for p in (tmp_path / "laid-out").iterdir()} == bundle_files(b"1")


def test_a_thousand_models_are_read_in_as_few_statements_as_three(
    registry: Registry, database: Database
) -> None:
    """Counted and not timed: some statements for each kind of row, however many rows there are."""
    statements: list[str] = []
    registry.generation()
    assert database._engines is not None
    event.listen(
        database._engines.writer, "before_cursor_execute", lambda *a: statements.append(a[2]), named=False
    )
    counts = []
    for begin in (0, 3):
        for number in range(begin, begin + 3):
            checked(registry, number, f"finance/model-{number}")
        statements.clear()
        registry.route_table()
        counts.append(len([s for s in statements if s.startswith("SELECT")]))
    assert counts[0] == counts[1]
    assert counts[0] < 20
