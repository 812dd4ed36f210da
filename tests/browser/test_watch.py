"""The Watch in a browser: who looks at what, charts with their tables, columns, search, bad input."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import AT_SEA, DATASET, MODEL, Yard, come_in, watched

pytestmark = [pytest.mark.chromium, pytest.mark.bubblewrap, pytest.mark.usefixtures("at_sea")]
ROOT = f"/models/{AT_SEA}"
HOSTILE = '<script>alert(1)</script>"><img src=x onerror=alert(2)>'
GIB = 1 << 30


@pytest.fixture
def owner(yard: Yard, browser: Browser) -> Iterator[Page]:
    """A page of an owner, on which no script of others runs."""
    context = come_in(browser, yard, "owner")
    page, said = watched(context)
    page.on("dialog", lambda dialog: said.append(f"a script ran: {dialog.message}"))
    yield page
    context.close()
    assert [line for line in said if "status of 4" not in line] == []


def test_an_owner_finds_a_finding_from_home_looks_at_it_and_it_is_no_longer_open(owner: Page) -> None:
    owner.goto("/")
    owner.get_by_role("region", name="Needs attention").get_by_role(
        "link", name=re.compile("^distance")
    ).click()
    expect(owner.get_by_role("heading", name="distance: values have moved")).to_be_visible()
    expect(owner.get_by_text("gate-screens").first).to_be_visible()
    expect(owner.get_by_role("img", name=re.compile("Distribution of distance"))).to_be_visible()
    owner.get_by_text("As a table").click()
    expect(owner.get_by_role("region", name="distance, then and now").get_by_role("row")).to_have_count(25)
    owner.get_by_role("button", name=re.compile("Acknowledge finding")).click()
    expect(owner.get_by_text("Acknowledged by owner-anna.")).to_be_visible()
    owner.goto("/watch")
    expect(owner.get_by_role("link", name=re.compile("^distance"))).to_have_count(0)
    owner.get_by_role("link", name=re.compile("^Acknowledged")).click()
    expect(owner.get_by_role("row", name=re.compile("distance.*owner-anna"))).to_be_visible()


def test_the_list_is_filtered_and_keeps_its_filter_when_one_looks_at_something(owner: Page) -> None:
    owner.goto("/watch")
    owner.get_by_label("Level from").select_option("medium")
    owner.get_by_label("Model").fill(AT_SEA)
    owner.get_by_role("button", name="Show").click()
    owner.wait_for_url(re.compile("level=medium"))
    before = owner.get_by_role("row").count()
    owner.get_by_role("row", name=re.compile("carrier")).get_by_role("button").click()
    expect(owner.get_by_role("row")).to_have_count(before - 1)
    assert "level=medium" in owner.url
    owner.get_by_label("Model").fill("finance/none")
    owner.get_by_role("button", name="Show").click()
    expect(owner.get_by_text("Nothing new.")).to_be_visible()
    owner.get_by_role("link", name=re.compile("^Over")).click()
    expect(owner.get_by_role("heading", name="No such finding")).to_be_visible()


def test_charts_of_performance_have_versions_intervals_and_a_table(owner: Page) -> None:
    owner.goto(f"{ROOT}/performance?days=365")
    chart = owner.get_by_role("img", name=re.compile("^mae from .* measured on .* estimated on .* refit"))
    expect(chart).to_be_visible()
    expect(chart.get_by_text("v2", exact=True)).to_be_visible()
    assert chart.locator("polygon.band").count() >= 1
    assert chart.locator("polygon.band.estimated").count() >= 1
    expect(owner.get_by_text(re.compile("estimates have earned trust"))).to_be_visible()
    owner.get_by_text("mae as a table").click()
    table = owner.get_by_role("region", name="mae by day")
    assert table.get_by_role("row").count() > 350
    expect(table.get_by_role("row").nth(1)).to_contain_text("estimated")
    expect(owner.get_by_role("row", name=re.compile("carrier=AA")).first).to_contain_text("worse")


def test_columns_are_compared_with_training_or_with_the_last_good_day(owner: Page) -> None:
    owner.goto(f"{ROOT}/drift")
    expect(owner.get_by_text("beside the data it was trained on, finance/flights/3")).to_be_visible()
    moved = owner.get_by_role("row", name=re.compile(r"^distance")).last
    expect(moved).to_contain_text("sd")
    far = float(moved.get_by_role("cell").first.inner_text())
    owner.get_by_role("link", name=re.compile("^the last good day")).click()
    expect(owner.get_by_text(re.compile("beside .*, the last good day"))).to_be_visible()
    near = float(
        owner.get_by_role("row", name=re.compile(r"^distance")).last.get_by_role("cell").first.inner_text()
    )
    assert near < 0.05 < far


def test_a_viewer_sees_what_moved_but_no_distribution_and_no_button(
    yard: Yard, at_sea: int, browser: Browser
) -> None:
    context = come_in(browser, yard, "viewer")
    page, said = watched(context)
    page.goto(f"{ROOT}/drift")
    expect(page.get_by_text("is for builders and owners of finance")).to_be_visible()
    assert page.locator("svg.distributions, table.values").count() == 0
    page.goto(f"{ROOT}/findings/{at_sea}")
    expect(page.get_by_role("heading", name="distance: values have moved")).to_be_visible()
    assert page.get_by_role("button", name=re.compile("Acknowledge")).count() == 0
    assert page.locator("svg.distributions").count() == 0
    page.goto("/")
    assert page.get_by_role("heading", name="Needs attention").count() == 0
    context.close()
    assert not said


def test_the_search_finds_models_datasets_and_people(owner: Page) -> None:
    owner.goto("/")
    owner.get_by_label("Search models").fill("fuel")
    owner.wait_for_url(re.compile("q=fuel"))
    expect(owner.get_by_role("link", name=DATASET, exact=True)).to_be_visible()
    owner.get_by_label("Search models").fill("viewer-anna")
    expect(owner.get_by_text("No model has “viewer-anna”")).to_be_visible()
    owner.get_by_role("link", name="viewer-anna").click()
    owner.wait_for_url(re.compile("/people/finance"))


def test_who_vouches_for_a_version_and_what_its_pickles_call_is_told(owner: Page) -> None:
    owner.goto(f"{ROOT}/versions/1")
    expect(owner.get_by_text("bundle signed by this yard")).to_be_visible()
    expect(owner.get_by_text("No pickle is among its files.")).to_be_visible()
    owner.goto(f"{ROOT}/versions/1/scan")
    expect(owner.get_by_text("No pickle is among its files.")).to_be_visible()


def test_who_may_read_a_dataset_is_listed(owner: Page) -> None:
    owner.goto(f"/datasets/{DATASET}")
    who = owner.locator("#who")
    expect(who).to_contain_text("owner-anna")
    expect(who).to_contain_text("builder of finance")
    expect(who).not_to_contain_text("viewer-anna")


FORMS = (
    "/", "/start", "/watch", "/people", "/people/finance", "/users", "/me", "/audit", "/alerts",
    f"/models/{MODEL}/card", f"/models/{MODEL}/versions/2", f"/models/{MODEL}/try", f"{ROOT}/rollout",
    f"/models/{MODEL}/history", f"/datasets/{DATASET}", f"/datasets/{DATASET}/changes?a=1&b=2",
)  # fmt: skip


TEXT = "input:not([type]), input[type=search], textarea"
_WITH_TEXT = """text => [...document.querySelectorAll("main form")]
    .map((form, i) => form.checkVisibility() && !form.dataset.file && form.querySelector(text) ? i : -1)
    .filter(i => i >= 0)"""


def test_50_a_script_in_every_text_field_is_text(yard: Yard, browser: Browser) -> None:
    context = come_in(browser, yard, "administrator")
    page, said = watched(context)
    page.on("dialog", lambda dialog: said.append(f"a script ran: {dialog.message}"))
    sent = 0
    for address in FORMS:
        page.goto(address)
        for number in page.evaluate(_WITH_TEXT, TEXT):
            _send_hostile(page, address, number)
            sent += 1
    for address in FORMS:
        page.goto(address)
        assert page.locator("img[src=x], script:not([src])").count() == 0, address
    context.close()
    assert sent >= 15
    assert [line for line in said if "status of 4" not in line] == []


def _send_hostile(page: Page, address: str, number: int) -> None:
    """Fill the text fields of a page's form with a script and send it."""
    page.goto(address)
    form = page.locator("main form").nth(number)
    for field in form.locator(TEXT).all():
        field.evaluate(
            "(field, text) => { field.removeAttribute('maxlength'); field.value = text; }", HOSTILE
        )
    with page.expect_response(lambda answer: "/static/" not in answer.url):
        form.evaluate("form => form.requestSubmit()")
    page.wait_for_load_state()
    page.wait_for_function("!document.querySelector('.htmx-request')")
    assert page.locator("img[src=x], script:not([src])").count() == 0, address


