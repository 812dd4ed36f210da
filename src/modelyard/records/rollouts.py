"""Rollouts, and the route table: everything a front needs to answer, immutable and swapped whole."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Self

import msgspec
from msgspec import Struct

from modelyard.records.capacity import Demand
from modelyard.records.people import Grant
from modelyard.records.references import CHAMPION
from modelyard.records.signatures import Signature
from modelyard.records.spans import span

CANARY = "canary"
SHADOW = "shadow"
MANY_ROWS = ".many"  # behind a version's id: its native workers beside the portable ones


class StageKind(StrEnum):
    """How live traffic is shared.

    SHADOW: the candidate is asked beside the champion; its answers are recorded and never returned.
    CANARY: a share of the requests is answered by the candidate.
    """

    SHADOW = SHADOW
    CANARY = CANARY


class Stage(Struct, frozen=True):
    """One stage of a rollout: its kind, the share of requests in 0 to 1, and its length in seconds."""

    kind: StageKind
    share: float
    seconds: float

    @property
    def words(self) -> str:
        """For a person.

        >>> Stage(StageKind.CANARY, 0.1, 1800).words
        'canary with 10 % for 30 min'
        """
        share = f" with {100 * self.share:g} %" if self.kind is StageKind.CANARY else ""
        return f"{self.kind}{share} for {span(self.seconds)}"


class RolloutState(StrEnum):
    """Where a rollout stands. WAITING is for a person's approval; the last three are its end."""

    RUNNING = "running"
    WAITING = "waiting"
    PROMOTED = "promoted"
    ROLLED_BACK = "rolled-back"
    STOPPED = "stopped"

    @property
    def goes_on(self) -> bool:
        """Whether it has not ended."""
        return self in (RolloutState.RUNNING, RolloutState.WAITING)


class Rules(Struct, frozen=True):
    """What a rollout keeps to, fixed when it begins; a policy changed later counts for the next.

    Attributes:
        needs_approval: an owner must agree before the candidate is champion.
        sticky: a column whose values see one version each; empty: each request by itself.
        latency_times: a slow answer takes more than so many times the champion's 95th percentile,
        latency_seconds: or more than so many seconds, where that is set.
        differ: the largest share of answers in shadow that may differ a lot.
        edges: of the bins the outputs are counted in, ascending.
        expected: the shares of the candidate's outputs in those bins on the held-out rows, and
        champion_expected: the champion's. All three are empty where nothing was compared.
    """

    stages: tuple[Stage, ...]
    needs_approval: bool = False
    sticky: str = ""
    latency_times: float | None = 2.0
    latency_seconds: float | None = None
    differ: float = 0.5
    edges: tuple[float, ...] = ()
    expected: tuple[float, ...] = ()
    champion_expected: tuple[float, ...] = ()


class Tally(Struct, frozen=True, omit_defaults=True):
    """What was counted of one version during a rollout. Tallies add up.

    Attributes:
        asked: requests it was given, of which
        failed: it failed so many (with the champion answering), and
        timed: of so many it was judged whether they took too long, which
        slow: so many did.
        paired: rows of requests that both answered, of which
        far: so many answers differed a lot.
        dropped: shadow copies left out because too many were on their way.
        seconds: of all answers.
        bins: how many outputs fell into each bin.
        words: what the last failure said.
    """

    asked: int = 0
    failed: int = 0
    timed: int = 0
    slow: int = 0
    paired: int = 0
    far: int = 0
    dropped: int = 0
    seconds: float = 0.0
    bins: tuple[int, ...] = ()
    words: str = ""

    def __add__(self, other: Self) -> Self:
        longer, shorter = sorted((self.bins, other.bins), key=len, reverse=True)
        bins = tuple(a + b for a, b in zip(longer, shorter, strict=False)) + longer[len(shorter) :]
        return type(self)(
            self.asked + other.asked,
            self.failed + other.failed,
            self.timed + other.timed,
            self.slow + other.slow,
            self.paired + other.paired,
            self.far + other.far,
            self.dropped + other.dropped,
            self.seconds + other.seconds,
            bins,
            other.words or self.words,
        )


class Evidence(Struct, frozen=True, omit_defaults=True):
    """What a rollout has shown so far: both versions over the same time."""

    candidate: Tally = Tally()
    champion: Tally = Tally()

    def __add__(self, other: Self) -> Self:
        return type(self)(self.candidate + other.candidate, self.champion + other.champion)


