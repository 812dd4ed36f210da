"""Pages with what nobody wishes for: very wide signatures, very long names, odd filters."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from typing import Any

import httpx
import pytest
from anyio.from_thread import start_blocking_portal

from modelyard.catalog.people import People
from modelyard.catalog.registry import Registry
from modelyard.records.people import Role
from modelyard.records.policies import Level
from modelyard.records.predictions import Finding
from modelyard.records.signatures import MAX_COLUMN_NAME, Column, ColumnType, Signature
from modelyard.store import watch
from modelyard.store.blobs import Blobs
from modelyard.store.database import Database
from modelyard.web.behind import Behind
from modelyard.web.pages import create_pages
from modelyard.web.pulse import Pulse
from modelyard.web.site import Site
from tests.bundles import TAR, bundle_tar
from tests.contract.api_house import HERE
from tests.contract.test_web_policies import Visitors, _ask, _nothing

WIDE = "finance/wide"
MOST_BYTES = 250_000  # of a page with all it needs, compressed
LONG = '"><script>alert(1)</script>' + "x" * (MAX_COLUMN_NAME - 30)
NOW = datetime(2026, 3, 31, tzinfo=UTC)


def wide_signature() -> Signature:
    """500 columns: one has 5,000 levels, one as many categories, one a name as long as names may be."""
    many = tuple(f"category {n}" for n in range(5_000))
    columns = [Column(f"column {n}", ColumnType.FLOAT64, low=0.0, high=float(n)) for n in range(300)]
    columns += [Column(f"levels {n}", ColumnType.STRING, levels=many[:n]) for n in range(1, 198)]
    columns.append(Column("all levels", ColumnType.STRING, levels=many))
    columns.append(Column("seen", ColumnType.STRING, categories=many))
    columns.append(Column(LONG, ColumnType.STRING, example=LONG * 9))
    return Signature(tuple(columns), (Column("prediction", ColumnType.FLOAT64),))


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visitors]:
    """A house with a model of 500 columns."""
    folder = tmp_path_factory.mktemp("bad")
    database = Database(f"sqlite:///{folder / 'yard.sqlite'}")
    database.upgrade()
    registry = Registry(database, Blobs(str(folder / "blobs")), folder / "scratch")

    def pages() -> Any:
        behind = Behind(pulse=Pulse(_nothing), ask=_ask, max_body=1000, site=Site("http://yard"))
        return create_pages(behind)

    with start_blocking_portal() as portal:
        made = Visitors(portal, registry, People(database), folder, pages)
        for content in (b"one", b"two"):
            version, _ = registry.publish(WIDE, [bundle_tar(content)], TAR, by="test")
            registry.checks.start(WIDE, version.version)
            registry.checks.passed(WIDE, version.version, wide_signature())
        made.come_in()
        with made:
            yield made
    database.close()


class _Elements(HTMLParser):
    """Which elements a page has, and how deep they go wrong."""

    def __init__(self) -> None:
        super().__init__()
        self.scripts: list[str | None] = []
        self.handlers: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note scripts and handlers."""
        if tag == "script":
            self.scripts.append(dict(attrs).get("src"))
        self.handlers += [name for name, _ in attrs if name.startswith("on") or name == "style"]


def is_clean(page: str) -> bool:
    """Whether all scripts are our own files and no element has a handler or a style."""
    found = _Elements()
    found.feed(page)
    return all(src and src.startswith("/static/") for src in found.scripts) and not found.handlers


def weight(answer: httpx.Response) -> int:
    """Bytes of a page on the wire."""
    return len(gzip.compress(answer.content, 5))


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/versions",
        "/versions/1",
        "/compare?v=1&v=2",
        "/try",
        "/performance",
        "/drift",
        "/refits",
        "/rollout",
    ],
)
def test_pages_of_500_columns_and_5000_categories_stay_small(house: Visitors, path: str) -> None:
    answer = house.go("GET", f"/models/{WIDE}{path}", Role.OWNER, HERE)
    assert answer.status_code == 200, answer.text
    assert weight(answer) < MOST_BYTES - 60_000  # script, style and htmx take the rest
    assert is_clean(answer.text)
    assert "<script>alert(1)" not in answer.text


