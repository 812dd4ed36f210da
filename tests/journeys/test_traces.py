"""Traces of a real yard, taken by a collector of the test's own; and that nothing is loaded without one."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from modelyard import traces
from modelyard.records.errors import InvalidError
from tests.journeys.models import code_bundle, times
from tests.journeys.running import RunningYard, publish, until

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"
FAILS = code_bundle(
    "def predict(columns):\n    if columns['x'][0] > 90: raise ValueError('x')\n    return columns['x']\n"
)


class Collector:
    """Takes OTLP over HTTP and keeps all that comes."""

    def __init__(self) -> None:
        self.bytes = b""
        self.spans: list[Span] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                collector.take(self.path, body)
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def take(self, path: str, body: bytes) -> None:
        assert path == "/v1/traces"
        self.bytes += body
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            for scope in resource.scope_spans:
                self.spans += scope.spans

    def named(self, name: str) -> list[Span]:
        return [span for span in self.spans if span.name == name]


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    made = Collector()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture(scope="module")
def yard(collector: Collector, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningYard]:
    variables = {"YARD_TRACES": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "100", "YARD_FRONTS": "1"}
    with RunningYard(tmp_path_factory.mktemp("traced"), variables) as running:
        with running.client() as client:
            publish(client, "ops/twice", times(2))
            publish(client, "ops/picky", FAILS)
        yield running


def value_of(span: Span, key: str) -> object:
    for attribute in span.attributes:
        if attribute.key == key:
            return getattr(attribute.value, str(attribute.value.WhichOneof("value")))
    return None


def test_a_prediction_goes_on_with_its_callers_trace(yard: RunningYard, collector: Collector) -> None:
    with yard.client() as client:
        answer = client.post(
            "/models/ops/twice/predict",
            json=[{"x": 4242.53125}],
            headers={"traceparent": f"00-{TRACE}-{PARENT}-01"},
        )
    assert answer.json()["predictions"] == [8485.0625]
    mine = until(lambda: [s for s in collector.spans if s.trace_id.hex() == TRACE and s.name == "predict"])
    parent = mine[0].parent_span_id  # which ends later, and may come with the next batch
    request = until(lambda: next((s for s in collector.spans if s.span_id == parent), None))
    assert (request.parent_span_id.hex(), request.name) == (PARENT, "POST /models/…/predict")
    assert value_of(request, "http.response.status_code") == 200
    assert value_of(request, "yard.request_id") == answer.json()["request_id"]
    assert (value_of(mine[0], "yard.model"), value_of(mine[0], "yard.version")) == ("ops/twice", 1)
    assert value_of(mine[0], "yard.rows") == 1
    assert request.start_time_unix_nano <= mine[0].start_time_unix_nano <= mine[0].end_time_unix_nano


def test_a_caller_that_does_not_trace_is_not_traced(yard: RunningYard, collector: Collector) -> None:
    other = TRACE[::-1]
    with yard.client() as client:
        for flag, trace in (("00", other), ("01", TRACE.replace("0", "1"))):
            client.get("/api/v1/models", headers={"traceparent": f"00-{trace}-{PARENT}-{flag}"})
    until(lambda: [s for s in collector.spans if s.trace_id.hex() == TRACE.replace("0", "1")])
    assert not [s for s in collector.spans if s.trace_id.hex() == other]


@pytest.mark.usefixtures("yard")
def test_the_loops_steps_are_traced(collector: Collector) -> None:
    found = until(lambda: collector.named("loop alert"))
    assert value_of(found[0], "yard.subject")


def test_what_fails_says_what_kind_it_is_and_nothing_of_the_row(
    yard: RunningYard, collector: Collector
) -> None:
    with yard.client() as client:
        assert client.post("/models/ops/picky/predict", json=[{"x": 9191.25}]).status_code == 500
    failed = until(lambda: [s for s in collector.named("predict") if value_of(s, "error.type")])
    assert value_of(failed[0], "error.type") == "model-failed"
    for secret in (yard.token, "9191.25", "4242.53125", "8485.0625"):
        assert secret.encode() not in collector.bytes
    assert not any(event for span in collector.spans for event in span.events)


def test_a_collector_that_is_away_costs_no_answer(tmp_path: Path) -> None:
    with RunningYard(tmp_path, {"YARD_TRACES": "http://127.0.0.1:9", "YARD_FRONTS": "1"}) as yard:
        with yard.client() as client:
            assert client.get("/api/v1/models").status_code == 200
        assert yard.stop() == 0


def test_without_it_nothing_is_loaded() -> None:
    code = "import sys, modelyard.up; sys.exit(any(name.startswith('opentelemetry') for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_where_it_is_not_installed_the_words_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traces, "_PARTS", ("nowhere.at.all",))
    with pytest.raises(InvalidError, match="pip install 'modelyard\\[otel\\]'"):
        traces.check_installed()
