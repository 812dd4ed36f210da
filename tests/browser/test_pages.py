"""Every page in a real browser: no serious fault of access, no console error, light, dark and on a phone."""

from __future__ import annotations

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser

from tests.browser.conftest import AT_SEA, DATASET, MODEL, Yard, come_in, keep, watched

pytestmark = [pytest.mark.chromium, pytest.mark.bubblewrap]

PAGES = {
    "home": "/",
    "start": "/start",
    "model": f"/models/{MODEL}",
    "card": f"/models/{MODEL}/card",
    "versions": f"/models/{MODEL}/versions",
    "version": f"/models/{MODEL}/versions/2",
    "compare": f"/models/{MODEL}/compare?v=1&v=2",
    "try": f"/models/{MODEL}/try",
    "rollout": f"/models/{MODEL}/rollout",
    "history": f"/models/{MODEL}/history",
    "alerts": "/alerts",
    "ledger": "/ledger",
    "watch": "/watch",
    "watch-all": "/watch?state=all&level=medium",
    "finding": f"/models/{AT_SEA}/findings/{{finding}}",
    "overview": f"/models/{AT_SEA}",
    "performance": f"/models/{AT_SEA}/performance?days=365",
    "drift": f"/models/{AT_SEA}/drift",
    "refits": f"/models/{AT_SEA}/refits",
    "rolling": f"/models/{AT_SEA}/rollout",
    "search": "/?q=fin",
    "datasets": "/datasets",
    "dataset": f"/datasets/{DATASET}",
    "dataset-rows": f"/datasets/{DATASET}/versions/1/rows",
    "dataset-changes": f"/datasets/{DATASET}/changes?a=1&b=2&key=flight",
    "people": "/people",
    "department": "/people/finance",
    "audit": "/audit",
    "yard": "/yard",
    "users": "/users",
    "me": "/me",
}
PHONE = {"width": 390, "height": 844}
MOST_BYTES = 250_000


@pytest.mark.parametrize(
    ("look", "options"),
    [
        ("light", {"viewport": {"width": 1360, "height": 850}}),
        ("dark", {"viewport": {"width": 1360, "height": 850}, "color_scheme": "dark"}),
        ("phone", {"viewport": PHONE}),
    ],
)
def test_every_page_has_no_serious_fault_and_no_console_error(
    yard: Yard, at_sea: int, browser: Browser, look: str, options: dict[str, object]
) -> None:
    context = come_in(browser, yard, "administrator", **options)
    page, said = watched(context)
    faults = []
    for name, address in PAGES.items():
        answer = page.goto(address.replace("{finding}", str(at_sea)))
        assert answer is not None
        assert answer.status == 200, (name, answer.status)
        keep(page, f"{name}-{look}")
        found = Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
        faults += [
            (name, f["id"], f["nodes"][0]["html"]) for f in found if f["impact"] in ("serious", "critical")
        ]
        wide = page.evaluate("document.documentElement.scrollWidth > innerWidth")
        if wide:
            faults.append((name, "wider than the screen", ""))
    context.close()
    assert not faults
    assert not said


def test_a_page_with_all_it_needs_is_small(yard: Yard, browser: Browser) -> None:
    context = come_in(browser, yard, "administrator")
    session_page = context.new_page()
    session = context.new_cdp_session(session_page)
    session.send("Network.enable")
    session.send("Network.setCacheDisabled", {"cacheDisabled": True})
    got: list[float] = []
    session.on("Network.loadingFinished", lambda event: got.append(event["encodedDataLength"]))
    session_page.goto(f"/models/{MODEL}")
    session_page.wait_for_load_state("load")
    context.close()
    assert 10_000 < sum(got) < MOST_BYTES
