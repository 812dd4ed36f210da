"""Pure decisions on the route table: which version answers, and whether this person may ask."""

from __future__ import annotations

from modelyard.records.errors import ConflictError, ForbiddenError, NotFoundError
from modelyard.records.people import Grant, Need
from modelyard.records.rollouts import RouteTable, ServedVersion


def find_version(
    table: RouteTable, grant: Grant, model: str, alias: str | None = None, version: int | None = None
) -> ServedVersion:
    """The version that answers a request to a model, one of its aliases or one of its versions.

    Raises:
        NotFoundError: there is none, or none this person may know of (the same words).
        ForbiddenError: they may see the model but not have predictions from it.
        ConflictError: the model has no champion yet.
    """
    department = model.partition("/")[0]
    routes = table.models.get(model)
    if routes is None or not grant.sees(department):
        raise NotFoundError(f"There is no model {model}.", "`yard models` lists those you may see.")
    if not grant.allows(Need.PREDICT, department):
        raise ForbiddenError(
            f"Your role {grant.role} may not have predictions from {model}.",
            f"Ask an owner of {department} for the role caller.",
        )
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
    if routes.champion is None:
        raise ConflictError(
            f"{model} has no champion, so nothing answers for it.",
            f"Promote a checked version: `yard promote {model}/1`.",
        )
    return routes.champion
