"""MLServer on the same model, set up as its guide says; the best of its settings counts."""

from __future__ import annotations

import json
import pickle
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from bench.load import Request
from bench.models import Matrix
from bench.peers.install import Started, end, free_port, memory_of, mlserver, wait_until

NAME = "cancer"
# What its guide offers for speed: inference processes (parallel_workers), and adaptive batching.
SETTINGS: dict[str, tuple[int, dict[str, object]]] = {
    "parallel_workers=1": (1, {}),
    "parallel_workers=0": (0, {}),
    "parallel_workers=0, adaptive batching": (0, {"max_batch_size": 8, "max_batch_time": 0.001}),
    "parallel_workers=1, adaptive batching": (1, {"max_batch_size": 8, "max_batch_time": 0.001}),
}


@contextmanager
def serving(model: object, row: Matrix, setting: str, folder: Path) -> Iterator[Request]:
    """MLServer with the model; the request that asks it for one row.

    Raises:
        PeerMissingError: it cannot be installed or does not start.
    """
    with started(model, row, setting, folder) as found:
        yield found.request


@contextmanager
def started(model: object, row: Matrix, setting: str, folder: Path) -> Iterator[Started]:
    """The same, and what it takes.

    Raises:
        PeerMissingError: it cannot be installed or does not start.
    """
    home = mlserver()
    workers, batching = SETTINGS[setting]
    folder.mkdir(parents=True)
    (folder / "model.pickle").write_bytes(pickle.dumps(model))
    port = free_port()
    ports = {"http_port": port, "grpc_port": free_port(), "metrics_port": free_port()}
    server = {"debug": False, "host": "127.0.0.1", "parallel_workers": workers, **ports}
    (folder / "settings.json").write_text(json.dumps(server))
    settings = {
        "name": NAME,
        "implementation": "mlserver_sklearn.SKLearnModel",
        "parameters": {"uri": "./model.pickle", "version": "1"},
        **batching,
    }
    (folder / "model-settings.json").write_text(json.dumps(settings))
    url = f"http://127.0.0.1:{port}/v2/models/{NAME}"
    log, began = folder / "log", time.perf_counter()
    with log.open("w") as file:
        command = [str(home / "bin/mlserver"), "start", "."]
        process = subprocess.Popen(command, cwd=folder, stdout=file, stderr=file, start_new_session=True)
    try:
        wait_until(lambda: httpx.get(f"{url}/ready").status_code == 200, "MLServer", log)
        request = Request(f"{url}/infer", _body(row), {"Content-Type": "application/json"})
        yield Started(request, time.perf_counter() - began, lambda: memory_of(process))
    finally:
        end(process)


def _body(row: Matrix) -> bytes:
    tensor = {"name": "x", "shape": [1, len(row)], "datatype": "FP64", "data": row.tolist()}
    return json.dumps({"inputs": [tensor]}).encode()
