"""The demo's pure parts: what is learned from, what is sent, what counts as right, what is shown."""

from __future__ import annotations

import asyncio
import io
import json
import math
import re
import subprocess
from pathlib import Path
from typing import Any, ClassVar

import httpx
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from tests.conftest import ROOT

from modelyard.demo import flights, report, training
from modelyard.demo.departments import DEPARTMENTS, FINANCE, MAINTENANCE, OPERATIONS, Department
from modelyard.demo.replay import Request, ask, replay, requests_for
from modelyard.demo.scores import Answer, Score, score, share
from modelyard.records.errors import EnvironmentBuildError, YardError


@pytest.fixture(scope="module")
def known() -> pl.DataFrame:
    return flights.flown(flights.read_tables(flights.data_folder()))


def flight(**values: object) -> dict[str, object]:
    """A row of flights.csv: on 1 March from Newark to Houston, 10 minutes late."""
    usual: dict[str, object] = {
        "year": 2013, "month": 3, "day": 1, "dep_time": 1000, "sched_dep_time": 950, "dep_delay": 10,
        "arr_time": 1300, "sched_arr_time": 1250, "arr_delay": 10, "carrier": "UA", "flight": 1,
        "tailnum": "N1", "origin": "EWR", "dest": "IAH", "air_time": 200, "distance": 1400, "hour": 9,
        "minute": 50, "time_hour": "2013-03-01T14:00:00Z",
    }  # fmt: skip
    return {**usual, **values}


def tables(*rows: dict[str, object]) -> flights.Tables:
    airports = [
        {"faa": "IAH", "tz": -6, "dst": "A"},
        {"faa": "PHX", "tz": -7, "dst": "N"},
        {"faa": "BOS", "tz": -5, "dst": "A"},
    ]
    weather = {"origin": "EWR", "time_hour": "2013-03-01T14:00:00Z", "temp": 39.0}
    weather |= {"wind_speed": 8.0, "precip": 0.0, "visib": 10.0}
    planes = {"tailnum": "N1", "seats": 149, "year": 1999}
    schema = {"dep_time": pl.Int64, "arr_time": pl.Int64, "arr_delay": pl.Int64, "air_time": pl.Int64}
    return flights.Tables(
        pl.DataFrame(rows, schema_overrides=schema),
        pl.DataFrame([planes]),
        pl.DataFrame(airports),
        pl.DataFrame([weather, weather]),  # the package has some hours twice
    )


def only(row: dict[str, object]) -> dict[str, Any]:
    (found,) = flights.flown(tables(row)).iter_rows(named=True)
    return found


class TestFlown:
    def test_what_is_known_of_a_flight(self) -> None:
        row = only(flight())
        assert (row["seats"], row["built"], row["temp"], row["weekday"]) == (149, 1999, 39.0, 5)
        assert row["late"] is False
        # 10:00 in New York to 13:00 in Houston is four hours, 200 minutes of them in the air.
        assert row["taxi_time"] == 40

    @pytest.mark.parametrize(("delay", "late"), [(15, False), (16, True), (-3, False)])
    def test_late_is_more_than_15_minutes(self, delay: int, late: bool) -> None:
        assert only(flight(arr_delay=delay))["late"] is late

    def test_what_is_not_known_is_missing(self) -> None:
        row = only(flight(tailnum="N2", origin="LGA", dest="SJU"))
        assert [row[name] for name in ("seats", "built", "temp", "taxi_time")] == [None] * 4

    @pytest.mark.parametrize(
        ("month", "dest", "arrives", "air_time"),
        [(1, "PHX", 1330, 300), (4, "PHX", 1230, 300), (4, "IAH", 1300, 210), (1, "BOS", 1100, 30)],
    )
    def test_taxi_time_knows_the_zones_and_who_keeps_no_summer_time(
        self, month: int, dest: str, arrives: int, air_time: int
    ) -> None:
        row = flight(month=month, dest=dest, arr_time=arrives, air_time=air_time)
        assert only(row)["taxi_time"] == 30

    def test_taxi_time_over_midnight(self) -> None:
        assert only(flight(dep_time=2330, arr_time=45, dest="BOS", air_time=40))["taxi_time"] == 35

    def test_cancelled_flights_and_later_months_are_left_out(self) -> None:
        rows = [flight(arr_delay=None), flight(air_time=None), flight(month=5), flight(flight=7)]
        assert flights.flown(tables(*rows))["flight"].to_list() == [7]

    def test_they_are_in_order_of_time(self) -> None:
        rows = [flight(month=2, flight=3), flight(month=1, day=2, flight=2), flight(month=1, flight=1)]
        assert flights.flown(tables(*rows))["flight"].to_list() == [1, 2, 3]


