"""The doors for predictions, with a real predictor behind them and a worker that does as it is told."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import polars as pl
import pytest
import tritonclient.http as triton  # type: ignore[import-untyped]
import uvicorn
from tritonclient.utils import InferenceServerException  # type: ignore[import-untyped]

from modelyard.api.files import FileLimits
from modelyard.api.inference_v2 import InferenceV2
from modelyard.api.metrics import Metrics
from modelyard.api.outcomes import OutcomesDoor
from modelyard.api.predict import PredictDoor
from modelyard.records.people import Grant, Role
from modelyard.records.rollouts import ModelRoutes, RouteTable, ServedVersion
from modelyard.records.signatures import Column, Signature
from modelyard.serving.counters import Counters
from modelyard.serving.pool import Pool
from modelyard.serving.predict import Predictor
from modelyard.serving.quotas import Quotas
from modelyard.serving.table import EMPTY
from modelyard.serving.tap import Tap
from modelyard.serving.trials import Trials
from modelyard.workers.control import Reply, WorkerInfo
from modelyard.workers.wire import Frame, decode, from_values, to_values
from tests.contract.scripted import LIMITS, SIGNATURE, Dock, Worker, dock, doubles, error, numbers, run, turns
from tests.rows import BOOL, FLOAT64, INT64, STRING

FUEL = "/models/finance/fuel-cost/predict"
SECRETS = {
    "anna": Grant("anna", Role.CALLER, "finance"),
    "vera": Grant("vera", Role.VIEWER, "finance"),
    "eve": Grant("eve", Role.OWNER, "operations"),
    "adam": Grant("adam", Role.ADMINISTRATOR),
    "lena": Grant("lena", Role.CALLER, "finance", 7, rows_per_second=3),
    "old": Grant("old", Role.CALLER, "finance", expires=1.0),
}
MIXED = Signature(
    (Column("x", FLOAT64), Column("n", INT64), Column("b", BOOL), Column("s", STRING)),
    (Column("label", STRING), Column("probability:a", FLOAT64)),
)
ALL_NUMBERS = Signature((Column("x", FLOAT64), Column("n", INT64)), SIGNATURE.outputs)


def served(model: str, version: int, signature: Signature = SIGNATURE) -> ServedVersion:
    name = f"{model.replace('/', '.')}.{version}"
    return ServedVersion(name, model, version, "python", signature)


def routes(model: str, **signatures: Signature) -> ModelRoutes:
    versions = {int(k[1:]): served(model, int(k[1:]), s) for k, s in signatures.items()}
    return ModelRoutes({"champion": 2, "challenger": 1} if 2 in versions else {}, versions)


TABLE = RouteTable(
    1,
    {
        "finance/fuel-cost": routes("finance/fuel-cost", v1=SIGNATURE, v2=SIGNATURE),
        "finance/mixed": ModelRoutes({"champion": 1}, {1: served("finance/mixed", 1, MIXED)}),
        "finance/numbers": ModelRoutes({"champion": 1}, {1: served("finance/numbers", 1, ALL_NUMBERS)}),
        "finance/new": routes("finance/new"),
        "operations/delay": routes("operations/delay", v1=SIGNATURE, v2=SIGNATURE),
    },
    {hashlib.sha256(secret.encode()).hexdigest(): grant for secret, grant in SECRETS.items()},
)


async def behave(worker: Worker, question: Frame) -> Frame:
    """Y = 2x; a classifier that answers with the strings where there are any; refuses 13."""
    if 13.0 in numbers(question):
        return error(question, "no thirteens")
    texts = [c for c in question.columns if c.type is STRING]
    if not texts:
        return await doubles(worker, question)
    label = from_values("label", STRING, to_values(texts[0]))
    half = from_values("probability:a", FLOAT64, [x / 2 for x in numbers(question)])
    return Frame("answer", (("id", question.get("id")),), question.rows, (label, half))


class Front:
    """The doors, as a front has them, as one ASGI application."""

    def __init__(self, yard: Dock, least: int = 200, rows: int = 10) -> None:
        self.yard = yard
        self.table = TABLE
        self.scratch = tempfile.TemporaryDirectory()
        self.counters = Counters()

        async def ensure(_: str) -> Any:
            return await yard.ensure("finance.fuel-cost.1")

        pool = Pool(LIMITS, 100, ensure, yard.stuck, Tap(yard.append))
        self.trials = Trials(pool, 30.0)
        predictor = Predictor(pool, self.counters, self.trials)
        predictor._quotas = Quotas(lambda: 0.0)  # nothing comes back, however long it takes
        files = FileLimits(Path(self.scratch.name), least=least, most=50_000, rows=rows)
        self.predict = PredictDoor(lambda: self.table, predictor, 10_000, files)
        self.v2 = InferenceV2(lambda: self.table, predictor, 100_000, "1.2.3")
        self.came: list[bytes] = []  # outcomes
        self.outcomes = OutcomesDoor(
            lambda: self.table, self.came.extend, predictor.new_request_id, 10_000, 100
        )
        self.metrics = Metrics(lambda: self.table, self._report)
        self.pool = pool

    async def _report(self) -> Reply:
        workers = [WorkerInfo(f"{m}.1", 0, "r", 7, "s", "ready", 0.0) for m in ("finance.a", "operations.b")]
        return Reply(1, counters=self.counters.values, workers=tuple(workers))

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """As `modelyard.app` shares the addresses out."""
        if scope["type"] == "http":
            path = scope["path"]
            door = self.v2 if path.startswith("/v2") else self.metrics if path == "/metrics" else self.predict
            await (self.outcomes if path.endswith("/outcomes") else door)(scope, receive, send)


class Caller(httpx.AsyncClient):
    """A client with a front behind it."""

    def __init__(self, front: Front, who: str | None) -> None:
        headers = {"Authorization": f"Bearer {who}"} if who else {}
        transport = httpx.ASGITransport(front)
        super().__init__(transport=transport, base_url="http://yard", headers=headers)
        self.front = front


@asynccontextmanager
async def caller(who: str | None = "anna", least: int = 200, rows: int = 10) -> AsyncIterator[Caller]:
    async with dock(behave) as yard:
        front = Front(yard, least, rows)
        async with Caller(front, who) as client:
            yield client
        await front.predict.close()
        await front.outcomes.close()
        front.scratch.cleanup()
        front.pool.swap(EMPTY)
        await asyncio.sleep(0)


def asks(test: Callable[[Caller], Coroutine[Any, Any, None]], who: str | None = "anna") -> None:
    async def whole() -> None:
        async with caller(who) as client:
            await test(client)

    run(whole)


def parquet(**columns: Any) -> bytes:
    out = io.BytesIO()
    pl.DataFrame(columns).write_parquet(out)
    return out.getvalue()


async def raw(
    front: Front, path: str, raw_path: bytes, *messages: dict[str, Any], method: str = "POST"
) -> list[Any]:
    """A request as a server hands it over, its address not tidied by any client."""
    scope = {"type": "http", "method": method, "path": path, "raw_path": raw_path}
    scope["headers"] = [(b"authorization", b"Bearer adam")]
    coming = iter(messages)
    went: list[Any] = []

    async def receive() -> dict[str, Any]:
        return next(coming)

    async def send(message: dict[str, Any]) -> None:
        went.append(message)

    await front(scope, receive, send)
    return went


# Content in and out


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/json", b'[{"x": 1.5}, {"x": 2}]'),
        ("application/json; charset=utf-8", b'{"records": [{"x": 1.5}, {"x": 2}]}'),
        ("", b'[{"x": 1.5}, {"x": 2}]'),
        ("application/x-www-form-urlencoded", b'[{"x": 1.5}, {"x": 2}]'),
        ("text/csv", b"x\n1.5\n2\n"),
        ("Text/CSV; header=present", b"x\r\n1.5\r\n2\r\n"),
        ("application/vnd.apache.parquet", parquet(x=[1.5, 2.0])),
    ],
)
def test_rows_in_every_form(kind: str, body: bytes) -> None:
    async def test(client: Caller) -> None:
        found = await client.post(FUEL, content=body, headers={"Content-Type": kind})
        assert found.status_code == 200
        assert found.json()["predictions"] == [3.0, 4.0]
        assert (found.json()["model"], found.json()["version"]) == ("finance/fuel-cost", 2)
        assert found.json()["request_id"] == found.headers["x-request-id"]
        assert found.headers["x-yard-version"] == "finance/fuel-cost/2"
        (frame,) = client.front.yard.spool
        assert frame.get("version") == "2"
        texts = {c.name: to_values(c) for c in frame.columns if c.type is STRING}
        assert texts["request"] == [found.json()["request_id"]] * 2
        assert (texts["caller"], texts["route"]) == (["anna"] * 2, ["champion"] * 2)

    asks(test)


def test_answers_in_every_form() -> None:
    async def test(client: Caller) -> None:
        rows = [{"x": 1.5, "flight": "=AA1"}, {"x": 2}]
        as_csv = await client.post(FUEL, json=rows, headers={"Accept": "text/csv"})
        assert as_csv.headers["content-type"] == "text/csv"
        assert as_csv.text == "flight,prediction\n'=AA1,3.0\n,4.0\n"
        kind = "application/vnd.apache.parquet"
        as_parquet = await client.post(FUEL, json=rows, headers={"Accept": kind})
        assert as_parquet.headers["content-type"] == kind
        assert pl.read_parquet(as_parquet.content).rows() == [("=AA1", 3.0), (None, 4.0)]
        for accept in ("*/*", "application/json", "image/png", ""):
            found = await client.post(FUEL, json=rows, headers={"Accept": accept})
            assert found.json()["predictions"] == [3.0, 4.0]

    asks(test)


def test_large_tables_are_read_beside_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modelyard.api.predict._IN_A_THREAD", 10)

    async def test(client: Caller) -> None:
        body = b"x\n" + b"1.5\n" * 50
        found = await client.post(FUEL, content=body, headers={"Content-Type": "text/csv"})
        assert found.json()["predictions"] == [3.0] * 50
        bad = await client.post(FUEL, content=b"x\n1\ntwo\n" * 5, headers={"Content-Type": "text/csv"})
        assert (bad.status_code, bad.json()["row"]) == (422, 1)

    asks(test)


def test_versions_and_aliases_have_their_own_address() -> None:
    async def test(client: Caller) -> None:
        for place, version in (("versions/1", 1), ("aliases/challenger", 1), ("aliases/champion", 2)):
            address = FUEL.replace("predict", f"{place}/predict")
            found = await client.post(address, json=[{"x": 1}])
            assert found.json()["version"] == version
        kept = [to_values(c)[0] for f in client.front.yard.spool for c in f.columns if c.name == "route"]
        assert kept == ["version", "challenger", "champion"]

    asks(test)


def test_no_rows_need_no_worker() -> None:
    async def test(client: Caller) -> None:
        found = await client.post(FUEL, json=[])
        assert (found.status_code, found.json()["predictions"]) == (200, [])
        assert client.front.yard.ensured == 0

    asks(test)


@pytest.mark.parametrize(
    ("kind", "body", "status", "words"),
    [
        ("application/json", b"", 400, "not JSON"),
        ("application/json", b"[" * 9_000, 400, "too deep"),
        ("application/json", b'[{"x": "\xff"}]', 400, "not UTF-8"),
        ("application/json", b'[{"x": "1"}]', 422, "'x'"),
        ("application/json", b"[{}]", 422, "'x'"),
        ("application/json", json.dumps([{"x": 1}] * 101).encode(), 413, "limit is 100"),
        ("application/json", b" " * 10_001, 413, "over the limit"),
        ("application/json", b'[{"x": 13}]', 500, "no thirteens"),
        ("text/csv", b"y\n1\n", 422, "'x'"),
        ("text/csv", b"\x1f\x8b", 415, "compressed"),
        ("application/vnd.apache.parquet", b"PAR1", 400, "not a Parquet file"),
        ("application/xml", b"<x/>", 415, "application/xml"),
        ("multipart/form-data; boundary=x", b"--x", 415, "multipart"),
    ],
)
def test_problems_say_what_to_do(kind: str, body: bytes, status: int, words: str) -> None:
    async def test(client: Caller) -> None:
        found = await client.post(FUEL, content=body, headers={"Content-Type": kind})
        assert found.status_code == status
        assert found.headers["content-type"] == "application/problem+json"
        assert words in found.json()["detail"]
        assert client.front.yard.spool == []

    asks(test)


def test_a_busy_yard_says_when_to_ask_again() -> None:
    async def test(client: Caller) -> None:
        worker = await client.front.yard.add()
        worker.gate.clear()
        first = asyncio.create_task(client.post(FUEL, json=[{"x": 1}] * 16))
        await worker.asked.acquire()
        second = asyncio.create_task(client.post(FUEL, json=[{"x": 1}] * 16))
        await turns()
        found = await client.post(FUEL, json=[{"x": 1}])
        assert (found.status_code, found.headers["retry-after"]) == (503, "1")
        worker.gate.set()
        assert [(await first).status_code, (await second).status_code] == [200, 200]

    asks(test)


def test_a_token_with_a_limit_gets_no_more_than_that_on_any_way() -> None:
    async def test(client: Caller) -> None:
        tensor = {"name": "x", "datatype": "FP64", "shape": [4], "data": [1, 2, 3, 4]}
        found = [await client.post("/v2/models/finance.fuel-cost/infer", json={"inputs": [tensor]})]
        found += [await client.post(FUEL, json=[{"x": 1}]) for _ in range(2)]
        found += [await client.post("/v2/models/finance.fuel-cost/infer", json={"inputs": [tensor]})]
        assert [one.status_code for one in found] == [200, 429, 429, 429]
        assert found[1].headers["retry-after"] == "1"
        assert "3 rows a second" in found[1].json()["detail"]
        assert found[1].json()["type"].endswith(":over-limit")

    asks(test, "lena")


def test_a_caller_says_how_long_to_wait() -> None:
    async def test(client: Caller) -> None:
        worker = await client.front.yard.add()
        worker.gate.clear()
        tensor = {"name": "x", "datatype": "FP64", "shape": [1], "data": [1]}
        for ask in (
            client.post(FUEL, json=[{"x": 1}], headers={"Prefer": "wait=0.05"}),
            client.post(
                "/v2/models/finance.fuel-cost/infer",
                json={"inputs": [tensor]},
                headers={"Prefer": "respond-async, wait=0.05"},
            ),
        ):
            found = await ask
            assert (found.status_code, "within 0.05 s" in found.text) == (504, True)
        worker.gate.set()
        assert (await client.post(FUEL, json=[{"x": 1}], headers={"Prefer": "wait=soon"})).status_code == 200

    asks(test)


# Addresses and methods


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH", "TRACE"])
def test_predictions_are_asked_for_with_post(method: str) -> None:
    async def test(client: Caller) -> None:
        found = await client.request(method, FUEL)
        assert (found.status_code, found.headers["allow"]) == (405, "POST")
        assert bool(found.content) == (method != "HEAD")

    asks(test)


ODD = [
    "/models/finance/../finance/fuel-cost/predict",
    "/models//finance/fuel-cost/predict",
    "/models/finance/fuel-cost/predict/",
    "/models/finance/./fuel-cost/predict",
    "/models/finance/fuel-cost;x/predict",
    "/models/finance/fuel-cost/predict\n",
    "/models/finance/fuel-cost\0/predict",
    "/models/Finance/fuel-cost/predict",
    "/models/finance/fuel-cost /predict",
    "/models/finance/\u202efuel-cost/predict",
    "/models/finance/fuel‐cost/predict",  # noqa: RUF001 - another hyphen
    "/models/fınance/fuel-cost/predict",  # noqa: RUF001 - an i without a dot
    "/models/finance/" + "f" * 200_000 + "/predict",
    "/models/file:/etc/predict",
    "/models/finance/fuel-cost/versions/0/predict",
    "/models/finance/fuel-cost/versions/01/predict",
    "/models/finance/fuel-cost/versions/1e0/predict",
    "/models/finance/fuel-cost/versions/²/predict",
    "/models/finance/fuel-cost/versions/9999999999/predict",
    "/models/finance/fuel-cost/versions/1/aliases/champion/predict",
    "/models/finance/fuel-cost",
    "/models/",
    "/v2/",
    "/v2x",
    "/v2/models/finance.fuel-cost/infer/",
    "/v2/models/finance.fuel.cost/infer",
    "/v2/models/finance.fuel-cost/versions//infer",
    "/v2/models/../models/finance.fuel-cost/infer",
]


@pytest.mark.parametrize("path", ODD, ids=lambda p: ascii(p[:60]))
def test_other_spellings_are_nothing(path: str) -> None:
    """HARDENING 1-6."""

    async def test(client: Caller) -> None:
        body = {"type": "http.request", "body": b'[{"x": 1}]'}
        for method in ("POST", "GET", "DELETE"):
            start, _ = await raw(client.front, path, path.encode(), body, method=method)
            assert start["status"] == 404
        assert (client.front.yard.ensured, client.front.counters.values) == (0, {})

    asks(test)


@pytest.mark.parametrize("step", [b"%66inance", b"f%69nance", b"finance%2f..%2ffinance", b"%2e%2e/finance"])
def test_an_encoded_address_is_nothing_even_if_it_spells_a_right_one(step: bytes) -> None:
    """HARDENING 2."""

    async def test(client: Caller) -> None:
        body = {"type": "http.request", "body": b'[{"x": 1}]'}
        raw_path = b"/models/" + step + b"/fuel-cost/predict"
        start, _ = await raw(client.front, FUEL, raw_path, body)
        assert start["status"] == 404
        start, _ = await raw(client.front, "/v2/models/finance.fuel-cost/ready", raw_path, body, method="GET")
        assert start["status"] == 404
        assert client.front.yard.ensured == 0

    asks(test)


def test_a_client_that_hangs_up_has_asked_for_nothing() -> None:
    async def test(client: Caller) -> None:
        half = {"type": "http.request", "body": b'[{"x": 1}', "more_body": True}
        assert await raw(client.front, FUEL, FUEL.encode(), half, {"type": "http.disconnect"}) == []
        assert client.front.yard.ensured == 0

    asks(test)


# Who may


@pytest.mark.parametrize(
    "header",
    ["", "Bearer", "Bearer ", "Basic anna", "Bearer nobody", "Bearer old", "anna", "Bearer ' OR 1=1 --"],
)
@pytest.mark.parametrize("path", [FUEL, "/models/finance/none/predict", "/nowhere", "/v2", "/v2/models/a.b"])
def test_without_a_valid_token_nothing_is_told(header: str, path: str) -> None:
    """HARDENING 35, 40."""

    async def test(client: Caller) -> None:
        found = await client.post(path, json=[{"x": 1}], headers={"Authorization": header})
        assert (found.status_code, found.headers["www-authenticate"]) == (401, "Bearer")
        assert client.front.yard.ensured == 0

    asks(test, None)


def test_unknown_and_forbidden_look_alike_across_departments() -> None:
    """HARDENING 42."""

    async def test(client: Caller) -> None:
        seen = set()
        for department, name in (("finance", "fuel-cost"), ("finance", "none"), ("nowhere", "none")):
            for place in ("", "/versions/1", "/versions/77", "/aliases/champion", "/aliases/none"):
                found = await client.post(f"/models/{department}/{name}{place}/predict", json=[{"x": 1}])
                text = found.text.replace(f"{department}/{name}", "MODEL")
                headers = {
                    k: v for k, v in found.headers.items() if k not in ("x-request-id", "content-length")
                }
                seen.add((found.status_code, text, str(headers)))
            for verb, method in (("", "GET"), ("/ready", "GET"), ("/infer", "POST"), ("/infer", "GET")):
                found = await client.request(method, f"/v2/models/{department}.{name}{verb}")
                assert found.status_code == 404
                del found.headers["x-request-id"]
                seen.add((404, found.json()["detail"].replace(f"{department}/{name}", "MODEL"), ""))
        assert len(seen) == 2  # one of each door
        assert client.front.yard.ensured == 0

    asks(test, "eve")


def test_a_viewer_sees_that_the_model_is_there_but_may_not_ask_it() -> None:
    async def test(client: Caller) -> None:
        found = await client.post(FUEL, json=[{"x": 1}])
        assert (found.status_code, "role caller" in found.json()["hint"]) == (403, True)
        assert client.front.yard.ensured == 0

    asks(test, "vera")


def test_a_model_without_champion() -> None:
    async def test(client: Caller) -> None:
        found = await client.post("/models/finance/new/predict", json=[{"x": 1}])
        assert found.status_code == 409
        assert (await client.post("/models/finance/none/predict", json=[])).status_code == 404

    asks(test)


# Open Inference Protocol


def test_v2_describes_itself_and_its_models() -> None:
    async def test(client: Caller) -> None:
        about = (await client.get("/v2")).json()
        assert about == {"name": "modelyard", "version": "1.2.3", "extensions": ["binary_tensor_data"]}
        found = (await client.get("/v2/models/finance.mixed")).json()
        assert [(t["name"], t["datatype"], t["shape"]) for t in found["inputs"]] == [
            ("x", "FP64", [-1]),
            ("n", "INT64", [-1]),
            ("b", "BOOL", [-1]),
            ("s", "BYTES", [-1]),
        ]
        assert (found["name"], found["versions"], found["platform"]) == (
            "finance.mixed",
            ["1"],
            "modelyard_python",
        )
        assert (await client.get("/v2/models/finance.fuel-cost/versions/1")).json()["versions"] == ["1"]
        head = await client.head("/v2/models/finance.mixed")
        assert (head.status_code, head.content, int(head.headers["content-length"]) > 100) == (200, b"", True)

    asks(test)


def test_v2_health_needs_no_token_and_knows_whether_routes_are_there() -> None:
    async def test(client: Caller) -> None:
        assert (await client.get("/v2/health/ready")).status_code == 200
        client.front.table = EMPTY
        assert (await client.get("/v2/health/ready")).status_code == 503
        assert (await client.get("/v2/health/live")).status_code == 200

    asks(test, None)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/v2/models/finance.mixed/infer", "POST"),
        ("POST", "/v2/models/finance.mixed", "GET, HEAD"),
        ("DELETE", "/v2/models/finance.mixed", "GET, HEAD"),
        ("OPTIONS", "/v2/models/finance.mixed/ready", "GET, HEAD"),
        ("PUT", "/v2", "GET, HEAD"),
        ("POST", "/v2/health/live", "GET, HEAD"),
        ("DELETE", "/metrics", "GET, HEAD"),
    ],
)
def test_v2_methods(method: str, path: str, allowed: str) -> None:
    async def test(client: Caller) -> None:
        found = await client.request(method, path)
        assert (found.status_code, found.headers["allow"]) == (405, allowed)

    asks(test)


def test_v2_errors_are_where_inference_clients_look() -> None:
    async def test(client: Caller) -> None:
        bad = {"inputs": [{"name": "x", "datatype": "FP64", "shape": [2], "data": [1.0]}]}
        found = await client.post("/v2/models/finance.fuel-cost/infer", json=bad)
        assert found.status_code == 422
        assert found.json()["error"].startswith("The tensor 'x' has 1 values")
        packed = {"Content-Encoding": "gzip"}
        found = await client.post("/v2/models/finance.fuel-cost/infer", json=bad, headers=packed)
        assert found.status_code == 415

    asks(test)


# Metrics


def test_metrics_are_those_of_the_departments_one_sees() -> None:
    async def test(client: Caller) -> None:
        await client.post(FUEL, json=[{"x": 1}] * 3)
        await client.post(FUEL, json=[{"x": 13}])
        text = (await client.get("/metrics")).text
        labels = 'model="finance/fuel-cost",version="2"'
        assert f"modelyard_predict_rows_total{{{labels}}} 3\n" in text
        assert f'modelyard_predict_requests_total{{{labels},outcome="model-failed"}} 1\n' in text
        assert 'modelyard_worker_memory_bytes{model="finance/a",version="1",replica="0"} 0\n' in text
        assert "operations" not in text
        eve = {"Authorization": "Bearer eve"}
        assert "finance" not in (await client.get("/metrics", headers=eve)).text
        adam = {"Authorization": "Bearer adam"}
        assert "finance/a" in (everything := (await client.get("/metrics", headers=adam)).text)
        assert "operations/b" in everything

    asks(test)


# The real client


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """Both doors, served by uvicorn in a thread of its own."""
    begun: list[uvicorn.Server] = []
    ports: list[int] = []
    up = threading.Event()

    async def serve() -> None:
        async with dock(behave) as yard:
            front = Front(yard)
            server = uvicorn.Server(uvicorn.Config(front, port=0, log_level="warning", lifespan="off"))
            begun.append(server)
            task = asyncio.create_task(server.serve())
            while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
                await asyncio.sleep(0.01)
            ports.append(server.servers[0].sockets[0].getsockname()[1])
            up.set()
            await task
            await front.predict.close()
            front.scratch.cleanup()
            front.pool.swap(EMPTY)
            await asyncio.sleep(0)

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    assert up.wait(180)
    yield ports[0]
    begun[0].should_exit = True
    thread.join(180)


@pytest.fixture
def client(port: int) -> Iterator[triton.InferenceServerClient]:
    """NVIDIA's own client; the token goes as a header with each call."""
    with triton.InferenceServerClient(f"127.0.0.1:{port}") as made:
        yield made


