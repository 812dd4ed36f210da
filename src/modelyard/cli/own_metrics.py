"""`yard metric`: metrics of a model's own."""

from __future__ import annotations

from typing import Annotated

import typer

from modelyard.cli import output
from modelyard.cli.models import Model
from modelyard.cli.sdk import open_yard
from modelyard.cli.suggest import suggestions
from modelyard.records.metrics import OwnMetric
from modelyard.records.references import Reference


def metric(
    model: Model,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the metric.", show_default=False)] = "",
    expression: Annotated[
        str, typer.Argument(metavar="EXPRESSION", help="A SQL expression.", show_default=False)
    ] = "",
    higher_is_better: Annotated[
        bool, typer.Option("--higher-is-better", help="Else lower is better.")
    ] = False,
    remove: Annotated[bool, typer.Option("--remove", help="Forget it, and what it measured.")] = False,
    as_json: output.Json = False,
) -> None:
    """Measure a model by a metric of your own, or list those there are.

    The expression is over rows whose outcome is known: `actual`, `prediction` or `label`, and outputs and
    inputs by their names (in double quotes where they are no plain word). The metric is the mean of its
    values, or its value where it sums rows up, as `sum(…) / sum(…)`. Where the policy names it as
    `[promote] metric`, candidates are judged by it.

    Example: yard metric operations/arrival-delay late-misses "actual > 15 and prediction <= 15"
    """
    yard, at = open_yard(), Reference.parse(model)
    path = f"/api/v1/models/{at.model}/metrics"
    with suggestions(yard, model):
        if name and remove:
            found = [yard.connection.send("DELETE", f"{path}/{name}", OwnMetric)]
        elif name and expression:
            body = {"expression": expression, "higher_is_better": higher_is_better}
            found = [yard.connection.send("PUT", f"{path}/{name}", OwnMetric, body)]
        else:
            found = yard.connection.get(path, list[OwnMetric])
            found = [m for m in found if name in ("", m.name)]
    if as_json:
        output.print_json(found)
    elif remove and name:
        output.note(f"The metric {name} of {at.model} is forgotten.")
    else:
        output.print_table(
            ("metric", "better", "expression", "by"),
            [
                (m.name, "higher" if m.higher_is_better else "lower", m.expression, m.changed_by)
                for m in found
            ],
        )
