"""What is believed of people while the database is away, and for how long; by clocks that a test moves."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from modelyard.records.errors import UnavailableError
from modelyard.records.people import CALLERS_GRACE, OTHERS_GRACE, Grant, Need, Role
from modelyard.records.rollouts import ModelRoutes, RouteTable, ServedVersion
from modelyard.records.signatures import Signature
from modelyard.serving.routes import check_confirmed, find_version
from modelyard.serving.table import Confirmed, confirm_table, load_table, save_table

ANNA = Grant("anna", Role.CALLER, "finance")
SERVED = ServedVersion("finance.fuel.1", "finance/fuel", 1, "r", Signature(()))
TABLE = RouteTable(1, {"finance/fuel": ModelRoutes({"champion": 1}, {1: SERVED})}, {}, graces={"ops": 300.0})


def silent(seconds: float) -> RouteTable:
    return RouteTable(1, TABLE.models, {}, graces=TABLE.graces, silent=seconds)


@pytest.mark.parametrize(
    ("need", "department", "grace"),
    [
        (Need.PREDICT, "finance", CALLERS_GRACE),
        (Need.PREDICT, "ops", 300.0),
        (Need.PREDICT, "", CALLERS_GRACE),
        (Need.SEE, "finance", OTHERS_GRACE),
        (Need.PROMOTE, "ops", OTHERS_GRACE),
        (Need.ADMINISTER, "", OTHERS_GRACE),
    ],
)
def test_believed_up_to_the_grace_and_not_beyond(need: Need, department: str, grace: float) -> None:
    check_confirmed(silent(0.0), need, department)
    check_confirmed(silent(grace), need, department)
    with pytest.raises(UnavailableError, match="The database has not answered for") as raised:
        check_confirmed(silent(grace + 0.1), need, department)
    assert raised.value.retry_after > 0


def test_predictions_end_when_the_grace_of_their_department_does() -> None:
    assert find_version(silent(CALLERS_GRACE), ANNA, "finance/fuel") is SERVED
    with pytest.raises(UnavailableError, match="callers of finance are believed for 30 min"):
        find_version(silent(CALLERS_GRACE + 1), ANNA, "finance/fuel")


class Clocks:
    """The machine's two clocks, in a test's hands."""

    def __init__(self, wall: float) -> None:
        self.seconds, self.time = 50.0, wall

    def confirmed(self, path: Path) -> Confirmed:
        return Confirmed(path, lambda: self.seconds, lambda: self.time)


def test_how_long_ago_it_was_confirmed(tmp_path: Path) -> None:
    path = tmp_path / "routes"
    save_table(TABLE, path)
    os.utime(path, (1_000.0, 1_000.0))
    clocks = Clocks(1_040.0)
    confirmed = clocks.confirmed(path)
    assert confirmed.ago() == 40.0  # known after a restart, too
    clocks.seconds += 25.0
    assert confirmed.ago() == 65.0
    confirm_table(path)
    assert confirmed.ago() == 0.0
    clocks.seconds += 7.0
    clocks.time += 86_400.0  # somebody sets the machine's clock: no matter
    assert confirmed.ago() == 7.0
    assert load_table(path) == TABLE


def test_a_file_from_the_future_or_none_is_confirmed_now(tmp_path: Path) -> None:
    path = tmp_path / "routes"
    clocks = Clocks(1_000.0)
    assert clocks.confirmed(path).ago() == 0.0
    confirm_table(path)  # nothing to confirm
    save_table(TABLE, path)
    os.utime(path, (90_000.0, 90_000.0))
    confirmed = clocks.confirmed(path)
    assert confirmed.ago() == 0.0
    clocks.seconds += 3.0
    assert confirmed.ago() == 3.0
