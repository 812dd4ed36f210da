"""Two versions side by side: what differs, and which is better where that can be said. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec import Struct

from modelyard.records.metrics import Metric
from modelyard.records.models import File, Version
from modelyard.records.signatures import Column
from modelyard.web.words import NONE, number, size

_LEVELS_SHOWN = 6


class Line(Struct, frozen=True):
    """One thing in both versions.

    Attributes:
        note: what the difference comes to, as `12 % better`.
        tone: good, bad or empty.
    """

    what: str
    left: str
    right: str
    note: str = ""
    tone: str = ""

    @property
    def differs(self) -> bool:
        """Whether the two are not the same."""
        return self.left != self.right


class Section(Struct, frozen=True):
    """A part of the comparison; its lines that differ, and how many are the same."""

    title: str
    lines: list[Line]
    same: int


def compare(left: Version, right: Version, left_files: list[File], right_files: list[File]) -> list[Section]:
    """All sections; a section without a difference has no lines."""
    a, b = left.bundle, right.bundle
    facts = [
        Line(
            "language",
            f"{a.language} {a.language_version}".strip(),
            f"{b.language} {b.language_version}".strip(),
        ),
        Line("form that answers", left.form, right.form),
        Line("size", size(left.size), size(right.size)),
        Line("description", a.description, b.description),
    ]
    return [
        Section("Metrics", metric_lines(a.metrics, b.metrics), 0),
        _section("Version", facts),
        _section("Inputs", _columns(a.signature.inputs, b.signature.inputs)),
        _section("Outputs", _columns(a.signature.outputs, b.signature.outputs)),
        _section("Environment", _mapping(a.packages, b.packages)),
        _section("Data, code and job", _mapping(a.lineage, b.lineage)),
        _section("Files", _files(left_files, right_files)),
    ]


def metric_lines(left: Mapping[str, float], right: Mapping[str, float]) -> list[Line]:
    """Every metric of the two, the differences in words where a direction is known.

    >>> metric_lines({"mae": 10.0}, {"mae": 9.0})[0].note
    '10 % better'
    """
    return [
        Line(
            name,
            number(left.get(name)),
            number(right.get(name)),
            *_judged(name, left.get(name), right.get(name)),
        )
        for name in dict.fromkeys([*sorted(left), *sorted(right)])
    ]


def _judged(name: str, left: float | None, right: float | None) -> tuple[str, str]:
    if left is None or right is None or left == right:
        return "", ""
    share = f"{abs(right - left) / abs(left):.1%}".replace("%", " %").replace(".0 ", " ") if left else ""
    try:
        higher = Metric(name).higher_is_better
    except ValueError:
        return f"{share} {'more' if right > left else 'less'}".strip(), ""
    better = (right > left) == higher
    return f"{share} {'better' if better else 'worse'}".strip(), "good" if better else "bad"


def column_words(column: Column) -> str:
    """What a column takes, in words."""
    parts = [str(column.type)]
    if column.missing:
        parts.append("may be missing")
    named = column.levels if column.levels is not None else column.categories
    if named:
        more = f", … ({len(named)})" if len(named) > _LEVELS_SHOWN else ""
        parts.append(f"{'only' if column.levels else 'seen'} {', '.join(named[:_LEVELS_SHOWN])}{more}")
    elif column.low is not None and column.high is not None:
        parts.append(f"seen {number(column.low)} to {number(column.high)}")
    return "; ".join(parts)


def _columns(left: Iterable[Column], right: Iterable[Column]) -> list[Line]:
    return _mapping({c.name: column_words(c) for c in left}, {c.name: column_words(c) for c in right})


def _files(left: list[File], right: list[File]) -> list[Line]:
    def told(files: list[File]) -> dict[str, str]:
        return {f.path: f"{size(f.size)}, {f.digest[:12]}" for f in files}

    return _mapping(told(left), told(right))


def _mapping(left: Mapping[str, str], right: Mapping[str, str]) -> list[Line]:
    names = dict.fromkeys([*left, *right])
    return [Line(name, left.get(name, NONE), right.get(name, NONE)) for name in names]


def _section(title: str, lines: list[Line]) -> Section:
    differing = [line for line in lines if line.differs]
    return Section(title, differing, len(lines) - len(differing))