def drop(page: Page, script: str) -> None:
    """Drop a file, which a script makes, on the page of Try it."""
    page.goto(f"/models/{MODEL}/try")
    page.evaluate(
        f"""() => {{ const data = new DataTransfer(); data.items.add({script});
        document.querySelector(".drop").dispatchEvent(new DragEvent("drop", {{ dataTransfer: data }})); }}"""
    )


def test_a_csv_of_one_gigabyte_is_read_part_by_part_and_can_be_stopped(owner: Page) -> None:
    """It is made of one part many times over, so nobody holds it in memory: the page must not, either."""
    part = f'new Blob(["7,DL,{"x" * 10_000}\\n".repeat(400)])'
    parts = f"Array({GIB // 4_000_000}).fill({part})"
    drop(owner, f'new File(["distance,carrier,note\\n", ...{parts}], "big.csv")')
    out = owner.locator("form[data-file] output")
    expect(out).to_contain_text(re.compile(r"big\.csv: [1-9][0-9]? %"))
    owner.get_by_role("button", name="Stop").click()
    expect(owner.locator("form[data-file] .note.bad")).to_contain_text("Stopped.")
    expect(owner.locator("form[data-file] .note.bad")).to_contain_text(re.compile(r"\d+ parts were answered"))
    heap = owner.evaluate("performance.memory.usedJSHeapSize")
    assert heap < 300e6


def test_one_gigabyte_that_is_no_csv_is_refused_after_its_first_part(owner: Page) -> None:
    drop(owner, f'new File(Array({GIB // 4_000_000}).fill(new Blob(["x".repeat(4e6)])), "big.csv")')
    expect(owner.locator("form[data-file] .note.bad")).to_contain_text("Is this a CSV file?")
