"""People in a browser: invited, signed in by password, given roles and grants, locked out."""

from __future__ import annotations

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import MODEL, Yard, come_in, keep, new_context

pytestmark = [pytest.mark.chromium, pytest.mark.bubblewrap]

PASSWORD = "four words in a row"


def no_faults(page: Page) -> None:
    """No serious fault of access, and not wider than the screen."""
    found = Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
    assert [f["id"] for f in found if f["impact"] in ("serious", "critical")] == []
    assert not page.evaluate("document.documentElement.scrollWidth > innerWidth")


def sign_in(page: Page, name: str, password: str) -> None:
    page.goto("/sign-in")
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in", exact=True).click()


def test_a_person_is_invited_comes_in_and_is_kept_out(yard: Yard, browser: Browser) -> None:
    context = come_in(browser, yard, "administrator")
    office = context.new_page()
    office.goto("/users")
    office.get_by_label("Name").fill("maria")
    office.get_by_label("Role", exact=True).select_option("owner")
    office.locator("#department").select_option("finance")
    office.get_by_role("button", name="Invite", exact=True).click()
    link = office.get_by_label("Link", exact=True).inner_text()
    assert link.startswith(f"{yard.url}/invitation?code=link_")
    keep(office, "users-invited")
    no_faults(office)

    desk = new_context(browser, yard, viewport={"width": 390, "height": 844})
    page = desk.new_page()
    page.goto(link)
    keep(page, "password-phone")
    no_faults(page)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Set the password").click()
    expect(page.get_by_role("status")).to_contain_text("Your password is set")
    keep(page, "sign-in-phone")
    no_faults(page)
    expect(page.get_by_label("Name")).to_have_value("maria")
    page.get_by_label("Password").fill("wrong words here")
    page.get_by_role("button", name="Sign in", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("wrong")
    sign_in(page, "maria", PASSWORD)
    page.wait_for_url(f"{yard.url}/")
    page.goto("/me")
    expect(page.locator("dl.facts")).to_contain_text("owner in finance")
    page.get_by_label("What it is for").fill("notebook")
    page.get_by_role("button", name="Make the token").click()
    secret = page.get_by_label("Token", exact=True).inner_text()
    keep(page, "me-phone")
    headers = {"Authorization": f"Bearer {secret}"}
    assert yard.client.get("/api/v1/whoami", headers=headers).json()["principal"] == "maria"

    office.goto("/users")
    office.get_by_role("button", name="Disable maria").click()
    expect(office.get_by_role("button", name="Enable maria")).to_be_visible()
    page.goto("/")
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    assert yard.client.get("/api/v1/whoami", headers=headers).status_code == 401
    desk.close()
    context.close()


def test_an_owner_gives_a_role_and_grants_a_model(yard: Yard, browser: Browser) -> None:
    yard.client.post("/api/v1/departments", json={"name": "operations"})
    made = yard.client.post(
        "/api/v1/departments/operations/tokens",
        json={"name": "browser", "principal": "olaf", "role": "caller"},
    ).json()
    context = come_in(browser, yard, "owner")
    page = context.new_page()
    page.goto("/people")
    page.get_by_label("Person or service an").fill("olaf")
    page.locator("#member-role").select_option("viewer")
    page.get_by_role("button", name="Give the role").click()
    expect(page.get_by_role("button", name="Set the role of olaf")).to_be_visible()
    page.get_by_label("New role of olaf").select_option("")
    page.get_by_role("button", name="Set the role of olaf").click()
    expect(page.get_by_role("button", name="Set the role of olaf")).to_have_count(0)

    guests = come_in(browser, yard._replace(secrets={"guest": made["secret"]}), "guest")
    guest = guests.new_page()
    assert guest.goto(f"/models/{MODEL}").status == 404  # type: ignore[union-attr]
    page.get_by_label("Its name").fill(MODEL.partition("/")[2])
    page.locator("#right").select_option("model predict")
    page.get_by_label("Which").fill("operations")
    page.get_by_role("button", name="Grant it").click()
    expect(page.get_by_role("region", name="Grants")).to_contain_text("department operations")
    keep(page, "department-people")
    no_faults(page)
    guest.goto("/")
    guest.get_by_role("link", name="fuel-cost").first.click()
    expect(guest.get_by_role("link", name="Try it").first).to_be_visible()
    expect(guest.get_by_role("button", name="Roll back")).to_have_count(0)
    page.get_by_role("button", name=f"Revoke the grant on {MODEL}").click()
    expect(page.get_by_text("Other departments see none")).to_be_visible()
    assert guest.goto(f"/models/{MODEL}").status == 404  # type: ignore[union-attr]
    guests.close()
    context.close()
