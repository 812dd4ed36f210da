"""What the replay brought to light: pure functions from answers to figures."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from msgspec import Struct


class Answer(Struct, frozen=True):
    """One request of the replay.

    Attributes:
        version: the version that answered; 0 where the request failed.
        seconds: from sending to the whole answer, as the application sees it.
        right: whether the prediction came true.
        failure: what went wrong, or nothing.
        request_id: by which the yard knows the prediction, and `actual`, what really happened.
    """

    version: int
    seconds: float
    right: bool
    failure: str = ""
    request_id: str = ""
    actual: object = None


class Score(Struct, frozen=True):
    """The figures of one model.

    Attributes:
        version: the one in use at the end; 0 if nothing was answered.
        requests: all that were sent, and `failed` of them.
        p50: the median answered request, in seconds; NaN if there is none.
        right: share of predictions that came true, by version.
    """

    version: int
    requests: int
    failed: int
    p50: float
    right: dict[int, float]


def score(answers: Sequence[Answer]) -> Score:
    """Sum up a model's answers, given in order of time.

    >>> score([Answer(1, 0.002, right=False), Answer(1, 0.004, right=True), Answer(2, 0.003, right=True)])
    Score(version=2, requests=3, failed=0, p50=0.003, right={1: 0.5, 2: 1.0})
    """
    answered = [answer for answer in answers if not answer.failure]
    right = {
        version: share([a.right for a in answered if a.version == version])
        for version in sorted({a.version for a in answered})
    }
    p50 = median(a.seconds for a in answered) if answered else float("nan")
    last = answered[-1].version if answered else 0
    return Score(last, len(answers), len(answers) - len(answered), p50, right)


def share(truths: Sequence[bool]) -> float:
    """How many of them are true, from 0 to 1; NaN of none."""
    return sum(truths) / len(truths) if truths else float("nan")
