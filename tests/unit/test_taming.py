"""Which workers are put behind everything else, and for how long."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from modelyard.workers import cgroups
from modelyard.workers.taming import Taming


class Told:
    """What was decided of group `w` at each second, for so many cores used in it."""

    def __init__(self) -> None:
        self.behind: list[bool] = []
        self.is_behind = False
        self.taming = Taming(self._put_behind)
        self.seconds = self.now = 0.0
        self.taming.look("w", self.seconds, self.now)

    def _put_behind(self, group: str, behind: bool) -> None:
        assert group == "w"
        assert behind is not self.is_behind  # nothing is said twice
        self.is_behind = behind

    def spans(self) -> list[tuple[bool, int]]:
        return [(behind, len(list(group))) for behind, group in groupby(self.behind)]

    def burn(self, cores: float, seconds: int = 1) -> Told:
        for _ in range(seconds):
            self.now += 1
            self.seconds += cores
            self.taming.look("w", self.seconds, self.now)
            self.behind.append(self.is_behind)
        return self


def test_one_thread_may_burn_all_day() -> None:
    assert not any(Told().burn(1.0, 10_000).behind)


def test_more_than_a_thread_is_put_behind_at_once_and_comes_back_when_it_is_calm() -> None:
    told = Told().burn(0.5, 3).burn(2.0).burn(0.1, 60)
    assert told.behind == [False] * 3 + [True] * 60 + [False]


def test_who_does_it_again_stays_behind_for_twice_as_long() -> None:
    told = Told().burn(2.0, 500)
    assert [length for behind, length in told.spans() if behind] == [60, 120, 240, 77]


def test_a_group_that_ended_is_forgotten() -> None:
    told = Told().burn(2.0)
    told.is_behind = False
    told.taming.forget("w")
    assert told.burn(2.0).behind[-1] is False  # the first look at another one tells nothing


@given(st.lists(st.floats(0, 1.2), max_size=100))
def test_nobody_is_put_behind_for_what_one_thread_does(cores: list[float]) -> None:
    told = Told()
    for each in cores:
        told.burn(each)
    assert not any(told.behind)


def test_a_clock_that_stands_still_decides_nothing() -> None:
    told = Told()
    told.taming.look("w", 100.0, told.now)
    assert not told.is_behind


def test_two_looks_at_once_decide_nothing() -> None:
    """The kernel counts in hundredths of a second: one of them is many cores for a moment."""
    told = Told()
    told.taming.look("w", 0.01, told.now + 0.001)
    told.burn(0.5)
    assert not told.is_behind


def test_a_group_behind_the_others_and_a_kernel_that_knows_none(tmp_path: Path) -> None:
    where = (cgroups.Controller(str(tmp_path)),)
    (tmp_path / "modelyard-w").mkdir()
    file = tmp_path / "modelyard-w" / "cpu.idle"
    for behind in (True, False):
        cgroups.put_behind("w", behind, where)
        assert not file.exists()
    file.write_text("0")
    for behind in (True, False):
        cgroups.put_behind("w", behind, where)
        assert file.read_text() == str(int(behind))