class TestRealFlights:
    def test_how_many(self, known: pl.DataFrame) -> None:
        assert known.height == 105_475
        assert known["month"].unique().sort().to_list() == [1, 2, 3, 4]

    def test_all_taxi_times_make_sense(self, known: pl.DataFrame) -> None:
        minutes = known["taxi_time"].drop_nulls()
        assert minutes.len() > 100_000
        assert minutes.is_between(5, 180).all()

    @pytest.mark.parametrize("department", DEPARTMENTS, ids=lambda d: d.name)
    def test_what_is_learned_and_what_is_live_do_not_meet(
        self, known: pl.DataFrame, department: Department
    ) -> None:
        learned = flights.learning(known, list(department.columns), department.target)
        assert learned.columns == [*department.columns, department.target]
        assert learned[department.target].null_count() == 0
        assert learned.height < known.filter(pl.col("month") < 4).height + 1
        live = flights.live(known, 500)
        assert live["month"].unique().to_list() == [4]
        assert live[department.target].null_count() == 0

    def test_live_flights_are_spread_over_april(self, known: pl.DataFrame) -> None:
        live = flights.live(known, 600)
        assert live.height == 600
        assert live["day"].n_unique() == 30
        assert flights.live(known, 10**9).height > 20_000


class TestRequests:
    @pytest.mark.parametrize("department", DEPARTMENTS, ids=lambda d: d.name)
    def test_a_request_has_the_columns_and_not_the_outcome(
        self, known: pl.DataFrame, department: Department
    ) -> None:
        made = requests_for(department, flights.live(known, 40))
        assert len(made) == 40
        for request in made:
            (row,) = json.loads(request.body)
            assert tuple(row) == department.columns
            assert request.actual is not None

    def test_both_halves_meet_the_same_days(self) -> None:
        frame = flights.flown(tables(*(flight(day=day, air_time=day) for day in range(1, 9))))
        made = requests_for(FINANCE, frame)
        assert [request.actual for request in made] == [1, 3, 5, 7, 2, 4, 6, 8]


class TestRight:
    @pytest.mark.parametrize(
        ("predicted", "actual", "right"),
        [
            ({"label": True, "probabilities": {"true": 0.9}}, True, True),
            ({"label": False}, True, False),
            (1.0, True, False),
            (None, False, False),
        ],
    )
    def test_labels(self, predicted: object, actual: object, right: bool) -> None:
        assert OPERATIONS.is_right(predicted, actual) is right

    @given(st.floats(1, 1000), st.floats(-10, 10))
    def test_within(self, actual: float, off: float) -> None:
        predicted = actual + off
        assert FINANCE.is_right(predicted, actual) is (abs(predicted - actual) <= 10)

    @pytest.mark.parametrize("predicted", [math.nan, math.inf, None, "12", {"label": 12.0}])
    def test_what_is_no_number_is_not_right(self, predicted: object) -> None:
        assert not MAINTENANCE.is_right(predicted, 12)