def anna() -> dict[str, str]:
    """Anna's token; anew for each call, for the client keeps its own headers in what it is given."""
    return {"Authorization": "Bearer anna"}


def given(name: str, values: Any, datatype: str, *, binary: bool) -> triton.InferInput:
    array = np.array(values)
    made = triton.InferInput(name, list(array.shape), datatype)
    made.set_data_from_numpy(array, binary_data=binary)
    return made


def test_tritonclient_finds_the_models(client: triton.InferenceServerClient) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("finance.fuel-cost", headers=anna())
    assert client.is_model_ready("finance.fuel-cost", "1", headers=anna())
    assert not client.is_model_ready("finance.none", headers=anna())
    assert client.get_server_metadata(headers=anna())["name"] == "modelyard"
    found = client.get_model_metadata("finance.mixed", headers=anna())
    assert [t["name"] for t in found["outputs"]] == ["label", "probability:a"]


@pytest.mark.parametrize("in_binary", [True, False], ids=["binary in", "JSON in"])
@pytest.mark.parametrize("out_binary", [True, False], ids=["binary out", "JSON out"])
def test_tritonclient_predicts(
    client: triton.InferenceServerClient, *, in_binary: bool, out_binary: bool
) -> None:
    inputs = [
        given("x", np.array([1.0, 3.0], dtype=np.float32), "FP32", binary=in_binary),
        given("n", np.array([[1], [2]], dtype=np.int16), "INT16", binary=in_binary),
        given("b", [True, False], "BOOL", binary=in_binary),
        given("s", np.array(["é", ""], dtype=object), "BYTES", binary=in_binary),
    ]
    outputs = [triton.InferRequestedOutput(n, binary_data=out_binary) for n in ("probability:a", "label")]
    result = client.infer("finance.mixed", inputs, outputs=outputs, headers=anna(), request_id="42")
    assert result.as_numpy("probability:a").tolist() == [0.5, 1.5]
    labels = [v.decode() if isinstance(v, bytes) else v for v in result.as_numpy("label")]
    assert labels == ["é", ""]
    assert (result.get_response()["id"], result.get_response()["model_version"]) == ("42", "1")


