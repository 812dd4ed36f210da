"""The audit in a browser: an auditor filters, verifies and exports; who may not, sees no such page."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.conftest import HERE, MODEL, Yard, come_in, keep, watched

pytestmark = pytest.mark.chromium


def test_an_auditor_filters_verifies_and_exports(yard: Yard, browser: Browser, tmp_path: Path) -> None:
    evil = {"text": "<img src=x onerror=alert(1)> \u202e =1+1"}
    card = f"/api/v1/models/{MODEL}/card"
    assert yard.client.put(card, json=evil).status_code in (200, 201)
    context = come_in(browser, yard, "auditor", viewport={"width": 1360, "height": 850})
    page, said = watched(context)
    page.goto("/")
    page.get_by_role("navigation", name="Places").get_by_role("link", name="Audit").first.click()
    expect(page.get_by_role("heading", name="Audit")).to_be_visible()
    page.get_by_label("Did what").fill("card.")
    page.get_by_label("To what").fill(HERE)
    page.get_by_role("button", name="Show").click()
    rows = page.get_by_role("region", name="Entries").locator("tbody tr")
    expect(rows).to_have_count(1)
    rows.first.locator("summary").click()
    expect(rows.first.locator("details p").first).to_contain_text("<img src=x onerror=alert(1)>")
    keep(page, "audit-filtered")
    with page.expect_download() as coming:
        page.get_by_role("link", name="Export as CSV").click()
    coming.value.save_as(tmp_path / "audit.csv")
    lines = (tmp_path / "audit.csv").read_text().splitlines()
    assert len(lines) == 2
    assert "card.write" in lines[1]
    page.get_by_role("button", name="Verify").click()
    expect(page.get_by_role("status")).to_contain_text("The audit is what was written.")
    keep(page, "audit-verified")
    page.goto("/audit?since=yesterday")
    expect(page.get_by_role("alert")).to_contain_text("cannot be read")
    context.close()
    assert [text for text in said if "422" not in text] == []


def test_the_audit_is_not_there_for_an_owner(yard: Yard, browser: Browser) -> None:
    context = come_in(browser, yard, "owner")
    page = context.new_page()
    page.goto("/")
    assert page.get_by_role("link", name="Audit").count() == 0
    answer = page.goto("/audit")
    assert answer is not None
    assert answer.status == 403
    context.close()
