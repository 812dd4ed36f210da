"""The story of a refit, as `yard refits`, `yard show` and `yard history` print it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelyard.cli import output
from modelyard.records.references import Reference
from modelyard.records.refits import Refit, Story
from modelyard.records.triggers import Outlook

if TYPE_CHECKING:
    from modelyard.client.connection import Connection  # brings httpx: `yard --help` does without


def story_of(connection: Connection, model: str) -> Story:
    """A model's refits, newest first."""
    return connection.get(f"/api/v1/models/{Reference.parse(model).model}/refits", Story)


def print_refit(refit: Refit) -> None:
    """One refit under a line of its own."""
    what = "no version" if refit.version is None else f"version {refit.version}"
    output.print_facts([("\nrefit", f"{what}, {output.when(refit.at)}"), *refit_rows(refit)])


def told_outlook(outlook: Outlook) -> str:
    """What was decided last about the next refit, and when it is looked at again."""
    again = f" It looks again at {output.when(outlook.next_at)}." if outlook.next_at else ""
    return outlook.words + again


def refit_rows(refit: Refit) -> list[tuple[str, object]]:
    """What a refit tells, row by row; empty ones are left out when they are printed."""
    return [
        ("noticed", refit.noticed),
        ("tried", refit.tried),
        ("compared", refit.compared),
        ("decided", refit.decided),
        ("next", refit.next),
    ]
