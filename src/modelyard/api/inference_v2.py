"""The Open Inference Protocol v2, as KServe and Triton clients speak it; models are `department.name`."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import Struct

from modelyard.api.auth import identify
from modelyard.api.errors import NOWHERE, MethodError
from modelyard.api.exchange import Receive, Reply, Scope, Send, exchange, header, read_body, wait_of
from modelyard.api.tensors import DATATYPES, read_request, to_inputs, write_reply
from modelyard.records.errors import NotFoundError
from modelyard.records.people import Grant, Need
from modelyard.records.references import CHAMPION
from modelyard.records.rollouts import RouteTable, ServedVersion
from modelyard.records.signatures import Column
from modelyard.serving.predict import Predictor
from modelyard.serving.routes import find_version
from modelyard.serving.tap import Asked

NEED = Need.PREDICT  # but for `/v2` itself (any token) and its health (none)

_NAME = "[a-z][a-z0-9-]{0,62}"
_PATH = re.compile(
    rf"/v2/models/({_NAME})\.({_NAME})(?:/versions/([1-9][0-9]{{0,8}}))?(/ready|/infer)?", re.ASCII
)
_IN_A_THREAD = 256 * 1024


class _Place(Struct, frozen=True):
    """What an address names, and what is asked of it: `infer`, `ready` or (empty) its description."""

    model: str
    version: int | None
    verb: str


class InferenceV2:
    """Answers everything under `/v2`.

    Args:
        table: the routes as they are now.
        max_body: bytes of a request.
        version: of the software.
    """

    def __init__(
        self, table: Callable[[], RouteTable], predictor: Predictor, max_body: int, version: str
    ) -> None:
        self._table = table
        self._predictor = predictor
        self._max_body = max_body
        self._version = version

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request_id = self._predictor.new_request_id()
        await exchange(scope, send, request_id, self._answer(scope, receive, request_id), error_key=True)

    async def _answer(self, scope: Scope, receive: Receive, request_id: str) -> Reply:
        path: str = scope["path"]
        if path in ("/v2/health/live", "/v2/health/ready"):
            _check_method(scope, "GET, HEAD")
            ready = path.endswith("live") or self._table().generation >= 0
            return Reply(b"", status=200 if ready else 503)
        grant = identify(header(scope, b"authorization").decode("latin-1"), self._table())
        if path == "/v2":
            _check_method(scope, "GET, HEAD")
            about = {"name": "modelyard", "version": self._version, "extensions": ["binary_tensor_data"]}
            return Reply(msgspec.json.encode(about))
        place = _place_of(path)
        if place is None or b"%" in scope.get("raw_path", b""):
            raise NotFoundError(NOWHERE)
        served = find_version(self._table(), grant, place.model, None, place.version)
        _check_method(scope, "POST" if place.verb == "infer" else "GET, HEAD")
        if place.verb == "infer":
            return await self._infer(scope, receive, request_id, (served, grant, place))
        return Reply(b"" if place.verb == "ready" else msgspec.json.encode(_describe(served)))

    async def _infer(
        self, scope: Scope, receive: Receive, request_id: str, of: tuple[ServedVersion, Grant, _Place]
    ) -> Reply:
        served, grant, place = of
        body = await read_body(scope, receive, self._max_body)
        began = time.monotonic()
        request, binary = read_request(body, header(scope, b"inference-header-content-length"))
        plan = self._predictor.plan(served)
        if len(body) <= _IN_A_THREAD:
            inputs = to_inputs(request, binary, plan)
        else:
            inputs = await asyncio.to_thread(to_inputs, request, binary, plan)
        route = CHAMPION if place.version is None else "version"
        self._predictor.admit(grant, inputs.count)
        wait = wait_of(header(scope, b"prefer"))
        caller = grant.principal
        asked = Asked(request_id, caller, route, inputs.count, began, inputs.keys, wait)
        answer = await self._predictor.answer(served, inputs, asked)
        reply, json_length = write_reply(request, answer)
        if json_length is None:
            return Reply(reply)
        length = ((b"inference-header-content-length", str(json_length).encode()),)
        return Reply(reply, b"application/octet-stream", headers=length)


def _check_method(scope: Scope, allowed: str) -> None:
    if scope["method"] not in allowed.split(", "):
        message = "Inference is asked for with POST, everything else read with GET."
        raise MethodError(message, f"Use {allowed}.", allow=allowed)


def _place_of(path: str) -> _Place | None:
    found = _PATH.fullmatch(path)
    if found is None:
        return None
    department, name, version, verb = found.groups()
    return _Place(f"{department}/{name}", int(version) if version else None, (verb or "").lstrip("/"))


def _describe(served: ServedVersion) -> dict[str, Any]:
    def tensors(columns: tuple[Column, ...]) -> list[dict[str, Any]]:
        return [{"name": c.name, "datatype": DATATYPES[c.type], "shape": [-1]} for c in columns]

    return {
        "name": served.model.replace("/", "."),
        "versions": [str(served.version)],
        "platform": f"modelyard_{served.language}",
        "inputs": tensors(served.signature.inputs),
        "outputs": tensors(served.signature.outputs),
    }
