"""Operations, in Python: will this flight arrive more than 15 minutes late?

Reads $YARD_DATA/flights.csv, and publishes two versions to the yard of YARD_URL and YARD_TOKEN.
"""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

import modelyard as yard

MODEL = "operations/late-arrival"
PLACES = ["carrier", "origin", "dest"]
TIMETABLE = ["distance", "hour", "weekday"]
WEATHER = ["temp", "wind_speed", "precip", "visib"]


def before_departure() -> Pipeline:
    """A linear model of what is known the day before; missing weather is taken as the usual."""
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    columns = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), PLACES), (numbers, [*TIMETABLE, *WEATHER])
    )
    return make_pipeline(columns, LogisticRegression(max_iter=300))


def at_departure() -> Pipeline:
    """Boosted trees that also know how late the flight left; they take missing values as they are."""
    places = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    columns = make_column_transformer(
        (places, PLACES), ("passthrough", [*TIMETABLE, *WEATHER, "seats", "dep_delay"])
    )
    return make_pipeline(columns, HistGradientBoostingClassifier(max_iter=80, random_state=1))


def publish(model: Pipeline, flights: pd.DataFrame, columns: list[str], description: str) -> None:
    """Fit on all but the newest fifth, measure on that, publish with one call."""
    cut = int(len(flights) * 0.8)
    older, newer = flights[:cut], flights[cut:]
    model.fit(older[columns], older["late"])
    accuracy = float(model.score(newer[columns], newer["late"]))
    print(f"{description}: {accuracy:.1%} right on the newest fifth", flush=True)
    version = yard.publish(
        model,
        MODEL,
        example=older[columns].head(20),
        metrics={"accuracy": accuracy},
        missing=[*WEATHER, *({"seats"} & set(columns))],
        description=description,
    )
    print(f"version {version.version} is published and {version.state}", flush=True)


def main() -> None:
    """Publish version 1, then version 2."""
    flights = pd.read_csv(Path(os.environ["YARD_DATA"]) / "flights.csv")
    print(f"learning from {len(flights):,} flights", flush=True)
    known_before = [*PLACES, *TIMETABLE, *WEATHER]
    publish(before_departure(), flights, known_before, "a line through timetable and weather")
    publish(
        at_departure(),
        flights,
        [*known_before, "seats", "dep_delay"],
        "trees that know the departure's delay",
    )


if __name__ == "__main__":
    main()
