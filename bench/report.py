"""What was measured, as a person reads it: on the terminal and in docs/benchmarks.md."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence

from msgspec import Struct

from bench.machine import Machine

TIMES = "×"  # noqa: RUF001  # the sign itself


class Figure(Struct, frozen=True, kw_only=True):
    """One figure.

    Attributes:
        name: as `--only` takes it.
        what: is measured.
        measured: the result, with its unit.
        reach: what it should be.
        reached: whether it is; None where it could not be measured.
        details: lines for who wants to know more.
        cells: its row in the table of servers, where it has one.
    """

    name: str
    what: str
    measured: str
    reach: str
    reached: bool | None
    details: tuple[str, ...] = ()
    cells: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        """`reached`, `not reached` or `not measured`."""
        return {True: "reached", False: "not reached", None: "not measured"}[self.reached]


def spread(values: Sequence[float], digits: int = 2) -> str:
    """The median, and the smallest and largest in brackets.

    >>> spread([3.0, 1.0, 2.0])
    '2.00 (1.00 to 3.00)'
    """
    middle = statistics.median(values)
    return f"{middle:.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def as_text(figure: Figure) -> str:
    """A figure on the terminal."""
    lines = [
        f"{figure.name}: {figure.what}",
        f"  measured {figure.measured}",
        f"  reach    {figure.reach}",
        f"  {figure.verdict.upper()}",
    ]
    return "\n".join([*lines, *(f"    {line}" for line in figure.details)])


_HEAD = """\
# Benchmarks

What Modelyard reaches, measured on {date} at commit {commit} with `make bench`. A figure that compares two
sides is a ratio: both ran in the same run on the same machine, in {rounds} short rounds that alternate
(A B A B …). What stands here is the median of the rounds, with the lowest and the highest in brackets. On
another machine the ratios should hold; seconds and requests a second will differ.

**Machine:** {machine}

| figure | what | measured | reach | |
|---|---|---|---|---|
"""

_TAIL = """\
## Measuring it yourself
```sh
make bench                                             # all figures; installs what it needs first
.venv/bin/python -m bench.run --only python-rows       # one figure, or several
.venv/bin/python -m bench.run --rounds 3 --seconds 1   # quicker and rougher
.venv/bin/python -m bench.run --write                  # writes this page
make bench-peers                                       # against other servers; writes that part of this page
```
MLServer is put into an environment of its own by uv, plumber is unpacked from Debian's packages; both lie
in `.tools/peers`. So do FastAPI, LitServe, BentoML, Ray Serve, MLflow and vetiver for
`make bench-peers` (2 GB), each set up as its own guide shows it, batching where it has that, with one
process for the model (`bench/peers/servers.py`).
Load comes from `wrk` where it is installed, else from a generator of our own
(`bench/load.py`), and from the same one for both sides of a ratio; the exception is plumber on a Unix
socket, which `wrk` cannot reach. Each peer is tried in several settings first, and its best is what counts.
Python keeps its compiled files, as after `pip install`: without them every import costs two to three times
as much. A machine that others use at the same time gives noisy figures.
"""


_PEERS = "## Against other servers\n"
_PEERS_HEAD = """\
Measured on {date} at commit {commit} with `make bench-peers`: one row a request, 32 connections, one process
for the model on either side, in {rounds} rounds that alternate. Each server is set up as its own guide shows
it, with batching where it has that; of MLServer and plumber the best of several settings counts. The yard
checks a token and every value, runs the model within walls and has each prediction on disk before it answers;
none of the others does any of that here. Memory is PSS of all processes; start is from the command until the
first answer. *Yard / other* is the median of the rounds, with the lowest and the highest.

**Machine:** {machine}

| model | server | requests/s | p50 | p99 | memory | start | yard / other |
|---|---|---|---|---|---|---|---|
"""


def peers_section(figures: Sequence[Figure], machine: Machine, rounds: int) -> str:
    """The part of docs/benchmarks.md about other servers."""
    date = time.strftime("%-d %B %Y", time.gmtime())
    text = _PEERS + _PEERS_HEAD.format(
        date=date, commit=machine.commit, rounds=rounds, machine=machine.words()
    )
    text += "".join(f"| {' | '.join(f.cells)} |\n" for f in figures if f.cells)
    left = [f for f in figures if not f.cells]
    if left:
        text += "\n| figure | what | measured |\n|---|---|---|\n"
        text += "".join(f"| `{f.name}` | {f.what} | {f.measured} |\n" for f in left)
    return text + "\n"


def with_peers(page: str, section: str) -> str:
    """A page with this section in the place of the one it has, or before its end."""
    before, found, behind = page.partition(_PEERS)
    if found:
        _, _, rest = behind.partition("\n## ")
        return f"{before}{section}## {rest}"
    before, found, behind = page.partition(_TAIL[: _TAIL.index("\n") + 1])
    return before + section + found + behind


def section_of(page: str) -> str:
    """The section about other servers that a page has; an empty one where it has none."""
    _, found, behind = page.partition(_PEERS)
    return found + behind.partition("\n## ")[0] + "\n" if found else ""


def as_page(figures: Sequence[Figure], machine: Machine, rounds: int) -> str:
    """docs/benchmarks.md, without what is known of other servers."""
    date = time.strftime("%-d %B %Y", time.gmtime())
    text = _HEAD.format(date=date, commit=machine.commit, rounds=rounds, machine=machine.words())
    for f in figures:
        text += f"| `{f.name}` | {f.what} | {f.measured} | {f.reach} | {f.verdict} |\n"
    text += "\n## Details\n"
    for name in dict.fromkeys(f.name for f in figures if f.details):
        lines = dict.fromkeys(line for f in figures if f.name == name for line in f.details)
        text += f"### {name}\n" + "".join(f"- {line}\n" for line in lines) + "\n"
    return text + _TAIL
