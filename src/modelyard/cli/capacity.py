"""`yard capacity`: how many workers a model may have, and what each asks of a machine."""

from __future__ import annotations

import re
from typing import Annotated, Any

import msgspec
import typer

from modelyard.cli import output
from modelyard.cli.models import Model
from modelyard.cli.sdk import open_yard
from modelyard.cli.suggest import suggestions
from modelyard.records.capacity import Capacity, Demand
from modelyard.records.errors import InvalidError
from modelyard.records.references import shown

_REPLICAS = re.compile(r"([0-9]{1,3})(?:-([0-9]{1,3}))?", re.ASCII)


def capacity(
    model: Model,
    replicas: Annotated[
        str | None, typer.Option(help="Workers: 2, or 1-4 for more while requests wait.", show_default=False)
    ] = None,
    cpus: Annotated[
        float | None, typer.Option(help="Cores for each on a Ray cluster.", show_default=False)
    ] = None,
    gpus: Annotated[float | None, typer.Option(help="GPUs for each, the same.", show_default=False)] = None,
    memory: Annotated[
        str | None, typer.Option(help='The most each may use, as "2 GB".', show_default=False)
    ] = None,
    as_json: output.Json = False,
) -> None:
    """Show how many workers a model may have and what each asks of a machine, or set it.

    Example: yard capacity finance/fuel-cost --replicas 1-4 --memory "2 GB"
    """
    yard = open_yard()
    path = f"/api/v1/models/{model}/capacity"
    changes: dict[str, Any] = {"cpus": cpus, "gpus": gpus, "memory": memory}
    if replicas is not None:
        changes["min_replicas"], changes["max_replicas"] = _replicas(replicas)
    changes = {key: value for key, value in changes.items() if value is not None}
    with suggestions(yard, model):
        found = yard.connection.get(path, Capacity)
        if changes:
            wanted: Demand = msgspec.structs.replace(found.serve, **changes)
            found = yard.connection.send("PUT", path, Capacity, msgspec.to_builtins(wanted))
    if as_json:
        output.print_json(found)
        return
    by = f" by {found.changed_by}" if found.changed_by else ""
    rows: list[tuple[str, object]] = [("model", found.model)]
    rows += [(key, getattr(found.serve, key)) for key in Demand.__struct_fields__]
    output.print_facts([*rows, ("set", f"{found.source}, {output.when(found.changed_at)}{by}")])


def _replicas(text: str) -> tuple[int, int]:
    found = _REPLICAS.fullmatch(text)
    if not found:
        raise InvalidError(
            f"--replicas is {shown(text)}.", "Write one number, or two as 1-4.", field="replicas"
        )
    return int(found[1]), int(found[2] or found[1])
