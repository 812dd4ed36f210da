"""What findings do not tell of marked columns."""

from __future__ import annotations

from datetime import UTC, datetime

from modelyard.loop.discretion import discreet
from modelyard.records.policies import Level
from modelyard.records.predictions import Finding

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def finding(column: str) -> Finding:
    return Finding(
        model="ops/late",
        version=1,
        kind="new-category",
        level=Level.HIGH,
        words="20.0% of name have a value that was never seen before: 'Ada'.",
        since=NOW,
        until=NOW,
        noticed_at=NOW,
        seen_at=NOW,
        column=column,
        effect=0.2,
        measure="share of rows",
        slices=("name=Ada", "carrier=UA"),
    )


def test_a_marked_column_is_named_and_its_values_are_not() -> None:
    told = discreet(finding("name"), {"name"})
    assert told.words == (
        "name is not as it was (share of rows 0.2). It is marked in the data, so no values are told."
    )
    assert told.slices == ("carrier=UA",)
    assert (told.column, told.level, told.effect) == ("name", Level.HIGH, 0.2)


def test_of_other_columns_all_is_told_but_marked_slices() -> None:
    told = discreet(finding("carrier"), {"name"})
    assert told.words == finding("carrier").words
    assert told.slices == ("carrier=UA",)
    assert discreet(finding("carrier"), ()) == finding("carrier")
