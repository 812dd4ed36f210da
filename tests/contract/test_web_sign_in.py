"""Signing in from a browser: cookies, forms, links, and the company's accounts at a real provider process."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from anyio.from_thread import start_blocking_portal

from modelyard.api.errors import REFUSED
from modelyard.catalog.people import People, hash_secret
from modelyard.catalog.registry import Registry
from modelyard.records.audit import Query
from modelyard.records.people import Role
from modelyard.web.behind import Behind
from modelyard.web.live import seen_of
from modelyard.web.oidc import Company
from modelyard.web.pages import create_pages
from modelyard.web.provider import GroupRole, Provider
from modelyard.web.pulse import Pulse
from modelyard.web.site import Site
from tests.conftest import find_free_port
from tests.contract.api_house import House
from tests.journeys.running import PATIENCE, until

PASSWORD = "four words in a row"
OWN = {"Origin": "http://yard"}
Make = Callable[..., House]

pytestmark = pytest.mark.usefixtures("cheap_passwords")


async def _nothing() -> dict[str, float]:
    return {}


async def _ask(*_: object) -> Any:
    pytest.fail("nothing is predicted here")


@pytest.fixture
def make(registry: Registry, people: People, tmp_path: Path) -> Iterator[Make]:
    """A house with pages, reached by this address and with these accounts of a company."""
    with start_blocking_portal() as portal:

        def made(address: str = "http://yard", company: Company | None = None) -> House:
            name = company.provider.name if company else ""
            site = Site(address, company=name)

            def pages() -> Any:
                behind = Behind(pulse=Pulse(_nothing), ask=_ask, max_body=1, site=site, company=company)
                return create_pages(behind)

            return House(portal, registry, people, tmp_path, pages)

        yield made


@pytest.fixture
def house(make: Make) -> House:
    found = make()
    found.people.add_person("maria", by="test")
    found.people.set_role("maria", Role.BUILDER, "finance", by="test")
    link = found.services.signing.make_link("maria", by="test")
    found.services.signing.set_password(link.code, PASSWORD)
    return found


def post(house: House, path: str, headers: dict[str, str] | None = None, **data: str) -> httpx.Response:
    return house.ask("POST", path, data=data, headers=OWN if headers is None else headers)


def sign_in(house: House, **more: str) -> httpx.Response:
    return post(house, "/sign-in", None, **{"name": "maria", "password": PASSWORD, **more})


def cookies(answer: httpx.Response) -> dict[str, str]:
    """Each cookie that an answer sets, with what it says of it."""
    lines = answer.headers.get_list("set-cookie")
    return {line.partition("=")[0]: line.partition("=")[2] for line in lines}


def cookie_header(answer: httpx.Response) -> dict[str, str]:
    pairs = (f"{name}={value.partition(';')[0]}" for name, value in cookies(answer).items())
    return {"Cookie": "; ".join(pairs)}


def test_a_session_begins_is_used_and_ends(house: House) -> None:
    answer = sign_in(house, next="/people")
    assert (answer.status_code, answer.headers["location"]) == (303, "/people")
    mine = cookie_header(answer)
    home = house.ask("GET", "/", headers=mine)
    assert home.status_code == 200
    assert "builder in finance" in home.text
    assert house.ask("GET", "/api/v1/models", headers=mine).status_code == 401  # pages alone take it
    assert post(house, "/sign-out", OWN | mine).status_code == 303
    gone = house.ask("GET", "/", headers=mine)
    assert (gone.status_code, gone.headers["location"]) == (303, "/sign-in?next=/")


def test_cookies_no_script_reads_and_no_other_site_sends(make: Make, house: House) -> None:
    for line in cookies(sign_in(house)).values():
        assert {"HttpOnly", "SameSite=lax", "Path=/"} <= set(line.split("; "))
        assert "Secure" not in line
    secure = make("https://yard.example.com")
    answer = sign_in(secure)
    assert set(cookies(answer)) == {"__Host-yard_session", "__Host-yard_browser"}
    assert all("Secure" in line and "Domain" not in line for line in cookies(answer).values())
    secret = cookies(answer)["__Host-yard_session"].partition(";")[0]
    assert secure.ask("GET", "/", headers={"Cookie": f"yard_session={secret}"}).status_code == 303
    assert secure.ask("GET", "/", headers={"Cookie": f"__Host-yard_session={secret}"}).status_code == 200


def test_a_token_is_no_session(house: House) -> None:
    token = house.secrets[Role.OWNER, "finance"]
    assert house.ask("GET", "/", headers={"Cookie": f"yard_session={token}"}).status_code == 303
    answer = post(house, "/sign-in", token=token)
    assert answer.status_code == 303
    assert token not in str(answer.headers)
    assert "owner in finance" in house.ask("GET", "/", headers=cookie_header(answer)).text


@pytest.mark.parametrize("headers", [{}, {"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}])
def test_52_nobody_is_signed_in_or_out_by_another_site(house: House, headers: dict[str, str]) -> None:
    for path in ("/sign-in", "/sign-out", "/invitation"):
        answer = house.ask("POST", path, data={"name": "maria", "password": PASSWORD}, headers=headers)
        assert answer.status_code == 403
        assert "set-cookie" not in answer.headers


def test_39_wrong_names_and_passwords_get_the_same_page(house: House) -> None:
    pages = [
        post(house, "/sign-in", name=name, password=password)
        for name, password in (("maria", "wrong"), ("nobody", "wrong"), ("maria", ""), ("", ""))
    ]
    assert {p.status_code for p in pages} == {401}
    assert len({re.sub(r'value="(maria|nobody|)"', "", p.text).replace(" autofocus", "") for p in pages}) == 1
    assert all("set-cookie" not in p.headers for p in pages)


def test_39_who_is_disabled_gets_the_page_of_a_wrong_password_and_it_is_in_the_audit(house: House) -> None:
    house.people.set_disabled("maria", disabled=True, by="test")
    wrong, right = sign_in(house, password="wrong"), sign_in(house)
    assert (wrong.status_code, wrong.text) == (right.status_code, right.text)
    assert (right.status_code, "set-cookie" in right.headers) == (401, False)
    refused = house.services.audit.entries(Query(action="session.refuse"))
    assert [(each.by, "disabled" in str(each.after)) for each in refused] == [
        ("maria", True),
        ("maria", False),
    ]


def test_39_guessing_is_429_and_says_when_to_try_again(house: House) -> None:
    codes = [sign_in(house, password="wrong").status_code for _ in range(7)]
    assert codes == [401] * 5 + [429] * 2
    assert "Wait" in sign_in(house).text


def test_39_unknown_tokens_are_counted_by_address(house: House) -> None:
    codes = [post(house, "/sign-in", token=f"yard_{n}").status_code for n in range(7)]
    assert codes == [401] * 5 + [429] * 2


def test_48_a_token_made_on_a_page_asks_no_more_rows_than_the_one_signed_in_with(house: House) -> None:
    own = house.people.create_token("app", "app", Role.OWNER, "finance", rows_per_second=5, by="test")
    house.swap()
    mine = cookie_header(post(house, "/sign-in", token=own.secret))
    made = post(house, "/people/finance", OWN | mine, name="next", principal="next", role="caller")
    assert made.status_code == 200
    assert house.people.tokens(frozenset({"finance"}))[0].rows_per_second == 5


def test_36_news_are_of_models_that_one_may_still_see(house: House) -> None:
    secret = cookies(sign_in(house))["yard_session"].partition(";")[0]
    asked = frozenset({"finance/fuel-cost", "operations/fuel-cost"})
    for role, seen in ((Role.VIEWER, asked), (None, {"finance/fuel-cost"})):
        house.people.set_role("maria", role, "operations", by="test")
        house.swap()
        assert seen_of(house.services, asked, f"Bearer {secret}") == seen
    house.people.set_disabled("maria", disabled=True, by="test")
    house.swap()
    assert seen_of(house.services, asked, f"Bearer {secret}") is None


def test_a_link_sets_a_password_once(house: House) -> None:
    link = house.services.signing.make_link("maria", by="test")
    shown = house.ask("GET", link.path)
    assert shown.status_code == 200
    assert "maria" in shown.text
    short = post(house, "/reset", code=link.code, password="short")
    assert (short.status_code, "12 to 200" in short.text) == (422, True)
    done = post(house, "/reset", code=link.code, password="other words than before")
    assert "Your password is set" in done.text
    assert sign_in(house, password="other words than before").status_code == 303
    for again in (house.ask("GET", link.path), post(house, "/reset", code=link.code, password=PASSWORD)):
        assert again.status_code == 404
        assert "maria" not in again.text


def test_37_a_fresh_yard_has_nothing_open_but_health(make: Make) -> None:
    fresh = make()
    for path in ("/", "/models/finance/fuel-cost", "/people", "/yard", "/start", "/live"):
        assert fresh.ask("GET", path).headers["location"].startswith("/sign-in")
    for path in ("/api/v1/models", "/api/v1/yard", "/api/openapi.json", "/api/v1/users"):
        assert fresh.ask("GET", path).status_code == 401
    assert post(fresh, "/sign-in", name="administrator", password="administrator").status_code == 401
    assert fresh.ask("GET", "/health/live").status_code == 200


@pytest.mark.usefixtures("house")
def test_what_is_typed_does_not_go_over_an_open_line(make: Make) -> None:
    open_line = make("")
    answer = sign_in(open_line)
    assert (answer.status_code, "not encrypted" in answer.text) == (403, True)
    assert "not encrypted" in open_line.ask("GET", "/sign-in").text


def test_the_kept_form_has_no_password_in_it(house: House) -> None:
    answer = post(house, "/me/password", old_password="secret words", why="kept")
    assert answer.status_code == 401
    assert "secret words" not in answer.text
    assert "kept" in answer.text


# The company's accounts


@pytest.fixture(scope="module")
def provider() -> Iterator[str]:
    """An OpenID provider in a process of its own; its address."""
    port = find_free_port()
    command = [sys.executable, "-m", "oidc_provider_mock", "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://localhost:{port}"

    def answers() -> bool:
        try:
            return httpx.get(f"{url}/.well-known/openid-configuration").status_code == 200
        except httpx.HTTPError:
            return False

    until(answers)
    yield url
    process.terminate()
    process.wait(PATIENCE)


ROLES = (
    GroupRole("ml-admins", Role.ADMINISTRATOR),
    GroupRole("analysts", Role.BUILDER, "finance"),
    GroupRole("everybody", Role.VIEWER, "finance"),
)


@pytest.fixture
def company(make: Make, provider: str) -> House:
    return make(company=Company(Provider(provider, "yard", "its-secret", "Acme", roles=ROLES)))


def there_and_back(house: House, provider: str, sub: str, groups: list[str]) -> tuple[str, dict[str, str]]:
    """To the provider as `sub`, in these groups; the address it sends the browser back to, and the cookie."""
    claims = {"preferred_username": f"{sub}-name", "groups": groups}
    httpx.put(f"{provider}/users/{sub}", json=claims, timeout=PATIENCE).raise_for_status()
    going = house.ask("GET", "/sign-in/company?next=/people")
    assert going.status_code == 303
    back = httpx.post(going.headers["location"], data={"sub": sub}, timeout=PATIENCE)
    assert back.status_code == 302
    return back.headers["location"].removeprefix("http://yard"), cookie_header(going)


def test_a_person_comes_in_by_the_company(company: House, provider: str) -> None:
    assert "Sign in with Acme" in company.ask("GET", "/sign-in").text
    address, kept = there_and_back(company, provider, "nina", ["analysts", "everybody", "others"])
    answer = company.ask("GET", address, headers=kept)
    assert (answer.status_code, answer.headers["location"]) == (303, "/people")
    home = company.ask("GET", "/", headers=cookie_header(answer))
    assert "nina-name" in home.text
    assert "builder in finance" in home.text


def test_groups_are_roles_at_each_sign_in(company: House, provider: str) -> None:
    for groups, words in ((["ml-admins"], "administrator"), (["everybody"], "viewer in finance")):
        address, kept = there_and_back(company, provider, "olga", groups)
        answer = company.ask("GET", address, headers=kept)
        secret = cookies(answer)["yard_session"].partition(";")[0]
        assert company.table.tokens[hash_secret(secret)].words == words
    address, kept = there_and_back(company, provider, "olga", ["none"])
    answer = company.ask("GET", address, headers=kept)
    assert (answer.status_code, "may do nothing" in answer.text) == (403, True)


def test_the_way_there_has_pkce_state_and_nonce(company: House) -> None:
    query = parse_qs(urlsplit(company.ask("GET", "/sign-in/company").headers["location"]).query)
    assert query["code_challenge_method"] == ["S256"]
    assert all(len(query[name][0]) == 43 for name in ("code_challenge", "state", "nonce"))
    assert query["redirect_uri"] == ["http://yard/sign-in/company/back"]


def test_35_a_way_back_that_is_not_ones_own_leads_nowhere(company: House, provider: str) -> None:
    address, kept = there_and_back(company, provider, "eve", ["analysts"])
    _, others = there_and_back(company, provider, "eve", ["analysts"])
    told: list[str] = []
    inner = company.app

    async def front(asked: Any, receive: Any, send: Any) -> None:
        await inner({**asked, REFUSED: lambda _, error, __: told.append(error.message)}, receive, send)

    company._client = httpx.AsyncClient(transport=httpx.ASGITransport(front), base_url="http://yard")
    state = parse_qs(urlsplit(address).query)["state"][0]
    for asked, headers in (
        (address, {}),  # no cookie: a link that somebody was sent
        (address, others),  # another browser's
        (address, {"Cookie": "yard_asked=e30="}),
        (address, {"Cookie": "yard_asked=%%%"}),
        (address.replace(state, "x"), kept),
        (re.sub(r"code=[^&]*", "code=wrong", address), kept),
        (re.sub(r"code=[^&]*", "error=access_denied", address), kept),
    ):
        answer = company.ask("GET", asked, headers=headers)
        assert answer.status_code == 403, asked
        assert "yard_session" not in cookies(answer)
    assert company.ask("GET", address, headers=kept).status_code == 303
    again = company.ask("GET", address, headers=kept)  # a code works once
    assert again.status_code == 403
    assert len(told) == 8, "each is counted for the audit"


def test_a_provider_that_is_away_leaves_the_other_ways(make: Make) -> None:
    house = make(company=Company(Provider("http://localhost:9", "yard", name="Acme")))
    answer = house.ask("GET", "/sign-in/company")
    assert answer.status_code == 503
    assert "identity provider cannot be used" in answer.text
    assert 'name="password"' in answer.text


def test_without_a_company_there_is_no_way_to_one(make: Make) -> None:
    house = make()
    for path in ("/sign-in/company", "/sign-in/company/back"):
        assert house.ask("GET", path).status_code == 404


class Hostile(BaseHTTPRequestHandler):
    """A provider that sends its askers elsewhere, or never stops answering."""

    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        """As the first step of the path says."""
        self.asked.append(self.path)
        if self.path.startswith("/elsewhere"):
            self.send_response(302)
            self.send_header("Location", "/inside")
            self.end_headers()
            return
        self.send_response(200)
        self.end_headers()
        with suppress(OSError):
            while True:
                self.wfile.write(b" " * 65_536)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.mark.parametrize("way", ["elsewhere", "endless"])
def test_56_and_58_a_provider_that_leads_elsewhere_or_never_stops(make: Make, way: str) -> None:
    Hostile.asked.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hostile)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    issuer = f"http://127.0.0.1:{server.server_port}/{way}"
    answer = make(company=Company(Provider(issuer, "yard", name="Acme"))).ask("GET", "/sign-in/company")
    server.shutdown()
    server.server_close()
    assert (answer.status_code, "cannot be used" in answer.text) == (503, True)
    assert Hostile.asked == [f"/{way}/.well-known/openid-configuration"]