def test_the_values_of_a_column_with_5000_are_searched_for(house: Visitors) -> None:
    answer = house.go("GET", f"/models/{WIDE}/try/values?field=c497&c497=499", Role.OWNER, HERE)
    assert answer.status_code == 200
    assert answer.text.count("<option") <= 20
    assert "category 499" in answer.text


def hostile_finding(words: str) -> Finding:
    return Finding(
        WIDE, 1, "drift", Level.HIGH, words, NOW - timedelta(days=1), NOW, NOW, NOW, words,
        caller=words, slices=(words,), callers=0.5,
    )  # fmt: skip


def test_50_findings_with_scripts_in_every_text_are_told_as_words(house: Visitors) -> None:
    words = '"><img src=x onerror=alert(1)>' + "y" * 10_000
    database = house.registry._database
    with database.write(unaudited="a test") as connection:
        kept = watch.notice(connection, hostile_finding(words))
        watch.acknowledge(connection, kept.id, words)
    own = f"/models/{WIDE}"
    for path in ("/watch?state=all", f"{own}/findings/{kept.id}", f"{own}/drift", own):
        answer = house.go("GET", path, Role.OWNER, HERE)
        assert answer.status_code == 200, (path, answer.text)
        assert is_clean(answer.text), path
        assert "<img" not in answer.text.replace('<img src="/static', ""), path
        assert len(answer.content) < 60_000, path


@pytest.mark.parametrize(
    "query",
    [
        "state=none&level=worst&page=x", "page=0", "page=99999999999999999999", "department=%00",
        "model=%27%20OR%201", "model=" + "a" * 5_000, "department=%25",
        "level=high&state=over&page=3", "state=all&state=open",
    ],
)  # fmt: skip
def test_a_filter_that_means_nothing_is_no_fault(house: Visitors, query: str) -> None:
    answer = house.go("GET", f"/watch?{query}", Role.OWNER, HERE)
    assert answer.status_code == 200
    assert is_clean(answer.text)


def test_a_time_that_means_nothing_is_the_usual_one(house: Visitors) -> None:
    for path in ("performance?days=", "performance?days=9e9", "drift?days=x&column=", "refits?start=-1"):
        assert house.go("GET", f"/models/{WIDE}/{path}", Role.VIEWER, HERE).status_code == 200


@pytest.mark.parametrize("number", ["0", "x", "99999999999999999999", "%2e%2e", "1%00"])
def test_no_finding_is_not_found_or_refused(house: Visitors, number: str) -> None:
    answer = house.go("GET", f"/models/{WIDE}/findings/{number}", Role.OWNER, HERE)
    assert answer.status_code in (404, 422)


def test_a_finding_of_another_department_looks_like_none(house: Visitors) -> None:
    with house.registry._database.write(unaudited="a test") as connection:
        other = watch.notice(connection, Finding(
            "operations/fuel-cost", 1, "drift", Level.HIGH, "secret words", NOW, NOW, NOW, NOW, "x",
        ))  # fmt: skip
    for path in (f"/models/operations/fuel-cost/findings/{other.id}", f"/models/{WIDE}/findings/{other.id}"):
        assert house.go("GET", path, Role.OWNER, HERE).status_code == 404
    assert "secret words" not in house.go("GET", "/watch?state=all", Role.OWNER, HERE).text
    assert "secret words" in house.go("GET", "/watch?state=all", Role.ADMINISTRATOR, None).text
    post = house.go("POST", f"/models/{WIDE}/findings/{other.id}/acknowledge", Role.OWNER, HERE)
    assert post.status_code == 404


def test_search_finds_nothing_that_one_may_not_see(house: Visitors) -> None:
    found = house.go("GET", "/?q=owner", Role.OWNER, HERE).text
    assert "owner-finance" in found
    assert "owner-operations" not in found
    assert "owner-finance" not in house.go("GET", "/?q=owner", Role.VIEWER, HERE).text
    assert "owner-operations" in house.go("GET", "/?q=owner", Role.AUDITOR, None).text
