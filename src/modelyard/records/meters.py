"""What a node has counted and not yet handed over: readings become differences, differences a batch. Pure.

A meter (a front's counters, a worker's CPU) only ever grows as long as its process lives. What it grew by
since it was last read belongs to the day on which it is read. Differences gather in `open`; to hand them over
they are sealed into a batch with a name of its own, kept on disk first, and the database remembers the last
name it took: so a batch that is sent again after a crash changes nothing, and whatever was not kept is simply
read again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

from msgspec import Struct
from msgspec.structs import replace


class Counts(Struct, frozen=True):
    """What was answered, and what that took.

    Attributes:
        answered, refused, failed: requests: answered, refused for the caller's fault, failed by the yard.
        rows: answered.
        cpu: microseconds of the workers' processors.
    """

    answered: int = 0
    refused: int = 0
    failed: int = 0
    rows: int = 0
    cpu: int = 0

    def __add__(self, other: Counts) -> Counts:
        """Both together."""
        return Counts(
            self.answered + other.answered,
            self.refused + other.refused,
            self.failed + other.failed,
            self.rows + other.rows,
            self.cpu + other.cpu,
        )

    def since(self, before: Counts) -> Counts:
        """What came since an earlier reading; nothing where a meter seems to run backwards."""
        return Counts(
            max(0, self.answered - before.answered),
            max(0, self.refused - before.refused),
            max(0, self.failed - before.failed),
            max(0, self.rows - before.rows),
            max(0, self.cpu - before.cpu),
        )

    def __bool__(self) -> bool:
        """Whether there is anything."""
        return self != _NOTHING


_NOTHING = Counts()
Readings = Mapping[str, Counts]  # by version: `department/name/7`
Meters = Mapping[str, Readings]  # by source: what it is, and the process it is of


class Batch(Struct, frozen=True):
    """Counts that are handed over together, once.

    Attributes:
        name: of this batch alone.
        counts: by `department/name/7@2026-11-30`.
    """

    name: str
    counts: dict[str, Counts]


class Books(Struct, frozen=True):
    """What a node keeps between two looks at its meters.

    Attributes:
        readings: the last of each source.
        open: what has come since the last batch was sealed.
        sealed: a batch that may or may not have been taken yet.
    """

    readings: dict[str, dict[str, Counts]] = {}
    open: dict[str, Counts] = {}
    sealed: Batch | None = None

    def read(self, meters: Meters, day: str, gone: frozenset[str] = frozenset()) -> Self:
        """After a look at the meters.

        Args:
            day: on which it is, as 2026-11-30.
            gone: sources whose process has ended: they are never read again.
        """
        readings, grown = dict(self.readings), dict(self.open)
        for source, versions in meters.items():
            before = dict(readings.get(source, {}))
            for version, now in versions.items():
                more = now.since(before.get(version, _NOTHING))
                if more:
                    place = f"{version}@{day}"
                    grown[place] = grown.get(place, _NOTHING) + more
                    before[version] = before.get(version, _NOTHING) + more
            readings[source] = before
        kept = {source: r for source, r in readings.items() if source not in gone}
        return replace(self, readings=kept, open=grown)

    def seal(self, name: str) -> Self:
        """Make a batch of what is open; nothing changes while an earlier one may not have been taken."""
        if self.sealed is not None or not self.open:
            return self
        return replace(self, open={}, sealed=Batch(name, self.open))

    def taken(self) -> Self:
        """The database has the sealed batch."""
        return replace(self, sealed=None)
