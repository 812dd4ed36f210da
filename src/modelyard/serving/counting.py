"""What a front counts of a rollout: both versions' requests, failures, times and outputs."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Sequence

from modelyard.records.rollouts import Evidence, Tally, Trial
from modelyard.records.signatures import LABEL, PREDICTION, PROBABILITY, Signature
from modelyard.serving.answers import Answer
from modelyard.workers.wire import Value

_KEPT = 256  # of the champion's answers, to know how long it takes
_ENOUGH = 20  # answers of the champion before anything is called slow, or far
_LEAST = 0.025  # seconds: below it nobody waits, and a machine's hiccups are as long
_NEW = 3  # answers of a candidate whose workers are still new, not timed
_MOST_ROWS = 100  # of one request, so that one large table does not speak for all
_WORDS = 500


class Counting:
    """Counts of one rollout on one front since they were last taken."""

    def __init__(self, trial: Trial, champion: Signature, candidate: Signature) -> None:
        self._trial = trial
        self._at = score_index(champion), score_index(candidate)
        self._times: deque[float] = deque(maxlen=_KEPT)
        self._limit = math.inf
        self._warm = 0
        self._is_timing = False
        self._seen, self._mean, self._squares = 0, 0.0, 0.0
        self._candidate = _Counts(len(trial.edges) + 1)
        self._champion = _Counts(len(trial.edges) + 1)

    def champion(self, answer: Answer, seconds: float) -> None:
        """The champion answered a request."""
        self._champion.answered(seconds)
        self._times.append(seconds)
        if len(self._times) >= _ENOUGH and self._champion.asked % _ENOUGH == 0:
            self._limit = self._slow_from()
        for value in _scores(answer, self._at[0]):
            self._champion.bin(value, self._trial.edges)
            self._spread(value)

    def time_one(self) -> bool:
        """Whether the candidate's request that begins now is timed; then `timed_one` is called at its end.

        One at a time: a stall of the machine holds up all that are on their way, and would count as many
        slow answers where the test takes each for one of its own.
        """
        begins = not self._is_timing
        self._is_timing = True
        return begins

    def timed_one(self) -> None:
        """The timed request has ended."""
        self._is_timing = False

    def candidate(self, answer: Answer, seconds: float, *, timed: bool) -> None:
        """The candidate answered a request."""
        counts = self._candidate
        counts.answered(seconds)
        self._warm += 1
        if timed and self._warm > _NEW and self._limit < math.inf:
            counts.timed += 1
            counts.slow += seconds > self._limit
        for value in _scores(answer, self._at[1]):
            counts.bin(value, self._trial.edges)

    def pair(self, champion: Answer, candidate: Answer) -> None:
        """Both answered the same request."""
        for mine, others in _pairs(champion, candidate, self._at):
            if isinstance(mine, float) and isinstance(others, float):
                if self._seen < _ENOUGH:
                    continue
                is_far = abs(mine - others) > math.sqrt(self._squares / self._seen)
            else:
                is_far = mine != others
            self._candidate.paired += 1
            self._candidate.far += is_far

    def failed(self, words: str) -> None:
        """The candidate failed a request that the champion answered."""
        self._candidate.asked += 1
        self._candidate.failed += 1
        self._candidate.words = words[:_WORDS]

    def dropped(self) -> None:
        """A shadow copy was left out."""
        self._candidate.dropped += 1

    def take(self) -> Evidence | None:
        """What was counted since the last call; None if nothing was."""
        evidence = Evidence(self._candidate.tally(), self._champion.tally())
        if evidence == Evidence():
            return None
        places = len(self._trial.edges) + 1
        self._candidate, self._champion = _Counts(places), _Counts(places)
        return evidence

    def _slow_from(self) -> float:
        if self._trial.latency_seconds is not None:
            return self._trial.latency_seconds
        if self._trial.latency_times is None:
            return math.inf
        times = sorted(self._times)
        return max(self._trial.latency_times * times[int(0.95 * len(times))], _LEAST)

    def _spread(self, value: float) -> None:
        """Welford's running mean and sum of squared distances from it."""
        self._seen += 1
        before = value - self._mean
        self._mean += before / self._seen
        self._squares += before * (value - self._mean)


class _Counts:
    """A tally while it is counted."""

    def __init__(self, places: int) -> None:
        self.asked = self.failed = self.timed = self.slow = self.paired = self.far = self.dropped = 0
        self.seconds = 0.0
        self.bins = [0] * places
        self.words = ""

    def answered(self, seconds: float) -> None:
        self.asked += 1
        self.seconds += seconds

    def bin(self, value: float, edges: Sequence[float]) -> None:
        if edges:
            self.bins[bisect_right(edges, value)] += 1

    def tally(self) -> Tally:
        bins = tuple(self.bins) if any(self.bins) else ()
        return Tally(
            self.asked,
            self.failed,
            self.timed,
            self.slow,
            self.paired,
            self.far,
            self.dropped,
            self.seconds,
            bins,
            self.words,
        )


def score_index(signature: Signature) -> int | None:
    """Which output column is a row's score: the prediction, or the first class's probability; else None."""
    names = [column.name for column in signature.outputs]
    wanted = [n for n in names if n == PREDICTION or n.startswith(PROBABILITY)]
    if wanted:
        return names.index(wanted[0])
    return None if not names or names[0] == LABEL else 0


def is_whole(answer: Answer) -> bool:
    """Whether no number of an answer is missing."""
    return not any(value is None or value != value for column in answer.outputs for value in column)  # noqa: PLR0124


def _scores(answer: Answer, index: int | None) -> Iterable[float]:
    if index is None:
        return ()
    return [v for v in answer.outputs[index][:_MOST_ROWS] if isinstance(v, float) and math.isfinite(v)]


def _pairs(
    champion: Answer, candidate: Answer, at: tuple[int | None, int | None]
) -> Iterable[tuple[Value, Value]]:
    labels = champion.signature.outputs[0].name == LABEL
    one, two = (0, 0) if labels else (at[0] or 0, at[1] or 0)
    return zip(champion.outputs[one][:_MOST_ROWS], candidate.outputs[two][:_MOST_ROWS], strict=False)
