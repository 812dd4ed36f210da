"""Small charts as SVG, drawn here so that they are there without any script. Pure.

Colours come from the stylesheet by class, so a chart follows the theme; nothing has a `style`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup, escape

_PAD = 2.0
_WIDE, _TALL = 120, 28  # of a trend


def points(values: Sequence[float], width: float = 120, height: float = 28, top: float | None = None) -> str:
    """The `points` of a polyline through values evenly apart, from zero at the bottom to `top`.

    >>> points([0, 1, 2], 10, 10)
    '0,8 5,5 10,2'
    """
    if not values:
        return ""
    most = max(top or 0.0, *values) or 1.0
    step = width / max(1, len(values) - 1)
    room = height - 2 * _PAD
    return " ".join(
        f"{round(i * step, 1):g},{round(height - _PAD - room * max(0.0, v) / most, 1):g}"
        for i, v in enumerate(values)
    )


def sparkline(values: Sequence[float], label: str, width: int = 120, height: int = 28) -> Markup:
    """A line with the area below it; `label` says in words what it shows."""
    line = points(values, width, height)
    words = escape(label)
    if not line:
        return Markup('<span class="none">\N{EN DASH}</span>')
    area = f"0,{height} {line} {width},{height}"
    return Markup(  # noqa: S704 - numbers, and the label escaped above
        f'<svg class="spark" viewBox="0 0 {width} {height}" preserveAspectRatio="none" role="img" '
        f'aria-label="{words}"><polygon class="spark-area" points="{area}"/>'
        f'<polyline class="spark-line" points="{line}"/></svg>'
    )


def bars(
    shares: Sequence[float], label: str, width: int = 160, height: int = 40, tone: str = "one"
) -> Markup:
    """Bars side by side, the highest as high as the chart."""
    most = max(shares, default=0.0) or 1.0
    step = width / max(1, len(shares))
    drawn = "".join(
        f'<rect class="bar {tone}" x="{round(i * step + 0.5, 1):g}" width="{round(max(step - 1, 0.5), 1):g}" '
        f'y="{round(height - height * s / most, 1):g}" height="{round(height * s / most, 1):g}"/>'
        for i, s in enumerate(shares)
    )
    return Markup(  # noqa: S704 - numbers, and the label escaped
        f'<svg class="bars" viewBox="0 0 {width} {height}" preserveAspectRatio="none" role="img" '
        f'aria-label="{escape(label)}">{drawn}</svg>'
    )


def two_distributions(
    before: Sequence[float], now: Sequence[float], label: str, width: int = 320, height: int = 90
) -> Markup:
    """Two histograms over the same bins: what was, filled; what is, as a stepped outline."""
    most = max([*before, *now], default=0.0) or 1.0
    step = width / max(1, len(before))

    def y(value: float) -> str:
        return f"{round(height - _PAD - (height - 2 * _PAD) * value / most, 1):g}"

    filled = "".join(
        f'<rect class="bar reference" x="{round(i * step, 1):g}" width="{round(step, 1):g}" y="{y(v)}" '
        f'height="{round(height - float(y(v)), 1):g}"/>'
        for i, v in enumerate(before)
    )
    outline = " ".join(
        f"{round(i * step, 1):g},{y(v)} {round((i + 1) * step, 1):g},{y(v)}" for i, v in enumerate(now)
    )
    return Markup(  # noqa: S704 - numbers, and the label escaped
        f'<svg class="distributions" viewBox="0 0 {width} {height}" preserveAspectRatio="none" role="img" '
        f'aria-label="{escape(label)}">{filled}<polyline class="outline" points="{outline}"/></svg>'
    )


def pair(before: float, now: float, width: int = 100) -> Markup:
    """Two shares, 0 to 1, as bars beside their numbers: what was, filled, over what is, outlined."""

    def wide(share: float) -> str:
        return f"{round(max(0.0, min(1.0, share)) * (width - 2), 1):g}"

    return Markup(  # noqa: S704 - numbers
        f'<svg class="pair" viewBox="0 0 {width} 16" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect class="bar reference" x="0" y="1" width="{wide(before)}" height="6"/>'
        f'<rect class="now" x="0" y="9" width="{wide(now)}" height="6"/></svg>'
    )


def trend(values: Sequence[float], label: str, limit: float | None = None) -> Markup:
    """A small line from its own lowest to its highest, the last point marked, with a limit across it."""
    if not values:
        return Markup('<span class="none">\N{EN DASH}</span>')
    every = [*values, *([] if limit is None else [limit])]
    low, high = min(every), max(every)
    span = (high - low) or abs(high) or 1.0

    def y(value: float) -> float:
        return round(_TALL - 4 - (_TALL - 8) * (value - low) / span, 1)

    step = _WIDE / max(1, len(values) - 1)
    line = " ".join(f"{round(i * step, 1):g},{y(v):g}" for i, v in enumerate(values))
    across = (
        ""
        if limit is None
        else f'<line class="limit" x1="0" x2="{_WIDE}" y1="{y(limit):g}" y2="{y(limit):g}"/>'
    )
    down = round(100 * y(values[-1]) / _TALL, 1)
    return Markup(  # noqa: S704 - numbers, and the label escaped
        f'<svg class="trend" role="img" aria-label="{escape(label)}"><svg viewBox="0 0 {_WIDE} {_TALL}" '
        f'width="100%" height="100%" preserveAspectRatio="none">{across}<polyline class="course measured" '
        f'points="{line}"/></svg><circle class="dot measured" cx="100%" cy="{down:g}%" '
        'r="2.5"/></svg>'
    )


class Curve(NamedTuple):
    """A line of a chart: its name, which of the colours it has, and its points in order of x."""

    name: str
    tone: int
    points: Sequence[tuple[float, float]]


def curves(lines: Sequence[Curve], label: str, width: int = 320, height: int = 120) -> Markup:
    """Lines over one x and one y, from the lowest to the highest of all; each says its name on hover."""
    xs = [x for line in lines for x, _ in line.points] or [0.0]
    ys = [y for line in lines for _, y in line.points] or [0.0]
    left, bottom = min(xs), min(ys)
    wide, high = (max(xs) - left) or 1.0, (max(ys) - bottom) or 1.0

    def place(x: float, y: float) -> str:
        across = _PAD + (width - 2 * _PAD) * (x - left) / wide
        down = height - _PAD - (height - 2 * _PAD) * (y - bottom) / high
        return f"{round(across, 1):g},{round(down, 1):g}"

    drawn = "".join(
        f'<polyline class="curve tone-{line.tone}" points="{" ".join(place(x, y) for x, y in line.points)}">'
        f"<title>{escape(line.name)}</title></polyline>"
        for line in lines
    )
    return Markup(  # noqa: S704 - numbers, and names and the label escaped
        f'<svg class="curves" viewBox="0 0 {width} {height}" preserveAspectRatio="none" role="img" '
        f'aria-label="{escape(label)}">{drawn}</svg>'
    )
