"""Rollouts and policies: seen, begun, approved, stopped, set."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Annotated, Any

from litestar import Response, get, post, put
from litestar.di import NamedDependency
from litestar.params import JSONBody
from msgspec import Meta, Struct, field

from modelyard.api.aliases import Reason, Words
from modelyard.api.changes import changed
from modelyard.api.models import MODEL, SEE
from modelyard.api.services import Services
from modelyard.records.errors import NotFoundError
from modelyard.records.people import Grant, Need
from modelyard.records.policies import Policy, Promote, read_promote, read_retrain
from modelyard.records.rollouts import Rollout

_PROMOTE = {"need": Need.PROMOTE}
_EXAMPLE = ["shadow 30m", "canary 10% 30m"]


class Start(Struct, frozen=True, forbid_unknown_fields=True):
    """A version to roll out; what is left out is as the model's policy says."""

    version: Annotated[int, Meta(ge=1, le=999_999_999, examples=[3])]
    why: Words = ""
    rollout: Annotated[tuple[str, ...] | None, Meta(examples=[_EXAMPLE])] = None
    approval: Annotated[str | None, Meta(examples=["owner"])] = None


class Tables(Struct, frozen=True, forbid_unknown_fields=True):
    """`[retrain]` and `[promote]` as they stand in `yard.toml`."""

    retrain: dict[str, Any] = field(default_factory=dict)
    promote: dict[str, Any] = field(default_factory=dict)


class Pause(Struct, frozen=True, forbid_unknown_fields=True):
    """Whether the yard starts no training by itself."""

    paused: bool


@get(
    "/api/v1/rollouts",
    opt={"need": Need.SIGNED_IN},
    tags=["rollouts"],
    summary="Rollouts that go on in what you may see",
)
async def list_rollouts(services: NamedDependency[Services], grant: NamedDependency[Grant]) -> list[Rollout]:
    """By model, without their steps."""
    return await asyncio.to_thread(services.registry.rollouts.going_on, grant.seen)


@get(MODEL + "/rollouts", opt=SEE, tags=["rollouts"], summary="All rollouts of a model")
async def model_rollouts(model: NamedDependency[str], services: NamedDependency[Services]) -> list[Rollout]:
    """Newest first, each with its steps: what was decided, by whom and why."""
    return await asyncio.to_thread(services.registry.rollouts.of_model, model)


@post(MODEL + "/rollouts", opt=_PROMOTE, status_code=201, tags=["rollouts"], summary="Begin a rollout")
async def start_rollout(
    model: NamedDependency[str],
    data: JSONBody[Start],
    services: NamedDependency[Services],
    grant: NamedDependency[Grant],
) -> Response[Rollout]:
    """The version goes through the stages and becomes champion, unless something is wrong with it. 409 if it
    is not checked, cannot answer the champion's callers, or another rollout goes on.
    """
    version = await asyncio.to_thread(services.registry.version, model, data.version)
    policy = await asyncio.to_thread(services.registry.policies.policy, model)
    rules = _promote_of(policy.promote, data).rules()
    start = partial(services.registry.rollouts.start, model, version.version, rules)
    rollout = await asyncio.to_thread(start, by=grant.principal, why=data.why)
    return await changed(services, rollout, 201)


@post(
    MODEL + "/rollouts/approve",
    opt=_PROMOTE,
    status_code=200,
    tags=["rollouts"],
    summary="Let the candidate become champion",
)
async def approve_rollout(
    model: NamedDependency[str],
    data: JSONBody[Reason],
    services: NamedDependency[Services],
    grant: NamedDependency[Grant],
) -> Rollout:
    """Once its stages are through, or within seconds. 409 if none goes on, or it needs no approval."""
    call = partial(services.registry.rollouts.approve, model, by=grant.principal, why=data.why)
    return await asyncio.to_thread(call)


@post(MODEL + "/rollouts/stop", opt=_PROMOTE, status_code=200, tags=["rollouts"], summary="End a rollout")
async def stop_rollout(
    model: NamedDependency[str],
    data: JSONBody[Reason],
    services: NamedDependency[Services],
    grant: NamedDependency[Grant],
) -> Response[Rollout]:
    """The champion stays what it is. 409 if none goes on."""
    call = partial(services.registry.rollouts.stop, model, by=grant.principal, why=data.why)
    return await changed(services, await asyncio.to_thread(call))


@get(MODEL + "/policy", opt=SEE, tags=["policies"], summary="A model's policy")
async def show_policy(model: NamedDependency[str], services: NamedDependency[Services]) -> Policy:
    """When it is retrained, what a candidate must beat, and how it is rolled out."""
    return await asyncio.to_thread(services.registry.policies.policy, model)


@put(MODEL + "/policy", opt=_PROMOTE, tags=["policies"], summary="Set a model's policy")
async def set_policy(
    model: NamedDependency[str],
    data: JSONBody[Tables],
    services: NamedDependency[Services],
    grant: NamedDependency[Grant],
) -> Policy:
    """A key that is left out has its default. 422 names the key that is wrong."""
    tables = read_retrain(data.retrain), read_promote(data.promote)
    for upstream in tables[0].upstream:
        if not grant.sees_model(upstream):
            message = f"There is no model {upstream}, which [retrain] upstream names."
            raise NotFoundError(message, "See what there is: yard models.")
    return await asyncio.to_thread(
        partial(services.registry.policies.put, model, *tables, by=grant.principal)
    )


@put(MODEL + "/policy/paused", opt=_PROMOTE, tags=["policies"], summary="Pause or resume retraining")
async def pause_policy(
    model: NamedDependency[str],
    data: JSONBody[Pause],
    services: NamedDependency[Services],
    grant: NamedDependency[Grant],
) -> Policy:
    """While it is paused the yard starts no training by itself; people still may."""
    call = partial(services.registry.policies.pause, model, paused=data.paused, by=grant.principal)
    return await asyncio.to_thread(call)


def _promote_of(promote: Promote, start: Start) -> Promote:
    told = {
        "rollout": list(promote.rollout if start.rollout is None else start.rollout),
        "approval": promote.approval if start.approval is None else start.approval,
    }
    return read_promote({**_as_table(promote), **told})


def _as_table(promote: Promote) -> dict[str, Any]:
    return {name: getattr(promote, name) for name in promote.__struct_fields__}


HANDLERS = (
    list_rollouts,
    model_rollouts,
    start_rollout,
    approve_rollout,
    stop_rollout,
    show_policy,
    set_policy,
    pause_policy,
)
