"""Jobs in the browser: the list, a log that grows by itself, a cancel, and runs side by side."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import MODEL, Yard, come_in, keep, watched
from tests.bundles import tar_of
from tests.journeys.running import until

pytestmark = [pytest.mark.chromium, pytest.mark.bubblewrap]

YARD = f"""
model = "{MODEL}"
language = "python"
[train]
run = "python train.py"
[parameters]
trees = 40
waits = false
"""
TRAIN = """
import os, time
import modelyard as yard
trees = yard.parameter("trees")
for step in range(8):
    yard.log(mae=10 / (step + trees / 20), step=step)
print("<script>alert(1)</script> of", trees, flush=True)
if yard.parameter("waits", False):
    for number in range(600):
        print("line", number, flush=True)
        time.sleep(1)
yard.save(lambda rows: [trees * x for x in rows["distance"]], example={"distance": [1.0, 2.0]})
"""


def train(client: httpx.Client, parameters: str) -> int:
    answer = client.post(
        f"/api/v1/models/{MODEL}/jobs",
        content=tar_of({"yard.toml": YARD.encode(), "train.py": TRAIN.encode()}),
        params={"why": "a browser looks on", "code": "git 4f1c2e", "parameters": parameters},
        headers={"Content-Type": "application/x-tar"},
    )
    assert answer.status_code == 201, answer.text
    return int(answer.json()["id"])


def ended(client: httpx.Client, number: int) -> bool:
    state = client.get(f"/api/v1/models/{MODEL}/jobs/{number}").json()["state"]
    return state not in ("queued", "running")


@pytest.fixture(scope="module")
def runs(yard: Yard) -> list[int]:
    """Two jobs that have ended well."""
    numbers = [train(yard.client, '{"trees": 20}'), train(yard.client, '{"trees": 60}')]
    until(lambda: all(ended(yard.client, n) for n in numbers))
    return numbers


@pytest.fixture
def builder(yard: Yard, browser: Browser) -> Iterator[Page]:
    context = come_in(browser, yard, "builder")
    page, said = watched(context)
    page.on("dialog", lambda dialog: said.append(f"a script ran: {dialog.message}"))
    yield page
    context.close()
    assert said == []


def test_runs_are_listed_shown_and_compared(builder: Page, runs: list[int]) -> None:
    builder.goto("/")
    builder.get_by_role("link", name="Jobs").first.click()
    for number in runs:
        builder.get_by_label(f"Compare job {number}").check()
    builder.get_by_role("button", name="Compare the ticked").click()
    table = builder.get_by_role("region", name="What differs")
    expect(table.get_by_role("row", name="trees")).to_contain_text("60")
    expect(table.get_by_role("row", name="mae")).to_contain_text("best")
    expect(builder.locator("svg.curves")).to_have_count(4)
    expect(builder.get_by_role("region", name="Over parameters")).to_contain_text("mae by trees, 20 to 60")
    keep(builder, "jobs-compare")
    builder.get_by_role("link", name=f"Job {runs[1]}").click()
    expect(builder.locator("#job")).to_contain_text("Succeeded.")
    expect(builder.locator("#job")).to_contain_text("git 4f1c2e")
    expect(builder.locator("#log")).to_contain_text("<script>alert(1)</script> of 60")
    keep(builder, "job")


def test_a_log_grows_by_itself_and_the_job_is_cancelled(builder: Page, yard: Yard) -> None:
    number = train(yard.client, '{"waits": true}')
    builder.goto(f"/models/{MODEL}/jobs/{number}")
    expect(builder.locator("#log")).to_contain_text("line 2")
    expect(builder.locator("#job")).to_contain_text("Running.")
    keep(builder, "job-running")
    builder.get_by_label("Why").fill("seen enough")
    builder.get_by_role("button", name="Cancel the job").click()
    expect(builder.locator("#job")).to_contain_text("Cancelled by builder-anna. seen enough")
    expect(builder.get_by_role("button", name="Cancel the job")).to_have_count(0)


def test_a_viewer_sees_a_running_job_end_and_may_not_end_it(yard: Yard, browser: Browser) -> None:
    context = come_in(browser, yard, "viewer")
    page, said = watched(context)
    number = train(yard.client, '{"waits": true}')
    page.goto(f"/models/{MODEL}/jobs/{number}")
    expect(page.locator("#log")).to_contain_text("line 1")
    expect(page.get_by_role("button", name="Cancel the job")).to_have_count(0)
    yard.client.post(f"/api/v1/models/{MODEL}/jobs/{number}/cancel", json={"why": "enough"})
    expect(page.locator("#job")).to_contain_text("Cancelled by administrator. enough")
    context.close()
    assert said == []


@pytest.mark.usefixtures("runs")
def test_train_again_from_the_list_of_a_model(builder: Page, yard: Yard) -> None:
    builder.goto(f"/models/{MODEL}")
    builder.get_by_label(f"Pages of {MODEL}").get_by_role("link", name="Jobs").click()
    builder.get_by_label("Why").fill("once more")
    builder.get_by_role("button", name="Train", exact=True).click()
    expect(builder.locator("h1")).to_contain_text("Job")
    expect(builder.locator("main")).to_contain_text("once more")
    number = int(builder.url.rpartition("/")[2])
    until(lambda: ended(yard.client, number))


@pytest.mark.parametrize("look", ["light", "dark", "phone"])
def test_pages_of_jobs_have_no_serious_fault(
    yard: Yard, browser: Browser, runs: list[int], look: str
) -> None:
    size = {"width": 390, "height": 844} if look == "phone" else {"width": 1360, "height": 850}
    scheme = "dark" if look == "dark" else "light"
    context = come_in(browser, yard, "owner", viewport=size, color_scheme=scheme)
    page, said = watched(context)
    faults = []
    compare = f"/jobs/compare?of={runs[0]}&of={runs[1]}"
    addresses = ("/jobs", f"/jobs?model={MODEL}", f"/models/{MODEL}/jobs/{runs[0]}", compare)
    for number, address in enumerate(addresses):
        page.goto(address)
        keep(page, f"jobs-{number}-{look}")
        found = Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
        faults += [
            (address, f["id"], f["nodes"][0]["html"]) for f in found if f["impact"] in ("serious", "critical")
        ]
        if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
            faults.append((address, "wider than the screen", ""))
    context.close()
    assert not faults
    assert not said


def test_who_may_not_see_a_department_sees_none_of_its_jobs(
    yard: Yard, browser: Browser, runs: list[int]
) -> None:
    yard.client.post("/api/v1/departments", json={"name": "operations"})
    body = {"name": "browser", "principal": "otto", "role": "owner"}
    secret = yard.client.post("/api/v1/departments/operations/tokens", json=body).json()["secret"]
    context = come_in(browser, yard._replace(secrets={"otto": secret}), "otto")
    page = context.new_page()
    page.goto("/jobs")
    expect(page.locator("main")).to_contain_text("No such job")
    for address in (f"/models/{MODEL}/jobs/{runs[0]}", f"/jobs/compare?of={runs[0]}&of={runs[1]}"):
        answer = page.goto(address)
        assert answer is not None
        assert answer.status == 404
    context.close()


def test_an_owner_approves_the_hosts_that_a_job_waits_for(
    yard: Yard, browser: Browser, builder: Page
) -> None:
    model = MODEL.partition("/")[0] + "/with-hosts"
    text = YARD.replace(MODEL, model).replace(
        "[parameters]", 'hosts = ["files.example.org:443"]\n[parameters]'
    )
    answer = yard.client.post(
        f"/api/v1/models/{model}/jobs",
        content=tar_of({"yard.toml": text.encode(), "train.py": b"raise SystemExit('it went')"}),
        headers={"Content-Type": "application/x-tar"},
    )
    address = f"/models/{model}/jobs/{answer.json()['id']}"
    builder.goto(address)
    expect(builder.locator("#hosts")).to_contain_text("files.example.org:443")
    expect(builder.locator("#hosts")).to_contain_text("An owner of")
    expect(builder.get_by_role("button", name="Approve")).to_have_count(0)
    context = come_in(browser, yard, "owner")
    page, said = watched(context)
    page.goto(address)
    keep(page, "job-hosts")
    page.locator("#hosts").get_by_label("Why").fill("the price list")
    page.get_by_role("button", name="Approve it for").click()
    expect(page.locator("#log")).to_contain_text("it went")
    page.reload()
    expect(page.locator("#hosts")).to_have_count(0)
    expect(page.locator("#job")).to_contain_text("files.example.org:443")
    context.close()
    assert said == []
