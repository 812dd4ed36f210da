"""Try it: a form made from the signature, the answer with the version that gave it, and files of rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from litestar import Response, get, post
from litestar.di import NamedDependency
from msgspec import Struct

from modelyard.api.exchange import CSV, JSON, PARQUET, HungUpError, read_body
from modelyard.api.predict import Target
from modelyard.api.requests import number_of
from modelyard.api.services import Services
from modelyard.records.errors import ConflictError, MalformedError, NotFoundError, YardError
from modelyard.records.people import Grant, Need
from modelyard.records.rollouts import ServedVersion
from modelyard.records.signatures import LABEL
from modelyard.web.behind import Behind
from modelyard.web.inputs import fields_of, matches, record_of
from modelyard.web.look import page
from modelyard.web.models import ROOT, frame_of
from modelyard.web.requests import FORM, PageRequest
from modelyard.web.snippets import snippets

_PREDICT = {"need": Need.PREDICT, "changes": False}
_FILES = tuple(kind.decode() for kind in (CSV, PARQUET))
_BARS = 12  # classes shown


class Shown(Struct, frozen=True):
    """An answer as the page shows it.

    Attributes:
        value: the number or the label; empty where there are several outputs.
        shares: classes with their probabilities, the likeliest first.
        outputs: of several outputs each name and value.
        warnings: numbers outside what the model has seen.
    """

    version: int
    request_id: str
    value: str
    shares: list[tuple[str, float]]
    outputs: list[tuple[str, str]]
    warnings: list[str]


@get(ROOT + "/try", opt=_PREDICT)
async def try_it(
    model: NamedDependency[str],
    request: PageRequest,
    services: NamedDependency[Services],
    behind: NamedDependency[Behind],
) -> Response[bytes]:
    """The form, filled with an example."""
    frame = await frame_of(services, behind, model)
    number = _version(request.query_params.get("version"))
    try:
        served = _served(services, model, number)
    except ConflictError as error:
        return page(request, "try.html", frame=frame, tab="try", served=None, error=error, **_nothing(number))
    record = record_of(served.signature, {f.name: f.value for f in fields_of(served.signature)})
    return page(
        request,
        "try.html",
        frame=frame,
        tab="try",
        served=served,
        error=None,
        numbers=sorted(services.table().models[model].versions, reverse=True)[:200],
        **_nothing(number) | {"fields": fields_of(served.signature)},
        snippets=snippets(request.site, model, number, record),
    )


def _nothing(number: int | None) -> dict[str, Any]:
    return {"asked": number, "fields": [], "answer": None, "bad": None}


@post(ROOT + "/try", opt=_PREDICT | {"takes": (FORM,)}, status_code=200)
async def ask(
    model: NamedDependency[str],
    request: PageRequest,
    services: NamedDependency[Services],
    behind: NamedDependency[Behind],
    grant: NamedDependency[Grant],
) -> Response[bytes]:
    """The answer to what was typed: beside the form, or with it on a page of its own."""
    typed = await request.fields()
    number = _version(typed.get("version"))
    served = _served(services, model, number)
    record = record_of(served.signature, typed)
    told: dict[str, Any] = {
        "snippets": snippets(request.site, model, number, record),
        "bad": None,
        "answer": None,
    }
    status = 200
    try:
        target = Target(model, number, None)
        reply = await behind.ask(grant, target, msgspec.json.encode([record]), JSON, JSON)
        told["answer"] = shown(served, msgspec.json.decode(reply.body), record)
    except YardError as error:
        told["bad"], status = error, 422
    if request.is_part:
        return page(request, "parts/answer.html", status=status, served=served, **told)
    frame = await frame_of(services, behind, model)
    return page(
        request,
        "try.html",
        status=status,
        frame=frame,
        tab="try",
        served=served,
        error=None,
        numbers=sorted(services.table().models[model].versions, reverse=True)[:200],
        asked=number,
        fields=fields_of(served.signature, typed),
        **told,
    )


@get(ROOT + "/try/values", opt=_PREDICT)
async def values(
    model: NamedDependency[str], request: PageRequest, services: NamedDependency[Services]
) -> Response[bytes]:
    """Values of a column that fit what was typed, for its list of suggestions."""
    query = request.query_params
    served = _served(services, model, _version(query.get("version")))
    field = query.get("field", "")
    index = int(field[1:]) if field[1:].isdecimal() and len(field) < 6 else -1  # noqa: PLR2004
    if not 0 <= index < len(served.signature.inputs):
        raise NotFoundError("There is no such input.", "Reload the page.")
    found = matches(served.signature.inputs[index], query.get(field, ""))
    return page(request, "parts/values.html", values=found)


@post(ROOT + "/try/file", opt=_PREDICT | {"takes": _FILES}, status_code=200, request_max_body_size=None)
async def ask_file(
    model: NamedDependency[str],
    request: PageRequest,
    services: NamedDependency[Services],
    behind: NamedDependency[Behind],
    grant: NamedDependency[Grant],
) -> Response[bytes]:
    """The answers to a file's rows (or to a part of it, which the page sends one after another) as CSV."""
    number = _version(request.query_params.get("version"))
    _served(services, model, number)
    try:
        body = await read_body(request.scope, request.receive, behind.max_body)  # type: ignore[arg-type]
    except HungUpError as error:
        raise MalformedError("The file did not come whole.") from error
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower().encode()
    reply = await behind.ask(grant, Target(model, number, None), body, kind, CSV)
    headers = {k.decode(): v.decode() for k, v in reply.headers} | {"Cache-Control": "no-store"}
    return Response(reply.body, media_type=reply.content_type.decode(), headers=headers)


