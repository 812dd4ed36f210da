"""Python's other servers with the same model, each as its own guide shows it, one process for the model."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from textwrap import dedent

import httpx
from msgspec import Struct

from bench.load import Request
from bench.machine import TOOLS
from bench.models import COLUMNS
from bench.peers.install import LIBRARIES, Started, end, free_port, memory_of, once, packages, wait_until

_QUIET = {  # nothing leaves the machine
    "BENTOML_DO_NOT_TRACK": "true",
    "DO_NOT_TRACK": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "RAY_USAGE_STATS_ENABLED": "0",
}
_HEADERS = {"Content-Type": "application/json"}


class Peer(Struct, frozen=True):
    """A server: what is installed, the program, how it is started ({bin} and {port} are filled in), how it
    is asked.
    """

    name: str
    packages: tuple[str, ...]
    program: str
    command: str
    body: Callable[[Sequence[float]], object]
    path: str = "/predict"
    prepare: str = ""


def _records(row: Sequence[float]) -> object:
    return [dict(zip(COLUMNS, row, strict=True))]


PEERS = (
    Peer(
        "FastAPI by hand",
        ("fastapi[standard]",),
        """
        import pickle
        from fastapi import FastAPI
        from pydantic import create_model

        NAMES = [f"x{i}" for i in range(30)]
        Row = create_model("Row", **{name: (float, ...) for name in NAMES})
        model = pickle.load(open("model.pkl", "rb"))
        app = FastAPI()

        @app.post("/predict")
        def predict(rows: list[Row]):
            table = [[getattr(row, name) for name in NAMES] for row in rows]
            return {"predictions": model.predict_proba(table).tolist()}
        """,
        "{bin}/uvicorn program:app --port {port} --log-level warning --no-access-log",
        _records,
    ),
    Peer(
        "LitServe",
        ("litserve==0.2.19",),
        """
        import os, pickle
        import litserve
        import numpy

        class Model(litserve.LitAPI):
            def setup(self, device):
                self.model = pickle.load(open("model.pkl", "rb"))

            def decode_request(self, request):
                return numpy.array(request["input"])

            def batch(self, inputs):
                return numpy.stack(inputs)

            def predict(self, table):
                return self.model.predict_proba(table)

            def unbatch(self, output):
                return list(output)

            def encode_response(self, output):
                return {"output": output.tolist()}

        if __name__ == "__main__":
            api = Model(max_batch_size=32, batch_timeout=0.001)
            server = litserve.LitServer(api, accelerator="cpu")
            server.run(port=int(os.environ["PORT"]), host="127.0.0.1", generate_client_file=False,
                       num_api_servers=1, log_level="warning")
        """,
        "{bin}/python program.py",
        lambda row: {"input": list(row)},
    ),
    Peer(
        "BentoML",
        ("bentoml==1.4.40",),
        """
        import pickle
        import bentoml
        import numpy

        @bentoml.service(workers=1)
        class Model:
            def __init__(self) -> None:
                self.model = pickle.load(open("model.pkl", "rb"))

            @bentoml.api(batchable=True, max_batch_size=32, max_latency_ms=1000)
            def predict(self, rows: numpy.ndarray) -> numpy.ndarray:
                return self.model.predict_proba(rows)
        """,
        "{bin}/bentoml serve program:Model --port {port} --host 127.0.0.1",
        lambda row: {"rows": [list(row)]},
    ),
    Peer(
        "Ray Serve",
        ("ray[serve]==2.60.0",),
        """
        import os, pickle
        import ray
        from ray import serve

        @serve.deployment(num_replicas=1, max_ongoing_requests=100)
        class Model:
            def __init__(self):
                self.model = pickle.load(open("model.pkl", "rb"))

            @serve.batch(max_batch_size=32, batch_wait_timeout_s=0.001)
            async def many(self, rows):
                return self.model.predict_proba(rows).tolist()

            async def __call__(self, request):
                return await self.many(await request.json())

        ray.init(include_dashboard=False, _node_ip_address="127.0.0.1")
        serve.start(http_options={"host": "127.0.0.1", "port": int(os.environ["PORT"])})
        serve.run(Model.bind(), route_prefix="/predict", blocking=True)
        """,
        "{bin}/python program.py",
        list,
    ),
    Peer(
        "MLflow",
        ("mlflow==3.17.2",),
        "",
        "{bin}/mlflow models serve -m saved --env-manager local -h 127.0.0.1 -p {port} -w 1",
        lambda row: {"inputs": [list(row)]},
        path="/invocations",
        prepare="""
        import pickle
        import mlflow.sklearn

        model = pickle.load(open("model.pkl", "rb"))
        mlflow.sklearn.save_model(model, "saved", serialization_format="pickle")
        """,
    ),
    Peer(
        "vetiver",
        ("vetiver==0.2.6",),
        """
        import pickle
        import pandas
        import vetiver

        model = pickle.load(open("model.pkl", "rb"))
        example = pandas.DataFrame([[0.5] * 30], columns=[f"x{i}" for i in range(30)])
        app = vetiver.VetiverAPI(vetiver.VetiverModel(model, "model", prototype_data=example)).app
        """,
        "{bin}/uvicorn program:app --port {port} --log-level warning --no-access-log",
        _records,
    ),
)


@contextmanager
def serving(peer: Peer, model: object, row: Sequence[float], folder: Path) -> Iterator[Started]:
    """The peer with the model.

    Raises:
        PeerMissingError: it cannot be installed or does not start.
    """
    home = _installed(peer)
    folder.mkdir(parents=True)
    (folder / "model.pkl").write_bytes(pickle.dumps(model))
    (folder / "program.py").write_text(dedent(peer.program))
    port = free_port()
    paths = {"PATH": f"{home / 'bin'}:{os.environ['PATH']}", "HOME": str(folder), "PORT": str(port)}
    environment = {**_without_ours(), **_QUIET, **paths}
    log = folder / "log"
    url, body = f"http://127.0.0.1:{port}{peer.path}", json.dumps(peer.body(row)).encode()
    with log.open("w") as file:
        told = {"cwd": folder, "env": environment, "stdout": file, "stderr": file}
        if peer.prepare:
            subprocess.run([str(home / "bin/python"), "-c", dedent(peer.prepare)], check=False, **told)  # type: ignore[call-overload]
        command = peer.command.format(bin=home / "bin", port=port).split()
        began = time.perf_counter()
        process = subprocess.Popen(command, start_new_session=True, **told)  # type: ignore[call-overload]
    try:
        wait_until(
            lambda: httpx.post(url, content=body, headers=_HEADERS).status_code == httpx.codes.OK,
            peer.name,
            log,
        )
        seconds = time.perf_counter() - began
        yield Started(Request(url, body, _HEADERS), seconds, lambda: memory_of(process))
    finally:
        end(process)


def _without_ours() -> dict[str, str]:
    ours = ("PYTHONPATH", "VIRTUAL_ENV", "PYTHONDONTWRITEBYTECODE")
    return {key: value for key, value in os.environ.items() if key not in ours}


def _installed(peer: Peer) -> Path:
    folder, wanted = TOOLS / peer.name.lower().replace(" ", "-"), [*peer.packages, *LIBRARIES]

    def install() -> None:
        packages(folder, wanted)

    return once(folder, peer.name, install, wanted)
