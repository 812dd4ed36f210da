"""PostgreSQL killed, stalled and cut off in turns, under load: no prediction fails, and none is lost."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable

from bench.always.rate import Rate
from bench.always.yards import Base, base, closing, prepare

_BETWEEN = 10.0  # seconds with everything there


def measure(minutes: float, rate: float, spell: float) -> str:
    """What failed, in words.

    Args:
        minutes: without PostgreSQL, in all.
        rate: requests a second.
        spell: seconds that each outage lasts.
    """
    with base() as here, here.node("one") as node:
        headers = prepare(node)
        away = 0.0
        spells: dict[str, int] = {}
        with Rate(node.url, headers, "bench/steady", rate) as load:
            for name, outage in itertools.cycle(_OUTAGES.items()):
                if away >= minutes * 60:
                    break
                time.sleep(_BETWEEN)
                outage(here, spell)
                away += spell
                spells[name] = spells.get(name, 0) + 1
            time.sleep(_BETWEEN)
        times = ", ".join(f"{count} times {name}" for name, count in spells.items())
        what = f"{minutes:g} min without PostgreSQL ({times}, {spell:g} s each) at {rate:g} req/s"
        return closing(what, load, node)


def _killed(here: Base, spell: float) -> None:
    here.server.kill()
    time.sleep(spell)
    here.server.start()


def _stalled(here: Base, spell: float) -> None:
    here.server.stall()
    time.sleep(spell)
    here.server.go_on()


def _cut(here: Base, spell: float) -> None:
    here.cable.cut()
    time.sleep(spell)
    here.cable.mend()


_OUTAGES: dict[str, Callable[[Base, float], None]] = {"killed": _killed, "stalled": _stalled, "cut off": _cut}
