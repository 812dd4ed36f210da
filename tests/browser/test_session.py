"""Who comes in by the pages' cookie: forged forms, foreign origins, headers that protect."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.browser.conftest import MODEL, Yard

pytestmark = [pytest.mark.bubblewrap]
PROMOTE = f"/models/{MODEL}/versions/2/promote"


@pytest.fixture
def session(yard: Yard) -> Iterator[httpx.Client]:
    """A client with an owner's cookie and nothing else."""
    with httpx.Client(base_url=yard.url, timeout=60) as client:
        told = {"token": yard.secrets["owner"]}
        assert client.post("/sign-in", data=told, headers={"Origin": yard.url}).status_code == 303
        yield client


def form(session: httpx.Client, headers: dict[str, str], path: str = PROMOTE) -> httpx.Response:
    return session.post(path, data={"why": "a try"}, headers=headers)


def test_52_a_form_from_elsewhere_changes_nothing(yard: Yard, session: httpx.Client) -> None:
    host = yard.url.removeprefix("http://")
    before = yard.client.get(f"/api/v1/models/{MODEL}/history").json()
    for headers in (
        {},
        {"Origin": "null"},
        {"Origin": "http://evil.example"},
        {"Origin": f"http://{host}.evil.example"},
        {"Origin": f"file://{host}"},
        {"Sec-Fetch-Site": "cross-site", "Origin": yard.url},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": yard.url, "Host": "evil.example"},
    ):
        assert form(session, headers).status_code == 403, headers
    assert yard.client.get(f"/api/v1/models/{MODEL}/history").json() == before


def test_the_api_does_not_take_the_cookie(session: httpx.Client, yard: Yard) -> None:
    assert session.get("/api/v1/models").status_code == 401
    own = {"Origin": yard.url}
    assert session.post(f"/models/{MODEL}/predict", json=[], headers=own).status_code == 401
    answer = session.post(f"/api/v1/models/{MODEL}/rollback", json={}, headers=own)
    assert answer.status_code == 401


def test_a_bearer_token_does_not_open_pages(yard: Yard) -> None:
    answer = yard.client.get("/")
    assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in?next=/")


def test_53_pages_are_not_framed_kept_or_run_by_others(session: httpx.Client) -> None:
    for path in ("/", f"/models/{MODEL}", "/sign-in", "/nowhere"):
        headers = session.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert headers["cache-control"] == "no-store"
        assert headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "after", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:x"]
)
def test_the_way_on_leads_nowhere_else(yard: Yard, after: str) -> None:
    told = {"token": yard.secrets["owner"], "next": after}
    answer = httpx.post(f"{yard.url}/sign-in", data=told, headers={"Origin": yard.url}, timeout=60)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie


def test_static_files_are_kept_for_ever_under_their_digest(session: httpx.Client) -> None:
    page = session.get("/").text
    address = page.split('rel="stylesheet" href="')[1].split('"')[0]
    found = session.get(address)
    assert found.headers["cache-control"].endswith("immutable")
    assert found.headers["content-encoding"] == "gzip"
    assert "no-store" in session.get("/static/old/yard.css").headers["cache-control"]
    assert session.get("/static/old/..%2fpages.py").status_code == 404
    assert session.get("/static/old/pages.py").status_code == 404


def test_hostile_forms_and_addresses_are_refused_with_words(session: httpx.Client, yard: Yard) -> None:
    own = {"Origin": yard.url}
    assert session.post(PROMOTE, content=b"why=%FF", headers=own | _FORM).status_code == 400
    many = "&".join(f"f{i}=1" for i in range(6_000)).encode()
    assert session.post(PROMOTE, content=many, headers=own | _FORM).status_code == 400
    assert session.post(PROMOTE, json={"why": "x"}, headers=own).status_code == 415
    for path in (
        f"/models/{MODEL}/versions/0",
        f"/models/{MODEL}/versions/x",
        f"/models/{MODEL}/compare?v=1",
    ):
        assert session.get(path).status_code == 422
    assert session.get(f"/models/{MODEL}/versions/99").status_code == 404
    assert session.get("/?page=99999999999999&q=" + "a" * 5_000).status_code == 200


_FORM = {"Content-Type": "application/x-www-form-urlencoded"}
