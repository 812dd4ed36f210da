"""The API's description: OpenAPI 3.1, made once when it is first asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import cache
from typing import Any

import msgspec
from litestar import Litestar, Response, get
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import OpenAPIConfig
from litestar.openapi.spec import Components, SecurityScheme
from litestar.types import ControllerRouterHandler, Method

from modelyard.api.auth import routes
from modelyard.api.errors import PROBLEM_TYPE
from modelyard.records.people import Need

_WORDS = """Send `Authorization: Bearer TOKEN` with every request. Errors are RFC 9457 problems.
The Open Inference Protocol v2 is under `/v2`, with the model name `department.name`."""

_TEXT = {"type": "string"}
_PROBLEM = {
    "type": "object",
    "description": "RFC 9457. Further members say where in the input it is: `column`, `row`, `field`.",
    "required": ["type", "title", "status", "detail", "hint"],
    "properties": {
        "type": {**_TEXT, "examples": ["urn:problem-type:modelyard:not-found"]},
        "title": _TEXT,
        "status": {"type": "integer"},
        "detail": {**_TEXT, "description": "what happened and why"},
        "hint": {**_TEXT, "description": "what to do next"},
        "request_id": {**_TEXT, "description": "with faults of the yard: the log has it"},
    },
}
_ERROR = {
    "description": "An error",
    "content": {PROBLEM_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
}
_NUMBER_OR_LABEL = {
    "oneOf": [
        {"type": "number"},
        {
            "type": "object",
            "properties": {
                "label": {"type": ["string", "integer", "boolean"]},
                "probabilities": {"type": "object", "additionalProperties": {"type": "number"}},
            },
        },
        {"type": "object", "additionalProperties": {"type": "number"}},
    ]
}
_PREDICTIONS = {
    "type": "object",
    "properties": {
        "model": _TEXT,
        "version": {"type": "integer"},
        "request_id": _TEXT,
        "predictions": {"type": "array", "items": _NUMBER_OR_LABEL},
    },
}
_PREDICT_PATHS = {
    "/models/{department}/{name}/predict": ("predict", "Predict with the champion"),
    "/models/{department}/{name}/versions/{version}/predict": ("predict_version", "Predict with one version"),
    "/models/{department}/{name}/aliases/{alias}/predict": ("predict_alias", "Predict with an alias"),
}


def describe(schema: Callable[[], dict[str, Any]]) -> ControllerRouterHandler:
    """The handler that answers with a description, made when it is first asked for."""

    @cache
    def document() -> bytes:
        return msgspec.json.encode(schema())

    @get("/api/openapi.json", opt={"need": Need.SIGNED_IN}, tags=["yard"], summary="This description")
    async def openapi() -> Response[bytes]:
        """OpenAPI 3.1."""
        body = await asyncio.to_thread(document)
        return Response(body, media_type="application/vnd.oai.openapi+json")

    return openapi


def schema_of(app: Litestar) -> dict[str, Any]:
    """The description as JSON objects: Litestar's, with our errors, archives and prediction addresses."""
    schema = app.openapi_schema.to_schema()
    schema["components"]["schemas"]["Problem"] = _PROBLEM
    takes = {
        (path, method.lower()): (handler.opt["need"], handler.opt.get("takes", ()))
        for path, handler in routes(app)
        if isinstance(handler, HTTPRouteHandler) and "need" in handler.opt  # not the pages of Litestar
        for method in handler.http_methods
    }
    for path, item in schema["paths"].items():
        for method, operation in item.items():
            operation["responses"].pop("400", None)  # Litestar's form of an error, not ours
            operation["responses"]["default"] = _ERROR
            need, types = takes[path, method]
            operation["x-need"] = need
            if need is Need.NOTHING:
                operation["security"] = []
            if (
                types and "" not in types
            ):  # with "", no body is needed either: Litestar knows of it what there is
                binary = {"schema": {"type": "string", "format": "binary"}}
                operation["requestBody"] = {"required": True, "content": dict.fromkeys(types, binary)}
    for path, (name, summary) in _PREDICT_PATHS.items():
        schema["paths"][path] = {"post": _predict_operation(path, name, summary)}
    schema["paths"]["/models/{department}/{name}/outcomes"] = {"post": _outcomes_operation()}
    return schema


def config(version: str) -> OpenAPIConfig:
    """What Litestar needs to describe an application."""
    return OpenAPIConfig(
        title="Modelyard",
        version=version,
        description=_WORDS,
        use_handler_docstrings=True,
        security=[{"token": []}],
        components=Components(security_schemes={"token": SecurityScheme(type="http", scheme="bearer")}),
        operation_id_creator=_operation_id,
    )


def _operation_id(handler: HTTPRouteHandler, _method: Method, _path: list[Any]) -> str:
    return handler.handler_name.rpartition(".")[2]


def _outcomes_operation() -> dict[str, Any]:
    one = {"request_id": "5f1c0a9b3d2e-1", "row": 0, "actual": 12.5}
    rows = {"type": "array", "items": {"type": "object"}, "examples": [[one]]}
    accepted = {"type": "object", "properties": {"model": _TEXT, "accepted": {"type": "integer"}}}
    return {
        "tags": ["predictions"],
        "operationId": "send_outcomes",
        "summary": "Say what really happened",
        "description": "`actual` of the prediction with this `request_id` and `row` (0 if left out), or of "
        "all whose key columns have these values. They may come late, again or corrected: the last counts.",
        "x-need": Need.PREDICT,
        "parameters": [
            {"name": n, "in": "path", "required": True, "schema": _TEXT} for n in ("department", "name")
        ],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": rows}, "text/csv": {"schema": _TEXT}},
        },
        "responses": {
            "202": {"description": "Recorded", "content": {"application/json": {"schema": accepted}}},
            "default": _ERROR,
        },
    }


def _predict_operation(path: str, name: str, summary: str) -> dict[str, Any]:
    names = [part[1:-1] for part in path.split("/") if part.startswith("{")]
    rows = {"type": "array", "items": {"type": "object"}, "examples": [[{"distance": 1400, "carrier": "AA"}]]}
    binary = {"schema": {"type": "string", "format": "binary"}}
    return {
        "tags": ["predictions"],
        "operationId": name,
        "summary": summary,
        "description": "The rows as a JSON array of records, as CSV or as Parquet. The answer is JSON unless "
        "`Accept` names text/csv or application/vnd.apache.parquet.",
        "x-need": Need.PREDICT,
        "parameters": [{"name": n, "in": "path", "required": True, "schema": _TEXT} for n in names],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": rows},
                "text/csv": {"schema": _TEXT},
                "application/vnd.apache.parquet": binary,
            },
        },
        "responses": {
            "200": {
                "description": "One prediction a row",
                "content": {"application/json": {"schema": _PREDICTIONS}},
            },
            "default": _ERROR,
        },
    }