@pytest.mark.parametrize("code", ["FP16", "FP32", "FP64", "INT8", "INT32", "UINT16", "UINT64"])
def test_tritonclient_sends_one_tensor_for_all_columns(
    client: triton.InferenceServerClient, code: str
) -> None:
    dtype = code.lower().replace("fp", "float")
    table = given("input-0", np.array([[1, 2], [3, 4]], dtype=dtype), code, binary=True)
    result = client.infer("finance.numbers", [table], headers=anna())
    assert result.as_numpy("prediction").tolist() == [2.0, 6.0]


def test_tritonclient_hears_why_it_failed(client: triton.InferenceServerClient) -> None:
    x = given("x", [13.0], "FP64", binary=True)
    with pytest.raises(InferenceServerException, match="no thirteens"):
        client.infer("finance.fuel-cost", [x], headers=anna())
    with pytest.raises(InferenceServerException, match="no model finance/none"):
        client.infer("finance.none", [x], headers=anna())
    with pytest.raises(InferenceServerException, match="needs a token"):
        client.infer("finance.fuel-cost", [x])


def test_a_wrong_content_length_harms_nobody(port: int) -> None:
    """Too long: the client hangs up and nothing was asked; too short: what follows is no request."""

    async def test() -> None:
        for length in (1000, 3):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            head = f"POST {FUEL} HTTP/1.1\r\nHost: yard\r\nAuthorization: Bearer anna\r\n"
            writer.write(f'{head}Content-Length: {length}\r\n\r\n[{{"x": 1}}]'.encode())
            writer.write_eof()
            answer = await asyncio.wait_for(reader.read(), 180)
            assert b"200 OK" not in answer
            writer.close()
            await writer.wait_closed()
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=anna()) as client:
            assert (await client.post(FUEL, json=[{"x": 1}])).json()["predictions"] == [2.0]

    run(test)


