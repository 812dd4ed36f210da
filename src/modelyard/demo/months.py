"""The year's pure parts: the flights of each month, how good answers were, and the table at the end."""

from __future__ import annotations

import calendar
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
from msgspec import Struct
from rich import box
from rich.table import Table

EVERY = 8  # one flight in so many, spread over the year
_KEPT = 3  # months that a model learns from
_LEAST_CHANCE = 1e-15


class Model(Struct, frozen=True):
    """One model of the year.

    Attributes:
        columns: what the application sends.
        target: what really came.
        classes: whether it is a class (then late or not), else a number.
    """

    model: str
    dataset: str
    title: str
    columns: tuple[str, ...]
    target: str
    classes: bool

    @property
    def project(self) -> Path:
        """The folder with its `yard.toml`."""
        return Path(__file__).parent / "projects" / "year" / self.model.partition("/")[0]

    @property
    def average(self) -> str:
        """What its answers and outcomes come to on average."""
        return "the share that was late" if self.classes else "the mean minutes"

    @property
    def what(self) -> str:
        """What came, after a number."""
        return "came late" if self.classes else "in the air on average"

    @property
    def loss(self) -> str:
        """The name of what is measured; smaller is better."""
        return "log-loss" if self.classes else "minutes off"


_WEATHER = ("temp", "wind_speed", "precip", "visib")
LATENESS = Model(
    model="operations/lateness",
    dataset="operations/last-months",
    title="Will it arrive more than 15 minutes late? (Python)",
    columns=("carrier", "origin", "dest", "distance", "hour", "weekday", *_WEATHER),
    target="late",
    classes=True,
)
MINUTES = Model(
    model="finance/flight-minutes",
    dataset="finance/last-months",
    title="How many minutes will it be in the air? (R)",
    columns=("distance", "origin", "hour"),
    target="air_time",
    classes=False,
)


class Side(Struct, frozen=True):
    """How one version did in a month: its loss, and what it said on average (as `Month.real`)."""

    loss: float
    said: float


class Month(Struct, frozen=True):
    """What a month came to for one model.

    Attributes:
        real: the share that was late, or the mean minutes.
        flights: how many were asked.
        alone, blind, own: January's version, the newest whatever it was worth, and the yard's champion.
        champion: that answered.
        words: what the month's refit came to.
        failed: live requests that failed while it went on.
    """

    month: int
    real: float
    flights: int
    alone: Side
    blind: Side
    own: Side
    champion: int
    words: str
    failed: int


def of_month(flights: pl.DataFrame, model: Model, month: int) -> pl.DataFrame:
    """A month's flights: what is sent and what came."""
    return flights.filter(pl.col("month") == month).select(*model.columns, model.target)


def until(flights: pl.DataFrame, model: Model, month: int) -> pl.DataFrame:
    """What is known after a month: the last three months, in the order of time."""
    last = flights.filter(pl.col("month").is_between(month - _KEPT + 1, month))
    return last.select(*model.columns, model.target)


def side(model: Model, predictions: Sequence[Any], came: Sequence[Any]) -> Side:
    """The mean loss, -ln of the probability of what came or the distance from it; and the mean said.

    >>> side(MINUTES, [100.0, 90.0], [110, 90])
    Side(loss=5.0, said=95.0)
    """
    losses = math.fsum(_loss(model, p, c) for p, c in zip(predictions, came, strict=True))
    said = math.fsum(p["probabilities"]["true"] if model.classes else float(p) for p in predictions)
    return Side(losses / len(came), said / len(came))


def _loss(model: Model, predicted: Any, came: Any) -> float:  # noqa: ANN401 - as JSON has them
    if not model.classes:
        return abs(float(predicted) - float(came))
    chances: Mapping[str, float] = predicted["probabilities"]
    return -math.log(max(chances["true" if came else "false"], _LEAST_CHANCE))


def totals(months: Sequence[Month]) -> tuple[float, float, float]:
    """The losses of the year, each month counted by its flights: left alone, blind, the yard's own."""
    flights = sum(month.flights for month in months)
    sums = [
        math.fsum(getattr(month, name).loss * month.flights for month in months)
        for name in ("alone", "blind", "own")
    ]
    alone, blind, own = (each / flights for each in sums)
    return alone, blind, own


def table(model: Model, months: Sequence[Month]) -> Table:
    """Champion left alone since January against the yard's own, month by month."""
    made = Table(
        title=f"{model.model}: {model.title}",
        title_justify="left",
        caption=(
            f"came, said: {model.average}. Then {model.loss} of three ways, smaller is better: January's "
            "model all year; blind: each new version, with no gate; the versions that the yard let through."
        ),
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    headings = (
        "month",
        "came",
        "January\nsaid",
        "yard\nsaid",
        "January\nalone",
        "blind",
        "yard's\nown",
        "ver-\nsion",
    )
    for heading in headings:
        made.add_column(heading, justify="left" if heading == "month" else "right", no_wrap=True)
    made.add_column("what its flights led to", overflow="fold")
    for month in months:
        made.add_row(
            calendar.month_abbr[month.month],
            *(_average(model, each) for each in (month.real, month.alone.said, month.own.said)),
            *(_shown(model, each.loss) for each in (month.alone, month.blind, month.own)),
            str(month.champion),
            month.words,
        )
    made.add_section()
    made.add_row("year", "", "", "", *(_shown(model, each) for each in totals(months)), "", "")
    return made


def summary(model: Model, months: Sequence[Month]) -> str:
    """The year in a few sentences."""
    alone, blind, own = totals(months)
    share = 1 - own / alone
    than = "no better" if blind >= own else f"{1 - blind / own:.1%} better"
    far = max(months, key=lambda month: abs(month.alone.said - month.real))
    came, first, yard = (_average(model, value) for value in (far.real, far.alone.said, far.own.said))
    return (
        f"{model.model}: over the year the yard's own champion was {abs(share):.1%} "
        f"{'better' if share > 0 else 'worse'} than January's model left alone ({model.loss}); taking each "
        f"new version with no gate was {than} than the yard's own. January's model was furthest off in "
        f"{calendar.month_name[far.month]}: {came} {model.what}; it had said {first}, the yard's own {yard}."
    )


def short(words: str) -> str:
    """A verdict in the width of a table.

    >>> short("Refused, on 900 held-out rows. It is a tie with the champion: its mae is 3 against 3.")
    'refused: a tie'
    """
    if words.startswith("Better"):
        return "passed: better"
    if "It is a tie" in words:
        return "refused: a tie"
    if "It is worse" in words:
        return "refused: worse"
    if words.startswith("Refused"):
        return "refused: " + words.split(". ", 1)[-1][:50]
    return words[:60]


def _average(model: Model, value: float) -> str:
    return f"{value:.0%}" if model.classes else f"{value:.0f} min"


def _shown(model: Model, value: float) -> str:
    return f"{value:.4f}" if model.classes else f"{value:.2f}"
