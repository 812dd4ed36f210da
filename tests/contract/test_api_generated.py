"""Requests made up from the OpenAPI description, by every role: no fault of ours, no change elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import pytest
import schemathesis
from anyio.from_thread import start_blocking_portal
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelyard.api.application import api_schema
from modelyard.api.errors import PROBLEM_TYPE
from modelyard.catalog.people import People
from modelyard.catalog.registry import Registry
from modelyard.records.people import YARD_ROLES, Role
from modelyard.store.blobs import Blobs
from modelyard.store.database import Database
from tests.contract.api_house import ELSEWHERE, HERE, House


@schemathesis.serializer("application/x-tar", "application/gzip", "application/x-gzip")
def as_it_is(_: Any, value: Any) -> bytes:
    """An archive is bytes, whatever the schema makes up."""
    return value if isinstance(value, bytes) else str(value).encode()


SCHEMA = schemathesis.openapi.from_dict(api_schema("1.2.3"))
ALL: list[Any] = [operation.ok() for operation in cast("Any", SCHEMA.get_all_operations())]
OPERATIONS = {operation.label: operation for operation in ALL}
NOT_OURS = 500
# Names that are there, so that more than 404 is met.
KNOWN: dict[str, list[Any]] = {
    "department": [HERE, ELSEWHERE],
    "name": ["fuel-cost"],
    "version": [1],
    "number": [1],
}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("generated")
    database = Database(f"sqlite:///{folder / 'yard.sqlite'}")
    database.upgrade()
    registry = Registry(database, Blobs(str(folder / "blobs")), folder / "scratch")
    with start_blocking_portal() as portal, House(portal, registry, People(database), folder) as made:
        yield made
    database.close()


def elsewhere(house: House) -> Any:
    """All that a token of this department must not change."""
    there = frozenset({ELSEWHERE})
    models = house.registry.models(there)
    versions = [version for model in models for version in house.registry.versions(model.model)]
    return (
        models,
        versions,
        house.people.tokens(there),
        house.registry.policies.policy(f"{ELSEWHERE}/fuel-cost"),
    )


@pytest.mark.parametrize("label", OPERATIONS)
@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[
        HealthCheck.function_scoped_fixture,
        HealthCheck.too_slow,
        HealthCheck.filter_too_much,
        HealthCheck.data_too_large,
    ],
)
@given(data=st.data())
def test_whatever_is_asked_the_answer_is_ours(house: House, label: str, data: st.DataObject) -> None:
    case = data.draw(OPERATIONS[label].as_strategy())
    for name, values in KNOWN.items():
        if name in (case.path_parameters or {}) and data.draw(st.booleans()):
            case.path_parameters[name] = data.draw(st.sampled_from(values))
    who = data.draw(st.sampled_from((None, *Role)))
    before = elsewhere(house)
    sent = case.as_transport_kwargs(base_url="http://yard")
    request = {key: sent[key] for key in ("params", "json", "data", "content") if sent.get(key) is not None}
    if isinstance(request.get("data"), bytes | str):
        request["content"] = request.pop("data")
    answer = house.ask(case.method, sent["url"], who, headers=dict(sent.get("headers") or {}), **request)
    assert answer.status_code < NOT_OURS, answer.text
    if answer.status_code >= 400:
        assert answer.headers["content-type"].startswith(PROBLEM_TYPE) or case.method == "HEAD", (
            answer.headers
        )
    assert answer.headers["x-content-type-options"] == "nosniff"
    if who not in YARD_ROLES:
        assert elsewhere(house) == before
        assert f"{ELSEWHERE}/" not in answer.text.replace(sent["url"], "") or ELSEWHERE in str(sent)