class RolloutStep(Struct, frozen=True):
    """One step of a rollout's story: the state and stage it led to, who decided, and why in words."""

    at: datetime
    state: RolloutState
    stage: int
    by: str
    words: str


class Rollout(Struct, frozen=True):
    """A candidate on its way to become champion.

    Attributes:
        id: unique in the yard.
        candidate: the version that is tried.
        champion: the version that answers meanwhile; the rollout ends if another takes its place.
        stage: the index of the stage it is in, or was in last.
        stage_began_at: when that stage began,
        stage_asked: and how many requests the candidate had been given by then.
        approved_by: who agreed, or an empty string.
        words: what was decided last, for a person.
        why: why it was begun.
        steps: its story, oldest first.
    """

    id: int
    model: str
    candidate: int
    champion: int
    state: RolloutState
    rules: Rules
    stage: int
    stage_began_at: datetime
    stage_asked: int
    approved_by: str
    words: str
    why: str
    began_at: datetime
    began_by: str
    ended_at: datetime | None
    evidence: Evidence = Evidence()
    steps: tuple[RolloutStep, ...] = ()

    @property
    def now(self) -> Stage | None:
        """The stage it is in; None if its rules have none."""
        return self.rules.stages[self.stage] if self.rules.stages else None


class Decision(Struct, frozen=True):
    """What becomes of a rollout: the state and stage it is in from now on, why in words, and when to look
    again (None where it has ended).
    """

    state: RolloutState
    stage: int
    words: str
    look_at: datetime | None = None


class Trial(Struct, frozen=True):
    """What a front needs of a rollout: who is tried, how, and how answers are counted."""

    rollout: int
    candidate: int
    kind: StageKind
    share: float
    sticky: str = ""
    latency_times: float | None = None
    latency_seconds: float | None = None
    edges: tuple[float, ...] = ()


class ServedVersion(Struct, frozen=True, gc=False):  # as signatures
    """A checked version as serving sees it.

    Attributes:
        id: `department.name.version`.
        model: `department/name`.
        signature: its complete signature.
        form: `native` or `portable`: which of the two its workers hold.
        native_from: requests of so many rows and more are better answered by native workers; 0: none are.
    """

    id: str
    model: str
    version: int
    language: str
    signature: Signature
    form: str = "native"
    native_from: int = 0

    @property
    def for_many_rows(self) -> ServedVersion:
        """The same version with its native workers, which are a fleet of their own."""
        return msgspec.structs.replace(self, id=self.id + MANY_ROWS, form="native", native_from=0)


def version_of(fleet: str) -> tuple[str, int]:
    """Model and number of the version whose workers these are.

    >>> version_of("finance.fuel-cost.3"), version_of("finance.fuel-cost.3.many")
    (('finance/fuel-cost', 3), ('finance/fuel-cost', 3))
    """
    department, name, number, *_ = fleet.split(".")
    return f"{department}/{name}", int(number)


class ModelRoutes(Struct, frozen=True, gc=False):  # the same
    """A model's aliases and checked versions, and the rollout that goes on.

    Attributes:
        rollout: None if there is none.
        demand: what its workers ask of machines; None where nobody has said.
    """

    aliases: dict[str, int]
    versions: dict[int, ServedVersion]
    rollout: Trial | None = None
    demand: Demand | None = None

    @property
    def champion(self) -> ServedVersion | None:
        """The version that answers requests to the model itself."""
        number = self.aliases.get(CHAMPION)
        return None if number is None else self.versions.get(number)


class RouteTable(Struct, frozen=True):
    """All routes of the yard at one generation.

    Attributes:
        generation: grows by one with each change of routes or tokens.
        models: `department/name` to its routes.
        tokens: sha256 of a token's secret, in hex, to what it may do. Revoked ones are not there.
        untrusted: departments whose code does not run; their models that are data alone do.
        graces: seconds that a department's predictions go on without the database, where not as usual.
        silent: seconds for which the database has not confirmed it, 0 where that is no matter. A front sets
            it; in the file it is 0.
    """

    generation: int
    models: dict[str, ModelRoutes]
    tokens: dict[str, Grant]
    untrusted: frozenset[str] = frozenset()
    graces: dict[str, float] = {}
    silent: float = 0.0

    def served(self, fleet: str) -> ServedVersion | None:
        """The version, or its part for many rows, whose workers have this id; None if it is in no route."""
        model, number = version_of(fleet)
        routes = self.models.get(model)
        found = routes.versions.get(number) if routes else None
        if found is None or fleet == found.id:
            return found
        return found.for_many_rows if found.native_from else None
