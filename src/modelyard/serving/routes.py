"""Pure decisions on the route table: which version answers, and whether this person may ask."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import msgspec

from modelyard.records.errors import ConflictError, ForbiddenError, NotFoundError, UnavailableError
from modelyard.records.people import CALLERS_GRACE, OTHERS_GRACE, Grant, Need
from modelyard.records.rollouts import RouteTable, ServedVersion, Trial
from modelyard.records.signatures import Signature
from modelyard.records.spans import span
from modelyard.serving.inputs import Inputs
from modelyard.workers.wire import to_values


def find_version(
    table: RouteTable, grant: Grant, model: str, alias: str | None = None, version: int | None = None
) -> ServedVersion:
    """The version that answers a request to a model, one of its aliases or one of its versions.

    Raises:
        NotFoundError: there is none, or none this person may know of (the same words).
        ForbiddenError: they may see the model but not have predictions from it.
        ConflictError: the model has no champion yet.
        UnavailableError: see `check_confirmed`.
    """
    department = model.partition("/")[0]
    routes = table.models.get(model)
    if routes is None or not grant.allows(Need.SEE, department, model):
        raise NotFoundError(f"There is no model {model}.", "`yard models` lists those you may see.")
    if not grant.allows(Need.PREDICT, department, model):
        raise ForbiddenError(
            f"Your role {grant.role} may not have predictions from {model}.",
            f"Ask an owner of {department} for the role caller.",
        )
    check_confirmed(table, Need.PREDICT, department)
    if version is not None:
        found = routes.versions.get(version)
        if found is None:
            hint = f"`yard history {model}` lists its versions; one that failed its check cannot answer."
            raise NotFoundError(f"{model} has no checked version {version}.", hint)
        return found
    if alias is not None:
        number = routes.aliases.get(alias)
        if number is None or number not in routes.versions:
            hint = f"It has {', '.join(sorted(routes.aliases)) or 'no aliases yet'}."
            raise NotFoundError(f"{model} has no alias {alias}.", hint)
        return routes.versions[number]
    champion = routes.champion
    if champion is None:
        raise ConflictError(
            f"{model} has no champion, so nothing answers for it.",
            f"Promote a checked version: `yard promote {model}/1`.",
        )
    return champion


def check_confirmed(table: RouteTable, need: Need, department: str = "") -> None:
    """Nothing, if what the table says of people may still be believed.

    Where the database does not answer nobody knows whether a token was revoked: who asks for predictions is
    believed for half an hour or as long as the department says, everybody else for a minute.

    Raises:
        UnavailableError: the database has not answered for too long.
    """
    if not table.silent:
        return
    is_call = need is Need.PREDICT
    grace = table.graces.get(department, CALLERS_GRACE) if is_call else OTHERS_GRACE
    if table.silent > grace:
        whom = f"callers of {department}" if is_call and department else "tokens and sessions"
        raise UnavailableError(
            f"The database has not answered for {span(table.silent)}, and without it {whom} are believed for "
            f"{span(grace)}.",
            "Ask again once it answers; `yard users grace` says how long a department goes on without.",
            retry_after=5.0,
        )


def goes_to_candidate(trial: Trial, champion: Signature, inputs: Inputs, request_id: str) -> bool:
    """Whether a canary's candidate answers a request, by chance of the stage's share.

    Where the rollout is sticky the chance is drawn once for each value of that column, for all stages: who
    saw the candidate goes on seeing it while its share grows. A request whose rows fall on both sides is
    the champion's.
    """
    if not trial.sticky:
        return draw(f"{trial.rollout} {request_id}") < trial.share
    values = set(_values(trial.sticky, champion, inputs))
    return all(draw(f"{trial.rollout} {value}") < trial.share for value in values)


def draw(text: str) -> float:
    """A number from 0 to below 1, always the same for the same text.

    >>> draw("3 anna") == draw("3 anna") != draw("3 bert")
    True
    """
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) / 2**64


def _values(name: str, champion: Signature, inputs: Inputs) -> Iterable[object]:
    for place, column in enumerate(champion.inputs):
        if column.name == name:
            if inputs.columns is not None:
                return to_values(inputs.columns[place])
            return [row[place] for row in inputs.rows or ()]
    return [msgspec.json.decode(key).get(name) if key else None for key in inputs.keys or [None]]