class TestScores:
    def test_nothing_answered(self) -> None:
        found = score([Answer(0, 0.1, right=False, failure="503")])
        assert (found.version, found.requests, found.failed, found.right) == (0, 1, 1, {})
        assert math.isnan(found.p50)

    def test_failures_count_and_nothing_else_of_them(self) -> None:
        answers = [Answer(1, 0.01, right=True), Answer(0, 9.0, right=False, failure="x")]
        found = score([*answers, Answer(1, 0.03, right=False)])
        assert (found.requests, found.failed, found.p50, found.right) == (3, 1, 0.02, {1: 0.5})

    @given(st.lists(st.booleans(), min_size=1))
    def test_share(self, truths: list[bool]) -> None:
        assert 0 <= share(truths) <= 1
        assert share(truths) * len(truths) == pytest.approx(truths.count(True))


class TestReplay:
    """Against a small HTTP application in this process, so that what goes over the line is seen."""

    @staticmethod
    def client(answer: object, status: int = 200) -> httpx.AsyncClient:
        async def app(request: httpx.Request) -> httpx.Response:
            assert request.url.path == "/models/finance/air-time/predict"
            await asyncio.sleep(0)  # as on a line, others go on meanwhile
            content = answer(request) if callable(answer) else answer
            return httpx.Response(status, json=content)

        return httpx.AsyncClient(base_url="http://yard", transport=httpx.MockTransport(app))

    def test_a_prediction_that_comes_true(self) -> None:
        answer = {"model": "finance/air-time", "version": 2, "request_id": "x", "predictions": [101.5]}
        found = asyncio.run(ask(self.client(answer), FINANCE, Request(b"[{}]", 100)))
        assert (found.version, found.right, found.failure) == (2, True, "")
        assert (found.request_id, found.actual) == ("x", 100)
        assert found.seconds > 0

    @pytest.mark.parametrize(
        ("answer", "status", "words"),
        [({"detail": "The queue is full."}, 503, "503"), ({"predictions": []}, 200, "ValidationError")],
    )
    def test_a_failure_is_told(self, answer: object, status: int, words: str) -> None:
        found = asyncio.run(ask(self.client(answer, status), FINANCE, Request(b"[{}]", 100)))
        assert words in found.failure
        assert (found.version, found.right) == (0, False)

    def test_the_switch_comes_half_way_and_all_are_answered(self) -> None:
        champion = [1]
        seen: list[Answer] = []

        def answer(request: httpx.Request) -> object:
            return {"version": champion[0], "predictions": [float(request.content)], "request_id": "x"}

        async def half_way() -> None:
            assert len(seen) >= 20
            champion[0] = 2

        async def play() -> list[Answer]:
            requests = [Request(str(i).encode(), i) for i in range(40)]
            return await replay(self.client(answer), FINANCE, requests, half_way, seen.append)

        answers = asyncio.run(play())
        assert answers == seen
        assert len(answers) == 40
        assert all(answer.right for answer in answers)
        assert {answer.version for answer in answers[:20]} == {1}
        assert answers[-1].version == 2


class TestReport:
    scores: ClassVar = {
        OPERATIONS: Score(2, 3000, 0, 0.0042, {1: 0.731, 2: 0.884}),
        FINANCE: Score(0, 10, 10, math.nan, {}),
    }

    def test_the_table_fits_a_terminal(self) -> None:
        console = Console(width=80, record=True, file=io.StringIO())
        console.print(report.table(self.scores, {"python": "3.11.2", "r": "4.2.2"}))
        text = console.export_text()
        for words in ("operations/late-arrival", "Python 3.11.2", "3,000", "4.2 ms", "73 % → 88 %", "none"):
            assert words in text
        assert "finance: within 10 minutes" in " ".join(text.split())

    def test_failures_are_told(self) -> None:
        assert str(report.failures_line(self.scores.values())) == "10 requests failed."
        assert "No request failed" in str(report.failures_line([self.scores[OPERATIONS]]))

    def test_the_next_steps_name_what_is_live(self) -> None:
        text = report.next_steps("http://h:1", Path("/d/admin.token"), {"finance/air-time": b'[{"x":1}]'})
        assert "export YARD_URL=http://h:1\n" in text
        assert "export YARD_TOKEN=$(cat /d/admin.token)\n" in text
        assert "yard history finance/air-time" in text
        assert "PATH=" not in text
        assert "export PATH=/v/bin:$PATH\n" in report.next_steps("http://h:1", Path("/t"), {}, "/v/bin")
        assert """-d '[{"x":1}]'""" in text
        assert "paste what /d/admin.token holds" in text

    def test_the_readme_asks_one_of_them_for_a_row_that_it_takes(self) -> None:
        asked = re.search(
            r"/models/([a-z-]+/[a-z-]+)/predict\" \\\n  -d '(.+)'", (ROOT / "README.md").read_text()
        )
        assert asked
        columns = {department.model: department.columns for department in DEPARTMENTS}[asked[1]]
        assert set(json.loads(asked[2])[0]) == set(columns)


