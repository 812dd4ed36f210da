"""Metrics of a model's own."""

from __future__ import annotations

import asyncio
from functools import partial

from litestar import delete, get, put
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody
from msgspec import Struct

from modelyard.api.models import MODEL, SEE
from modelyard.api.services import Services
from modelyard.records.metrics import OwnMetric
from modelyard.records.people import Grant, Need


class MetricRule(Struct, frozen=True, forbid_unknown_fields=True):
    """What a metric is: a SQL expression over labelled rows, and whether a larger value is better."""

    expression: str
    higher_is_better: bool = False


@get(MODEL + "/metrics", opt=SEE, tags=["watch"], summary="Metrics of the model's own")
async def list_metrics(model: NamedDependency[str], services: NamedDependency[Services]) -> list[OwnMetric]:
    """By name; what they measured is in `performance` with the usual ones."""
    return await asyncio.to_thread(services.watching.own.of_model, model)


@put(
    MODEL + "/metrics/{metric:str}",
    opt={"need": Need.PROMOTE},
    tags=["watch"],
    summary="Set a metric of the model's own",
)
async def set_metric(
    model: NamedDependency[str],
    metric: FromPath[str],
    data: JSONBody[MetricRule],
    services: NamedDependency[Services],
    grant: NamedDependency[Grant],
) -> OwnMetric:
    """Over `actual`, `prediction` or `label`, outputs and inputs by name: a value a row, or one that sums up.

    Days that have outcomes get it as well.
    """
    call = partial(services.watching.own.put, model, metric, data.expression, by=grant.principal)
    return await asyncio.to_thread(partial(call, higher_is_better=data.higher_is_better))


@delete(
    MODEL + "/metrics/{metric:str}",
    opt={"need": Need.PROMOTE},
    status_code=200,
    tags=["watch"],
    summary="Forget a metric of the model's own",
)
async def remove_metric(
    model: NamedDependency[str],
    metric: FromPath[str],
    services: NamedDependency[Services],
    grant: NamedDependency[Grant],
) -> OwnMetric:
    """With what was measured by it."""
    return await asyncio.to_thread(partial(services.watching.own.remove, model, metric, by=grant.principal))


HANDLERS = (list_metrics, set_metric, remove_metric)
