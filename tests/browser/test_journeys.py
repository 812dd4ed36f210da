"""What people do in the browser, by role: look, try, publish a card, promote, give a token, sign in again."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.browser.conftest import MODEL, Yard, bundle, come_in, keep, new_context, watched
from tests.journeys.running import publish

pytestmark = [pytest.mark.chromium, pytest.mark.bubblewrap]
ROOT = f"/models/{MODEL}"
HOSTILE = '<script>alert(1)</script>"><img src=x onerror=alert(2)>'


@pytest.fixture
def owner(yard: Yard, browser: Browser) -> Iterator[Page]:
    """A page of an owner, whose console says nothing."""
    yield from _page_of(come_in(browser, yard, "owner"))


@pytest.fixture
def caller(yard: Yard, browser: Browser) -> Iterator[Page]:
    """A page of a caller."""
    yield from _page_of(come_in(browser, yard, "caller"))


def _page_of(context: BrowserContext) -> Iterator[Page]:
    page, said = watched(context)
    page.on("dialog", lambda dialog: said.append(f"a script ran: {dialog.message}"))
    yield page
    context.close()
    assert [line for line in said if "status of 4" not in line] == []


def test_a_caller_finds_a_model_and_tries_it(caller: Page) -> None:
    caller.goto("/")
    caller.get_by_label("Search models").fill("fuel")
    caller.wait_for_url(re.compile("q=fuel"))
    caller.get_by_role("link", name="fuel-cost", exact=True).click()
    caller.get_by_role("link", name="Try it").first.click()
    caller.get_by_label("distance").fill("100")
    caller.get_by_label("carrier").select_option("UA")
    caller.get_by_role("button", name="Predict").click()
    expect(caller.locator("#answer b")).to_have_text("201")
    expect(caller.locator("pre[aria-label=curl]")).to_contain_text('"distance": 100.0')
    caller.get_by_role("tab", name="Julia").click()
    expect(caller.locator("pre[aria-label=Julia]")).to_contain_text('"carrier" => "UA"')
    keep(caller, "answer")
    caller.get_by_label("distance").fill("far")
    caller.get_by_role("button", name="Predict").click()
    expect(caller.get_by_role("alert")).to_contain_text("must be a number")
    expect(caller.get_by_label("distance")).to_have_value("far")


def test_the_form_works_without_javascript_and_without_a_mouse(yard: Yard, browser: Browser) -> None:
    context = new_context(browser, yard, java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{ROOT}/try")
    page.get_by_text("Use a token").press("Enter")
    page.get_by_label("Token", exact=True).fill(yard.secrets["caller"])
    page.keyboard.press("Enter")
    page.wait_for_url(f"**{ROOT}/try")
    page.get_by_label("distance").fill("100")
    page.keyboard.press("Enter")
    expect(page.locator("#answer b")).to_have_text("201")
    expect(page.locator("pre[aria-label=Python]")).to_be_visible()
    context.close()


def test_a_model_is_tried_with_keys_alone(caller: Page) -> None:
    """Each thing to click is reached by Tab and shows that it has the focus; languages by arrows."""
    seen = """() => { const e = document.activeElement, s = getComputedStyle(e);
        return [e.getAttribute("role") || e.tagName, s.outlineStyle + s.boxShadow]; }"""

    def tab_to(role: str) -> None:
        for _ in range(80):
            caller.keyboard.press("Tab")
            what, ring = caller.evaluate(seen)
            assert ring != "nonenone", (what, "does not show that it has the focus")
            if what == role:
                return
        pytest.fail(f"no {role} is reached")

    caller.goto(f"{ROOT}/try")
    caller.keyboard.press("Tab")
    expect(caller.get_by_role("link", name="To the content")).to_be_focused()
    caller.keyboard.press("Enter")
    caller.get_by_label("distance").focus()
    caller.keyboard.press("Control+A")
    caller.keyboard.type("100")
    caller.keyboard.press("Enter")
    expect(caller.locator("#answer b")).to_have_text("201")
    expect(caller.get_by_role("tab", selected=True)).to_be_visible()
    tab_to("tab")
    first = caller.get_by_role("tab", selected=True).inner_text()
    caller.keyboard.press("ArrowRight")
    chosen = caller.get_by_role("tab", selected=True)
    expect(chosen).to_be_focused()
    assert chosen.inner_text() != first
    expect(caller.locator(f"pre[aria-label={chosen.inner_text()}]")).to_be_visible()
    tab_to("BUTTON")


def test_a_file_of_rows_is_answered_in_parts_and_downloaded(caller: Page, tmp_path: Path) -> None:
    rows = tmp_path / "rows.csv"
    many = 400_000
    rows.write_text('distance,carrier,note\n100,UA,"two\nlines, one row"\n' + "7,DL,plain and long\n" * many)
    assert rows.stat().st_size > 4 * 1024 * 1024
    caller.goto(f"{ROOT}/try")
    caller.get_by_label("Drop a CSV").set_input_files(rows)
    link = caller.get_by_role("link", name="Download the answers")
    expect(link).to_be_visible()
    expect(caller.get_by_role("cell", name="two lines, one row")).to_be_visible()
    keep(caller, "file")
    with caller.expect_download() as coming:
        link.click()
    answers = coming.value.path().read_text()
    assert coming.value.suggested_filename == "rows-predictions.csv"
    assert answers.count("15.0\n") == many
    assert answers.count("prediction") == 1
    assert '"two\nlines, one row",201.0' in answers


def test_a_file_that_does_not_fit_is_told_why(caller: Page, tmp_path: Path) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text("distance\n100\n")
    caller.goto(f"{ROOT}/try")
    caller.get_by_label("Drop a CSV").set_input_files(rows)
    expect(caller.locator("form[data-file] .note.bad")).to_contain_text("carrier")


def test_50_an_owner_writes_the_card_and_no_script_of_it_runs(owner: Page) -> None:
    owner.goto(ROOT)
    owner.get_by_role("link", name=re.compile("the card")).click()
    text = (
        f"# Purpose\n\n{HOSTILE}\n\n[a link](javascript:alert(3)) ![x](http://127.0.0.1:1/x.png)\n\n* [ ] one"
    )
    owner.get_by_role("textbox").fill(text)
    owner.get_by_role("button", name="Keep the card").click()
    owner.wait_for_url(f"**{ROOT}")
    expect(owner.get_by_role("heading", name="Purpose")).to_be_visible()
    assert owner.locator(".prose img, .prose script, .prose a[href^=javascript]").count() == 0
    expect(owner.locator(".prose")).to_contain_text("<script>alert(1)</script>")


def test_a_card_written_by_command_is_on_the_page(yard: Yard, owner: Page, tmp_path: Path) -> None:
    file = tmp_path / "card.md"
    file.write_text("## By command\n\n| a | b |\n|---|---|\n| 1 | 2 |\n")
    told = {"YARD_URL": yard.url, "YARD_TOKEN": yard.secrets["builder"]}
    command = [sys.executable, "-m", "modelyard.cli", "card", MODEL]
    run = partial(subprocess.run, env={**os.environ, **told}, capture_output=True, text=True, check=True)
    assert "is kept, from version" in run([*command, str(file)]).stderr
    assert run(command).stdout.startswith("## By command")
    owner.goto(ROOT)
    expect(owner.locator(".prose").get_by_role("cell", name="2")).to_be_visible()


def test_an_owner_promotes_with_a_reason_and_rolls_back(owner: Page) -> None:
    owner.goto(f"{ROOT}/versions")
    owner.get_by_role("button", name="Compare the two ticked").click()
    expect(owner.get_by_role("row", name=re.compile("mae"))).to_contain_text("9.1 % better")
    owner.goto(f"{ROOT}/versions/2")
    owner.get_by_label("Why").fill(HOSTILE)
    owner.get_by_role("button", name="Promote now").click()
    owner.wait_for_url(f"**{ROOT}")
    expect(owner.locator(".top")).to_contain_text("version 2 is in use, set just now by owner-anna: <script>")
    owner.get_by_role("link", name="History").click()
    owner.get_by_role("button", name="Roll back").click()
    expect(owner.locator(".top")).to_contain_text("version 1 is in use")
    keep(owner, "history-told")


def test_an_owner_gives_a_token_and_takes_it_back(owner: Page, yard: Yard, browser: Browser) -> None:
    owner.goto("/people")
    owner.locator("#principal").fill(HOSTILE)
    owner.get_by_label("What the token is for").fill("gate screens")
    owner.locator("#days").fill("none")
    owner.get_by_role("button", name="Make the token").click()
    expect(owner.get_by_role("alert")).to_contain_text("days")
    expect(owner.locator("#principal")).to_have_value(HOSTILE)
    owner.locator("#days").fill("7")
    owner.get_by_role("button", name="Make the token").click()
    secret = owner.get_by_label("Token", exact=True).inner_text()
    context = come_in(browser, yard._replace(secrets={"guest": secret}), "guest")
    page = context.new_page()
    page.goto(ROOT)
    revoke = owner.get_by_role("button", name=re.compile("Revoke the token gate screens"))
    revoke.click()
    expect(revoke).to_have_count(0)
    page.goto(ROOT)
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    context.close()


def test_a_session_that_ends_in_mid_form_keeps_what_was_typed(yard: Yard, browser: Browser) -> None:
    context = come_in(browser, yard, "owner")
    page = context.new_page()
    page.goto(f"{ROOT}/card")
    page.get_by_role("textbox").fill("# Typed for an hour\n\nand <kept>")
    context.clear_cookies()
    page.get_by_role("button", name="Keep the card").click()
    expect(page.get_by_text("Your session has ended")).to_be_visible()
    keep(page, "session-ended")
    page.get_by_text("Use a token").click()
    page.get_by_label("Token", exact=True).fill("yard_wrong")
    page.get_by_role("button", name="Sign in with the token").click()
    expect(page.get_by_role("alert")).to_contain_text("unknown")
    page.get_by_label("Token", exact=True).fill(yard.secrets["owner"])
    page.get_by_role("button", name="Sign in with the token").click()
    page.get_by_role("button", name="Send it now").click()
    page.wait_for_url(f"**{ROOT}")
    expect(page.locator(".prose")).to_contain_text("Typed for an hour")
    context.close()


def test_numbers_move_without_a_reload_and_the_stream_ends_with_the_rights(
    yard: Yard, browser: Browser
) -> None:
    context = come_in(browser, yard, "viewer")
    page = context.new_page()
    page.goto(ROOT)
    asked = page.locator("[data-fact=asked]")
    before = asked.inner_text()
    answer = yard.client.post(f"{ROOT}/predict", json=[{"distance": 1, "carrier": "UA"}])
    assert answer.status_code == 200
    expect(asked).not_to_have_text(before)
    context.close()


def test_a_viewer_sees_and_is_offered_nothing_that_is_not_theirs(yard: Yard, browser: Browser) -> None:
    context = come_in(browser, yard, "viewer")
    page = context.new_page()
    page.goto(f"{ROOT}/versions/2")
    assert page.get_by_role("button", name="Promote now").count() == 0
    assert page.get_by_role("link", name="Try it").count() == 0
    assert page.get_by_role("link", name="Yard", exact=True).count() == 0
    for address in (f"{ROOT}/try", "/yard", "/people/finance"):
        answer = page.goto(address)
        assert answer is not None
        assert answer.status == 403
        expect(page.get_by_role("heading", name="Not allowed")).to_be_visible()
    for address in ("/models/operations/any", "/nowhere", "/people/operations"):
        answer = page.goto(address)
        assert answer is not None
        assert answer.status == 404
    keep(page, "not-found")
    context.close()


def test_a_version_in_check_and_one_that_failed_are_told(yard: Yard, owner: Page) -> None:
    bad = bundle(3, 1.0).replace(b"    return [2.0", b"    raise X(2.0")
    record = publish(yard.client, "finance/broken", bad)
    assert record["state"] == "failed"
    owner.goto("/models/finance/broken/versions/1")
    expect(owner.get_by_text("It failed its check, so it answers nothing.")).to_be_visible()
    keep(owner, "failed")
    owner.goto("/models/finance/broken/try")
    expect(owner.get_by_text("cannot be asked")).to_be_visible()
    owner.goto("/models/finance/broken")
    expect(owner.locator(".top")).to_contain_text("no version is in use")
