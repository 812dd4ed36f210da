"""Data in a browser: profiles, what changed, and marks that keep columns back until somebody is cleared."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.conftest import DATASET, MODEL, Yard, come_in, watched

pytestmark = [pytest.mark.chromium, pytest.mark.bubblewrap]


def test_an_owner_clears_a_person_and_revokes_it(yard: Yard, browser: Browser) -> None:
    owner = come_in(browser, yard, "owner")
    page, said = watched(owner)
    page.goto("/")
    page.get_by_role("link", name="Data").click()
    page.get_by_role("link", name=DATASET).click()
    row = page.get_by_role("row", name="pilot")
    expect(row).to_contain_text("kept back by its mark")
    page.get_by_role("link", name="Look at rows").click()
    expect(page.get_by_text("kept back by marks: pilot")).to_be_visible()
    assert "Pilot 1" not in page.content()
    page.goto(f"/datasets/{DATASET}")
    page.get_by_label("Person or service").fill("owner-anna")
    page.get_by_role("button", name="Give the clearance").click()
    expect(page.get_by_role("row", name="owner-anna")).to_contain_text("personal columns")
    page.get_by_role("link", name="Look at rows").click()
    expect(page.get_by_text("Pilot 1", exact=True)).to_be_visible()
    page.goto(f"/datasets/{DATASET}")
    page.get_by_role("button", name="Revoke the clearance of owner-anna").click()
    expect(page.get_by_text("Nobody has a clearance")).to_be_visible()
    page.goto(f"/datasets/{DATASET}/versions/1/rows")
    assert "Pilot 1" not in page.content()
    assert not said
    owner.close()


def test_what_changed_is_shown_and_a_wrong_key_is_said(yard: Yard, browser: Browser) -> None:
    builder = come_in(browser, yard, "builder")
    page, said = watched(builder)
    page.goto(f"/datasets/{DATASET}")
    page.get_by_role("link", name="What changed").click()
    page.get_by_label("Rows are known by").fill("flight")
    page.get_by_role("button", name="Compare").click()
    expect(page.get_by_role("row", name="cost")).to_contain_text("moved")
    expect(page.get_by_text("Matched by flight.")).to_be_visible()
    page.get_by_label("Rows are known by").fill("pilot")
    page.get_by_role("button", name="Compare").click()
    expect(page.get_by_role("alert")).to_contain_text("pilot")
    assert [line for line in said if "422" not in line] == []
    builder.close()


def test_who_may_only_see_gets_no_rows(yard: Yard, browser: Browser) -> None:
    viewer = come_in(browser, yard, "viewer")
    page, _ = watched(viewer)
    page.goto(f"/datasets/{DATASET}")
    expect(page.get_by_text("You see that it is there")).to_be_visible()
    assert "UA" not in page.content()
    answer = page.goto(f"/datasets/{DATASET}/versions/1/rows")
    assert answer is not None
    assert answer.status == 403
    viewer.close()


def test_a_builder_looks_at_an_alert(yard: Yard, browser: Browser) -> None:
    owner = come_in(browser, yard, "owner")
    page, said = watched(owner)
    page.goto("/alerts")
    failed = page.get_by_role("link", name="Job 1 failed: <b>no</b> rows")
    expect(failed).to_have_attribute("href", f"/models/{MODEL}/jobs/1")
    expect(page.get_by_role("row", name="hook")).to_contain_text("hooks.example.org")
    assert "s3cret" not in page.content()
    page.get_by_role("button", name="Acknowledge alert").click()
    expect(page.get_by_text("Nothing needs anybody at the moment.")).to_be_visible()
    page.get_by_text("1 acknowledged or over").click()
    expect(page.get_by_text("acknowledged by owner-anna")).to_be_visible()
    assert not said
    owner.close()