def test_outcomes_come_as_parquet_too() -> None:
    """Read by a process of its own; each column is the id, the row, the outcome or a key."""

    async def test(client: Caller) -> None:
        async def send(**columns: Any) -> httpx.Response:
            headers = {"Content-Type": "application/vnd.apache.parquet"}
            path = "/models/finance/fuel-cost/outcomes"
            return await client.post(path, content=parquet(**columns), headers=headers)

        answer = await send(request_id=["a", "b"], row=[0, 7], actual=[1.5, 0.1 + 0.2])
        assert (answer.status_code, answer.json()["accepted"]) == (202, 2)
        assert (await send(flight=["UA1", "UA2"], actual=[1, 2])).status_code == 202
        by_id, by_key = ({c.name: to_values(c) for c in decode(f).columns} for f in client.front.came)
        assert (by_id["request"], by_id["row"], by_id["actual"]) == (["a", "b"], [0, 7], [1.5, 0.1 + 0.2])
        assert (by_key["keys"], by_key["actual"]) == (['{"flight":"UA1"}', '{"flight":"UA2"}'], [1, 2])
        for columns, status, words in (
            ({"flight": ["UA1", "UA2"], "actual": [1.0, None]}, 422, "Row 1 has no `actual`"),
            ({"flight": ["UA1"] * 101, "actual": [1.0] * 101}, 413, "101"),
            ({"flight": [["UA1"]], "actual": [1.0]}, 422, "flight"),
        ):
            refused = await send(**columns)
            assert (refused.status_code, words in refused.json()["detail"]) == (status, True), refused.text
        assert len(client.front.came) == 2

    asks(test)