class TestTraining:
    def test_a_language_that_is_not_here(self, tmp_path: Path) -> None:
        with pytest.raises(EnvironmentBuildError, match="R is not installed"):
            training.plan(FINANCE, {"r": "/nowhere/Rscript"}, tmp_path)

    def test_python_trains_with_the_yards_own(self, tmp_path: Path) -> None:
        plan = training.plan(OPERATIONS, {}, tmp_path)
        assert plan.commands[-1][-1].endswith("operations/train.py")
        assert plan.environment["YARD_DATA"] == str(tmp_path)

    @pytest.mark.r
    def test_r_finds_its_sdk(self, tmp_path: Path, rscript: list[str]) -> None:
        plan = training.plan(FINANCE, {"r": rscript[0]}, tmp_path)
        assert plan.version[0].isdigit()
        assert plan.environment["R_LIBS"].startswith(str(tmp_path / "r-library"))
        assert Path(plan.commands[0][-1]) == training.sdk_folder() / "r"

    @pytest.mark.julia
    def test_julia_finds_its_sdk(self, tmp_path: Path, julia: list[str]) -> None:
        plan = training.plan(MAINTENANCE, {"julia": julia[0]}, tmp_path)
        assert plan.environment["JULIA_LOAD_PATH"].startswith(str(training.sdk_folder() / "julia"))

    def test_what_a_script_says_is_told_and_what_fails_is_explained(self) -> None:
        said: list[str] = []
        script = "import os, sys; print('learning at', os.environ['YARD_URL']); sys.exit('no such column')"
        plan = training.Plan(
            OPERATIONS, "3", (("python3", "-c", "print('quiet')"), ("python3", "-c", script)), {}
        )
        with pytest.raises(YardError, match=r"(?s)exit code 1.*no such column"):
            asyncio.run(training.train(plan, {"YARD_URL": "http://h:1"}, lambda _, line: said.append(line)))
        assert said == ["learning at http://h:1"]


@pytest.mark.julia
def test_the_julia_models_learn(julia: list[str]) -> None:
    """Each beats the one before on rows it has not seen, with strings never seen and missing values."""
    code = """
        include(ARGS[1])
        make(n, shift) = (
            origin = [isodd(i) ? "EWR" : "JFK" for i in 1:n],
            hour = [(7i + shift) % 24 for i in 1:n],
            seats = [i % 3 == 0 ? missing : (13i) % 300 for i in 1:n],
        )
        minutes(c) = 20 .+ (c.origin .== "EWR") .* c.hour .+ 9 .* ismissing.(c.seats)
        older, newer = make(3000, 0), make(1001, 5)
        real = minutes(newer)
        off(p) = mean(abs.(p .- real))
        ridge, boosted = fit_ridge(older, minutes(older)), fit_boosted(older, minutes(older); trees = 40)
        strange = (origin = ["LGA"], hour = [99], seats = [missing])
        all(isfinite, [predict(ridge, strange); predict(boosted, strange)]) || exit(3)
        print(off(mean(real)), " ", off(predict(ridge, newer)), " ", off(predict(boosted, newer)))
    """
    command = [*julia, "-e", code, str(MAINTENANCE.project / "model.jl")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    mean, ridge, boosted = map(float, done.stdout.split())
    assert boosted < ridge / 2
    assert ridge < mean
