"""Meters: whatever dies when, what was counted is handed over once."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from modelyard.records.meters import Batch, Books, Counts

ONE, TWO = "finance/fuel/1", "operations/delay/7"
DAYS = ("2026-11-30", "2026-12-01")


class Node(RuleBasedStateMachine):
    """A node whose engine dies anywhere: its disk and the database keep what they have."""

    def __init__(self) -> None:
        super().__init__()
        self.meters: dict[str, dict[str, Counts]] = {"front-0:1:1": {}, "worker:2:2": {}}
        self.true: dict[str, Counts] = {}  # by version and the day on which it was read
        self.disk = self.memory = Books()
        self.taken, self.last = dict[str, Counts](), ""
        self.names = iter(range(10**6))
        self.day = 0

    def keep(self, books: Books) -> None:
        self.memory = self.disk = books

    @rule(
        source=st.sampled_from(["front-0:1:1", "worker:2:2", "worker:3:3"]),
        version=st.sampled_from([ONE, TWO]),
        more=st.builds(Counts, *[st.integers(0, 5)] * 5),
    )
    def grow(self, source: str, version: str, more: Counts) -> None:
        versions = self.meters.setdefault(source, {})
        versions[version] = versions.get(version, Counts()) + more

    @rule()
    def look(self) -> None:
        self.keep(self.memory.read(self.meters, DAYS[self.day]))

    @rule()
    def midnight(self) -> None:
        self.look()
        self.day = 1

    @rule(dies=st.sampled_from(["", "sealing", "sending", "sent"]))
    def hand_over(self, dies: str) -> None:
        sealed = self.memory.seal(str(next(self.names)))
        if dies != "sealing":
            self.keep(sealed)
        if dies in ("", "sent") and sealed.sealed is not None:
            self.take(sealed.sealed)
        if dies:
            self.memory = self.disk  # the next engine reads what is there
        else:
            self.keep(sealed.taken())

    def take(self, batch: Batch) -> None:
        """As `store.ledger.take` does in one transaction."""
        if batch.name != self.last:
            self.last = batch.name
            for place, counts in batch.counts.items():
                self.taken[place] = self.taken.get(place, Counts()) + counts

    @rule()
    def worker_ends(self) -> None:
        self.look()  # its last reading was had
        self.ended = self.meters.pop("worker:3:3", {})
        for version, counts in self.ended.items():
            self.true[version] = self.true.get(version, Counts()) + counts
        self.keep(self.memory.read(self.meters, DAYS[self.day], frozenset({"worker:3:3"})))

    @invariant()
    def nothing_is_lost_or_counted_twice(self) -> None:
        books = self.memory.read(self.meters, DAYS[self.day])
        waiting = [books.open]
        if books.sealed is not None and books.sealed.name != self.last:
            waiting.append(books.sealed.counts)
        found: dict[str, Counts] = {}
        for counts in (self.taken, *waiting):
            for place, each in counts.items():
                version = place.partition("@")[0]
                found[version] = found.get(version, Counts()) + each
        true = dict(self.true)
        for versions in self.meters.values():
            for version, each in versions.items():
                true[version] = true.get(version, Counts()) + each
        assert found == {v: c for v, c in true.items() if c}


TestNode = Node.TestCase


def test_a_reading_belongs_to_its_day_and_a_meter_never_runs_backwards() -> None:
    books = Books().read({"w:1:1": {ONE: Counts(cpu=5)}}, DAYS[0])
    books = books.read({"w:1:1": {ONE: Counts(cpu=3)}}, DAYS[1])
    books = books.read({"w:1:1": {ONE: Counts(cpu=9)}}, DAYS[1])
    assert books.open == {f"{ONE}@{DAYS[0]}": Counts(cpu=5), f"{ONE}@{DAYS[1]}": Counts(cpu=4)}
    gone = books.read({}, DAYS[1], frozenset({"w:1:1"}))
    assert gone.readings == {}
    assert gone.open == books.open


def test_nothing_is_sealed_while_a_batch_waits() -> None:
    books = Books(open={f"{ONE}@{DAYS[0]}": Counts(rows=1)}).seal("a")
    more = books.read({"w:1:1": {ONE: Counts(rows=4)}}, DAYS[0])
    assert more.seal("b").sealed == books.sealed
    assert more.taken().seal("c").sealed == Batch("c", {f"{ONE}@{DAYS[0]}": Counts(rows=4)})
    assert Books().seal("d").sealed is None
