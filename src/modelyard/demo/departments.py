"""The three departments of the demo: who they are, what they ask, and when an answer was right."""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct

_PROJECTS = Path(__file__).parent / "projects"


class Department(Struct, frozen=True):
    """One department's model.

    Attributes:
        model: `department/name`.
        language: the runtime's, and `title` for people.
        script: the file in its project's folder that trains and publishes.
        question: what it answers, for people.
        columns: what the application sends.
        target: what came out, as a column of `flights.flown`.
        within: how far off a number may be to count as right; None where the answer is a label.
    """

    model: str
    language: str
    title: str
    script: str
    question: str
    columns: tuple[str, ...]
    target: str
    within: float | None = None

    @property
    def name(self) -> str:
        """The department alone."""
        return self.model.partition("/")[0]

    @property
    def project(self) -> Path:
        """The folder with its code."""
        return _PROJECTS / self.name

    @property
    def counts_as_right(self) -> str:
        """When an answer counts as right, in words."""
        return "late or not" if self.within is None else f"within {self.within:g} minutes"

    def is_right(self, predicted: object, actual: object) -> bool:
        """Whether a prediction, as the HTTP contract gives it, came true.

        Args:
            predicted: a number, or `{"label": …}` for a classifier.
            actual: what really happened.

        >>> FINANCE.is_right(212.4, 205), FINANCE.is_right(212.4, 230)
        (True, False)
        >>> OPERATIONS.is_right({"label": True, "probabilities": {}}, True)
        True
        """
        if self.within is None:
            return isinstance(predicted, dict) and predicted.get("label") == actual
        if not isinstance(predicted, int | float) or not isinstance(actual, int | float):
            return False
        return abs(predicted - actual) <= self.within


_TIMETABLE = ("carrier", "origin", "dest", "distance", "hour", "weekday")
_WEATHER = ("temp", "wind_speed", "precip", "visib")

OPERATIONS = Department(
    model="operations/late-arrival",
    language="python",
    title="Python",
    script="train.py",
    question="Will this flight arrive more than 15 minutes late?",
    columns=(*_TIMETABLE, *_WEATHER, "seats", "dep_delay"),
    target="late",
)
FINANCE = Department(
    model="finance/air-time",
    language="r",
    title="R",
    script="train.R",
    question="How many minutes will it burn fuel in the air?",
    columns=("carrier", "origin", "distance", "hour"),
    target="air_time",
    within=10.0,
)
MAINTENANCE = Department(
    model="maintenance/taxi-time",
    language="julia",
    title="Julia",
    script="train.jl",
    question="How many minutes will its engines run on the ground?",
    columns=("carrier", "origin", "distance", "hour", "weekday", "built", "seats"),
    target="taxi_time",
    within=10.0,
)
DEPARTMENTS = (OPERATIONS, FINANCE, MAINTENANCE)
