"""The ledger in a browser: a month, its departments, and the sheet as a file."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.browser.conftest import HERE, MODEL, Yard, come_in, watched

pytestmark = [pytest.mark.chromium, pytest.mark.bubblewrap]


def test_from_the_month_to_the_sheet(yard: Yard, browser: Browser, tmp_path: Path) -> None:
    rates = {"currency": "EUR", "cpu_hour": "0.05", "gb_month": "0.02", "since": "2026-01"}
    assert yard.client.put("/api/v1/ledger/rates", json=rates).status_code == 200
    worth = {"kind": "time", "currency": "EUR", "minutes": "3", "hour": "40"}
    assert yard.client.put(f"/api/v1/models/{MODEL}/worth", json=worth).status_code == 200
    context = come_in(browser, yard, "viewer", accept_downloads=True)
    page, said = watched(context)
    page.goto("/ledger")
    page.get_by_role("navigation").get_by_role("link", name="Ledger").first.wait_for()
    value = page.get_by_role("region", name="Value")
    value.get_by_text("an answer saves 3 minutes, an hour is worth 40.00 EUR").wait_for()
    assert page.get_by_role("region", name="Departments").get_by_role("row").count() == 2, HERE
    with page.expect_download() as pdf:
        page.get_by_role("link", name="Report as PDF").click()
    pdf.value.save_as(tmp_path / "sheet.pdf")
    assert (tmp_path / "sheet.pdf").read_bytes().startswith(b"%PDF-")
    page.locator("a[rel=prev]").click()
    page.get_by_text("Nothing was asked in this month.").wait_for()
    assert page.goto("/ledger?month=soon") is not None
    page.get_by_text("is no month").first.wait_for()
    page.goto("/ledger?department=operations")
    page.get_by_text("There is no department operations").first.wait_for()
    context.close()
    assert len([line for line in said if "404" not in line and "422" not in line]) == 0


def test_the_ledger_on_paper(yard: Yard, browser: Browser) -> None:
    """Dark letters whatever the screen has, nothing to click, no table cut off."""
    context = come_in(browser, yard, "viewer", color_scheme="dark")
    page = context.new_page()
    page.goto("/ledger")
    light = "[...getComputedStyle(document.body).color.matchAll(/[0-9.]+/g)].slice(0, 3).map(Number)"
    assert min(page.evaluate(light)) > 128, "on a dark screen letters are light"
    page.emulate_media(media="print")
    assert max(page.evaluate(light)) < 128
    for hidden in ("aside.rail", ".button", "form"):
        assert not any(each.is_visible() for each in page.locator(hidden).all()), hidden
    assert page.get_by_role("heading", name="Departments").is_visible()
    cut = "e => ['overflow', 'overflowX', 'maxHeight'].map((name) => getComputedStyle(e)[name])"
    for table in page.locator(".scroll").all():
        assert table.evaluate(cut) == ["visible", "visible", "none"]
    assert page.pdf(format="A4").startswith(b"%PDF-")
    context.close()
