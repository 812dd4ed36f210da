"""The gate: a version judged on held-out rows, and the verdicts."""

from __future__ import annotations

import asyncio
import tempfile
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from anyio import CapacityLimiter, to_thread
from litestar import Request, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter
from msgspec import Meta, Struct

from modelyard.api.aliases import Words
from modelyard.api.auth import authorise, wait_for
from modelyard.api.exchange import CSV, PARQUET
from modelyard.api.incoming import ROWS, Incoming, incoming
from modelyard.api.models import MODEL, SEE
from modelyard.api.publish import kind_of
from modelyard.api.requests import number_of
from modelyard.api.services import Services
from modelyard.api.versions import VERSIONS
from modelyard.records.datasets import DatasetReference
from modelyard.records.errors import NotFoundError
from modelyard.records.people import Grant, Kind, Need, thing_of
from modelyard.records.verdicts import HeldOut, Verdict, VerdictState

TAKES = (CSV.decode(), PARQUET.decode())
_LARGEST = 256 * 1024 * 1024  # bytes of a file of held-out rows
_MAX_WAIT = 60.0  # seconds


class Ask(Struct, frozen=True, forbid_unknown_fields=True):
    """The newest rows of a dataset, as many as the policy says; of its newest version, or of another."""

    dataset: Annotated[str, Meta(examples=["operations/flights"])]
    target: Annotated[str, Meta(min_length=1, max_length=1_000, examples=["arr_delay"])]
    number: Annotated[int, Meta(ge=1, le=999_999_999)] | None = None
    why: Words = ""
    rolls_out: bool = True


Why = Annotated[str, QueryParameter(max_length=2_000, description="for the history")]
RollsOut = Annotated[bool, QueryParameter(description="begin a rollout by the policy if it passes")]


@post(
    VERSIONS + "/{version:str}/verdicts/file",
    opt={"need": Need.PUBLISH, "takes": TAKES},
    status_code=202,
    request_max_body_size=None,
    tags=["verdicts"],
    summary="Have a version judged on a file of rows",
)
async def judge_on_file(  # noqa: PLR0913 - where, who, and the three things that can be said
    *,
    model: NamedDependency[str],
    number: NamedDependency[int],
    request: Request[Any, Any, Any],
    services: NamedDependency[Services],
    grant: NamedDependency[Grant],
    publishing: NamedDependency[CapacityLimiter],
    target: Annotated[str, QueryParameter(min_length=1, max_length=1_000, description="what came")],
    why: Why = "",
    rolls_out: RollsOut = True,
) -> Verdict:
    """The body is CSV or Parquet: the model's columns, the column that it predicts, and those of the policy's
    slices; rows that no training has seen, in the order of time. 202: the verdict waits, see
    `GET …/verdicts/{id}`. Who may not promote can have a version judged without a rollout.
    """
    _may_roll_out(grant, model, rolls_out=rolls_out)
    await asyncio.to_thread(services.registry.version, model, number)  # before the bytes come in
    given = kind_of(request)
    body = incoming(request, publishing, _LARGEST, ROWS)
    digest = await to_thread.run_sync(_kept, services, body, limiter=publishing)
    held_out = HeldOut(target=target, file=digest, form="csv" if given == TAKES[0] else "parquet")
    ask = partial(services.registry.gates.ask, model, number, held_out, why=why, rolls_out=rolls_out)
    return await asyncio.to_thread(partial(ask, by=grant.principal))


@post(
    VERSIONS + "/{version:str}/verdicts",
    opt={"need": Need.PUBLISH},
    status_code=202,
    tags=["verdicts"],
    summary="Have a version judged on a dataset's newest rows",
)
async def judge_on_dataset(
    model: NamedDependency[str],
    number: NamedDependency[int],
    data: JSONBody[Ask],
    services: NamedDependency[Services],
    grant: NamedDependency[Grant],
) -> Verdict:
    """Take one whose newest rows the training has not seen. 202: the verdict waits. Who may not promote can
    have a version judged without a rollout.
    """
    _may_roll_out(grant, model, rolls_out=data.rolls_out)
    at = DatasetReference.parse(data.dataset)
    if not grant.allows_dataset(Need.READ_DATA, at.dataset):
        raise NotFoundError(f"There is no dataset {at.dataset}.", "See what there is: yard data list.")
    known = await asyncio.to_thread(services.datasets.version, at.dataset, data.number or at.version)
    held_out = HeldOut(target=data.target, dataset=known.dataset, number=known.version)
    ask = partial(
        services.registry.gates.ask, model, number, held_out, why=data.why, rolls_out=data.rolls_out
    )
    return await asyncio.to_thread(partial(ask, by=grant.principal))


@get(MODEL + "/verdicts", opt=SEE, tags=["verdicts"], summary="All verdicts of a model")
async def list_verdicts(model: NamedDependency[str], services: NamedDependency[Services]) -> list[Verdict]:
    """Newest first: what was compared, on which rows, and what was decided and why."""
    return await asyncio.to_thread(services.registry.gates.of_model, model)


@get(MODEL + "/verdicts/{verdict:str}", opt=SEE, tags=["verdicts"], summary="One verdict; `wait` for it")
async def show_verdict(
    model: NamedDependency[str],
    verdict: FromPath[str],
    request: Request[Any, Any, Any],
    services: NamedDependency[Services],
    wait: Annotated[float, QueryParameter(ge=0, le=_MAX_WAIT, description="seconds")] = 0,
) -> Verdict:
    """With `wait` the answer comes when it is judged, its words change, or after so many seconds."""

    def is_over(first: Verdict, now: Verdict) -> bool:
        return now.state is not VerdictState.WAITING or now.words != first.words

    verdict_of = services.registry.gates.verdict
    look = partial(asyncio.to_thread, verdict_of, model, number_of(verdict, "verdict"))
    return await wait_for(request, look, is_over, wait)


def _may_roll_out(grant: Grant, model: str, *, rolls_out: bool) -> None:
    if rolls_out:
        authorise(grant, Need.PROMOTE, model.partition("/")[0], thing_of(Kind.MODEL, model))


def _kept(services: Services, incoming: Incoming) -> str:
    """Keep a file that comes in; its digest."""
    with tempfile.NamedTemporaryFile(dir=services.scratch, prefix="gate-") as file:
        for piece in incoming:
            file.write(piece)
        file.flush()
        return services.blobs.put_file(Path(file.name))[0]


HANDLERS = (judge_on_file, judge_on_dataset, list_verdicts, show_verdict)
