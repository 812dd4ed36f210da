"""Did you mean …: names close to one that is not there."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import modelyard
from modelyard.records.errors import NotFoundError, YardError
from modelyard.records.references import Reference


@contextmanager
def suggestions(yard: modelyard.Yard, ref: str) -> Iterator[None]:
    """Where the model of a reference is not found, add to the error what may have been meant."""
    try:
        yield
    except NotFoundError as error:
        wanted = Reference.parse(ref).model
        known: list[str] = []
        with suppress(YardError):
            known = [model.model for model in yard.models()]
        if wanted not in known and (near := closest(wanted, known)):
            error.hint = f"Did you mean {near}?"
        raise


def closest(wanted: str, known: list[str]) -> str | None:
    """The known `department/name` that a person may have meant, or None.

    >>> closest("finance/fuel-costs", ["finance/fuel-cost", "operations/delay"])
    'finance/fuel-cost'
    >>> closest("fuel/fuel-cost", ["finance/fuel-cost"])
    'finance/fuel-cost'
    """
    near = difflib.get_close_matches(wanted, known, n=1, cutoff=0.75)
    if near:
        return near[0]
    name = wanted.partition("/")[2]
    return next((model for model in known if model.partition("/")[2] == name), None)
