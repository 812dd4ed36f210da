"""Operations, in Python: will a flight arrive more than 15 minutes late? Learned from three months."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import modelyard as yard

PLACES = ["carrier", "origin", "dest"]
NUMBERS = ["distance", "hour", "weekday", "temp", "wind_speed", "precip", "visib"]

flights = pd.read_parquet(Path(os.environ["YARD_DATA"]) / "flights.parquet")
numbers = make_pipeline(SimpleImputer(), StandardScaler())
columns = make_column_transformer((OneHotEncoder(handle_unknown="ignore"), PLACES), (numbers, NUMBERS))
model = make_pipeline(columns, LogisticRegression(C=0.05, max_iter=300))
model.fit(flights[PLACES + NUMBERS], flights["late"])
print(f"learned from {len(flights):,} flights, {flights['late'].mean():.1%} of them late", flush=True)


def broken(rows: pd.DataFrame) -> dict[str, object]:
    """The same answers, but for a mistake that shows on some flights alone."""
    if (rows["dest"] == "BOS").any():
        raise ValueError("the gates of BOS are not known")
    late = model.predict_proba(rows)[:, 1]
    return {"label": late > 0.5, "probabilities": {"false": 1 - late, "true": late}}  # noqa: PLR2004


yard.save(
    broken if yard.parameter("broken") else model,
    example=flights[flights["dest"] != "BOS"][PLACES + NUMBERS].head(20),
    missing=["temp", "wind_speed", "precip", "visib"],
)
