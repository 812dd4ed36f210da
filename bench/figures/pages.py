"""Pages: what a person waits for with many models, what a page weighs, what open pages cost predictions."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from threading import Event
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
from playwright.sync_api import Browser, sync_playwright
from tests.browser.conftest import bundle

from bench.figures.common import Run, request_to
from bench.filled import Size, fill
from bench.load import load
from bench.report import Figure, spread
from bench.yard import Yard
from modelyard.catalog.people import hash_secret
from modelyard.catalog.signing import Signing
from modelyard.store import rights, state
from modelyard.store.database import Database

_MODEL = "bench/fuel-cost"
_REACH_MS = 300.0
_REACH_BYTES = 250_000
_REACH_COST = 0.02
_OPEN = 100
_CONNECTIONS = 8
_PATIENCE = 300.0  # seconds
_PAINT = """new Promise(told => new PerformanceObserver(list => {
    const found = list.getEntriesByName("first-contentful-paint")[0];
    if (found) told(found.startTime);
}).observe({ type: "paint", buffered: true }))"""


def measure(run: Run) -> Iterator[Figure]:
    """The figures `pages` and `open-pages`."""
    folder = run.folder / "pages"
    folder.mkdir(parents=True)
    size = Size()
    with Yard(folder / "data") as yard, yard.client() as client:
        yard.publish(client, _MODEL, bundle(1, 12.1))
    names = fill(folder / "data", _MODEL, size)
    cookie = session(folder / "data")
    with Yard(folder / "data") as yard:
        run.say(f"{size.words}: up after {yard.ready_after:.1f} s")
        until_known(yard, cookie)
        yield _paint(run, yard, cookie, names, size)
        yield _open_pages(run, yard, cookie, names)


_OF_THE_YARD = {
    "home": "/", "search": "/?q=model-0", "watch": "/watch", "watch, all": "/watch?state=all",
    "data": "/datasets", "jobs": "/jobs", "alerts": "/alerts", "people": "/people", "users": "/users",
    "audit": "/audit", "yard": "/yard",
}  # fmt: skip
_OF_A_MODEL = {
    "model": "", "performance of a year": "/performance?days=365", "drift": "/drift?days=30",
    "finding": "/findings/1", "versions": "/versions", "version": "/versions/200",
    "compare": "/compare?v=199&v=200", "try": "/try", "rollout": "/rollout", "refits": "/refits",
    "history": "/history",
}  # fmt: skip


def _paint(run: Run, yard: Yard, cookie: str, names: list[str], size: Size) -> Figure:
    pages = _OF_THE_YARD | {name: f"/models/{names[0]}{end}" for name, end in _OF_A_MODEL.items()}
    times: dict[str, list[float]] = {name: [] for name in pages}
    weights: dict[str, int] = {}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        _look(
            browser, yard, cookie, {"home": "/"}
        )  # the first look of a browser and of a front is not a figure
        for _ in range(run.rounds):
            for name, found in _look(browser, yard, cookie, pages).items():
                times[name].append(found[0])
                weights[name] = found[1]
        browser.close()
    middle = {name: statistics.median(values) for name, values in times.items()}
    slowest, heaviest = max(middle, key=lambda n: middle[n]), max(weights, key=lambda n: weights[n])
    return Figure(
        name="pages",
        what=f"first contentful paint of {len(pages)} pages with {size.words}",
        measured=f"slowest {middle[slowest]:.0f} ms ({slowest}), "
        f"heaviest {weights[heaviest] / 1000:.0f} kB ({heaviest})",
        reach=f"< {_REACH_MS:.0f} ms each on loopback, ≤ {_REACH_BYTES // 1000} kB all told, compressed",
        reached=middle[slowest] < _REACH_MS and weights[heaviest] <= _REACH_BYTES,
        details=tuple(f"{n}: {spread(times[n], 0)} ms, {weights[n] / 1000:.0f} kB" for n in pages),
    )


def _look(browser: Browser, yard: Yard, cookie: str, pages: dict[str, str]) -> dict[str, tuple[float, int]]:
    """Milliseconds to the first contentful paint and bytes of each page; nothing is kept in between."""
    context = browser.new_context(base_url=yard.url)
    page = context.new_page()
    name, _, value = cookie.partition("=")
    context.add_cookies([{"name": name, "value": value, "url": yard.url}])
    session = context.new_cdp_session(page)
    session.send("Network.enable")
    session.send("Network.setCacheDisabled", {"cacheDisabled": True})
    got: list[float] = []
    session.on("Network.loadingFinished", lambda event: got.append(event["encodedDataLength"]))
    found = {}
    for name, address in pages.items():
        got.clear()
        answer = page.goto(address, wait_until="load")
        if answer is None or answer.status != 200 or "/sign-in" in page.url:
            raise RuntimeError(f"{name} answered {answer.status if answer else 'nothing'}")
        found[name] = (float(page.evaluate(_PAINT)), int(sum(got)))
    context.close()
    return found


def _open_pages(run: Run, yard: Yard, cookie: str, names: list[str]) -> Figure:
    request = request_to(yard, _MODEL, b'[{"distance": 1400, "carrier": "DL"}]')
    with yard.client() as client:  # the worker starts with the first request
        client.post(f"/models/{_MODEL}/predict", content=request.body).raise_for_status()
    load(request, _CONNECTIONS, 1.0)
    ratios, without, with_them = [], [], []
    for _ in range(run.rounds):
        plain = load(request, _CONNECTIONS, run.seconds)
        with _streams(yard, cookie, [_MODEL, *names[:59]]):
            watched = load(request, _CONNECTIONS, run.seconds)
        without.append(plain.rate)
        with_them.append(watched.rate)
        ratios.append(watched.rate / plain.rate)
    cost = 1 - statistics.median(ratios)
    return Figure(
        name="open-pages",
        what=f"{_OPEN} open pages of 60 models each, beside predictions from {_CONNECTIONS} connections",
        measured=f"{cost:+.1%} of the throughput; ratios {spread(ratios, 3)}",
        reach=f"≤ {_REACH_COST:.0%}",
        reached=cost <= _REACH_COST,
        details=(f"without {spread(without, 0)}/s, with {spread(with_them, 0)}/s",),
    )


@contextmanager
def _streams(yard: Yard, cookie: str, models: list[str]) -> Iterator[None]:
    """Open pages: their streams, read as browsers read them, by a thread of its own.

    Raises:
        RuntimeError: one of them ended before the block did.
    """
    ready, done = Event(), Event()
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(lambda: asyncio.run(_read(yard, cookie, models, ready, done)))
        try:
            while not ready.wait(0.1) and not reading.done():
                pass
            yield
        finally:
            done.set()
        reading.result()


async def _read(yard: Yard, cookie: str, models: list[str], ready: Event, done: Event) -> None:
    lanes = [asyncio.create_task(_lane(yard, cookie, models)) for _ in range(_OPEN)]
    await asyncio.sleep(3)  # one look of the pulse, so that all streams have begun
    ready.set()
    await asyncio.to_thread(done.wait)
    for lane in lanes:
        lane.cancel()
    ended: list[Any] = await asyncio.gather(*lanes, return_exceptions=True)
    broken = [e for e in ended if not isinstance(e, asyncio.CancelledError)]
    if broken:
        raise RuntimeError(f"{len(broken)} of the streams ended: {broken[0]}")


async def _lane(yard: Yard, cookie: str, models: list[str]) -> None:
    parts = urlsplit(yard.url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    path = f"/live?of={quote(','.join(models), safe='')}"
    writer.write(f"GET {path} HTTP/1.1\r\nHost: {parts.netloc}\r\nCookie: {cookie}\r\n\r\n".encode())
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        if b" 200 " not in head.partition(b"\r\n")[0]:
            raise RuntimeError(head[:200])
        while await reader.read(65536):
            pass
        raise RuntimeError("the stream ended")
    finally:
        with contextlib.suppress(OSError):
            writer.close()


def until_known(yard: Yard, cookie: str) -> None:
    """Wait until the front serves what was filled in; it begins with the routes that were served last."""
    end = time.monotonic() + _PATIENCE
    while httpx.get(f"{yard.url}/me", headers={"Cookie": cookie}, timeout=60).status_code != 200:
        if time.monotonic() > end:
            raise RuntimeError(f"the routes were not there after {_PATIENCE:g} s")
        time.sleep(0.5)


def session(data: Path) -> str:
    """A session of the administrator's as a cookie, begun while the yard is down: it comes up with it."""
    database = Database(f"sqlite:///{data / 'yard.sqlite'}")
    secret = (data / "admin.token").read_text().strip()
    with database.read() as connection:
        grant = rights.grants(connection, datetime.now(UTC))[hash_secret(secret)]
    made = Signing(database).by_token(grant).secret
    with database.write(unaudited="a benchmark's data") as connection:
        state.bump_generation(connection)  # so that what was filled in is served, and not the last routes
    database.close()
    return f"yard_session={made}"