def shown(served: ServedVersion, answer: Mapping[str, Any], record: Mapping[str, Any]) -> Shown:
    """An answer of one row, ready to be shown."""
    prediction = answer["predictions"][0]
    shares: list[tuple[str, float]] = []
    outputs: list[tuple[str, str]] = []
    value = ""
    if isinstance(prediction, dict) and LABEL in prediction and prediction.keys() <= {LABEL, "probabilities"}:
        value = str(prediction[LABEL])
        known = {k: v for k, v in prediction.get("probabilities", {}).items() if v is not None}
        shares = sorted(known.items(), key=lambda item: -item[1])[:_BARS]
    elif isinstance(prediction, dict):
        outputs = [(name, _plain(found)) for name, found in prediction.items()]
    else:
        value = _plain(prediction)
    return Shown(answer["version"], answer["request_id"], value, shares, outputs, _outside(served, record))


def _plain(value: object) -> str:
    if value is None:
        return "no value"
    return f"{value:,.6g}" if isinstance(value, float) else str(value)


def _outside(served: ServedVersion, record: Mapping[str, Any]) -> list[str]:
    """What the model has not seen: no rule, but worth knowing."""
    found = []
    for column in served.signature.inputs:
        value = record.get(column.name)
        if isinstance(value, int | float) and column.low is not None and column.high is not None:
            if not column.low <= value <= column.high:
                found.append(f"{column.name}: the model has seen {column.low:g} to {column.high:g}.")
        elif isinstance(value, str) and value not in (column.levels or column.categories or (value,)):
            found.append(f"{column.name}: the model has not seen this value.")
    return found


def _version(text: str | None) -> int | None:
    return number_of(text, "version") if text else None


def _served(services: Services, model: str, number: int | None) -> ServedVersion:
    """The version that would answer.

    Raises:
        ConflictError: none would.
    """
    routes = services.table().models.get(model)
    served = None if routes is None else routes.champion if number is None else routes.versions.get(number)
    if served is None:
        what = f"Version {number} of {model}" if number else model
        raise ConflictError(
            f"{what} cannot be asked: it has not passed its check, or is not there.",
            "See the list of versions; why a check failed stands with the version.",
        )
    return served


HANDLERS = (try_it, ask, values, ask_file)
