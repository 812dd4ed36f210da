"""Publishing: from the call until the model answers."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Iterator

import httpx

from bench.figures.common import Run, yard_with
from bench.models import COLUMNS, logistic, python_bundle, training_data
from bench.report import Figure, spread
from bench.yard import Yard
from modelyard.client import Yard as Client

_SECONDS = 2.0


def measure(run: Run) -> Iterator[Figure]:
    """The figure `publish`."""
    row = training_data()[0][0].tolist()
    body = json.dumps([dict(zip(COLUMNS, row, strict=True))]).encode()
    by_http, by_sdk = [], []
    with yard_with(run, "publish", {}) as yard, yard.client() as client:
        sdk = Client(yard.url, yard.headers["Authorization"].removeprefix("Bearer "), progress=lambda _: None)
        for number in range(run.rounds):
            name = f"bench/http-{number}"
            bundle = python_bundle(logistic(1.0 + number), run.folder / "publish" / str(number))
            by_http.append(_publish(yard, client, name, bundle, body))
            model = logistic(100.0 + number)
            began = time.perf_counter()
            sdk.publish(model, f"bench/sdk-{number}", example=training_data()[0][:20])
            client.post(f"/models/bench/sdk-{number}/predict", content=body).raise_for_status()
            by_sdk.append(time.perf_counter() - began)
        sdk.close()
    yield Figure(
        name="publish",
        what="publish a scikit-learn pipeline over HTTP, same environment, until it serves",
        measured=f"{spread(by_http)} s",
        reach=f"< {_SECONDS:g} s",
        reached=statistics.median(by_http) < _SECONDS,
        details=(
            "from sending the bundle until a prediction is answered; most of it is scikit-learn's own import",
            f"by the Python SDK's `publish`, which pickles and answers the example first: {spread(by_sdk)} s",
        ),
    )


def _publish(yard: Yard, client: httpx.Client, model: str, bundle: bytes, body: bytes) -> float:
    began = time.perf_counter()
    yard.publish(client, model, bundle)
    client.post(f"/models/{model}/predict", content=body).raise_for_status()
    return time.perf_counter() - began
