"""Measure what fails while parts of a yard do: `python -m bench.always NAME [options]`.

They take minutes to an hour, and nobody's time but the machine's: none of them is in the test suite.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from bench.always import cluster, outages, records


def main(words: list[str]) -> int:
    """Measure one, and tell."""
    parser = argparse.ArgumentParser(prog="python -m bench.always", description=__doc__)
    names = parser.add_subparsers(dest="name", required=True)
    one = names.add_parser("outages", help="PostgreSQL killed, stalled and cut off in turns, under load")
    one.add_argument("--minutes", type=float, default=10.0, help="without it in all (default %(default)s)")
    one.add_argument("--spell", type=float, default=20.0, help="seconds of each (default %(default)s)")
    one = names.add_parser("killed", help="a node of two behind haproxy is killed, under load")
    one.add_argument("--times", type=int, default=10, help="(default %(default)s)")
    one = names.add_parser("restarts", help="rolling restarts of two nodes behind haproxy, under load")
    one.add_argument("--times", type=int, default=50, help="(default %(default)s)")
    one = names.add_parser("soak", help="an hour with a kill every minute, of anything, under load")
    one.add_argument("--minutes", type=float, default=60.0, help="(default %(default)s)")
    one.add_argument("--every", type=float, default=60.0, help="seconds between kills (default %(default)s)")
    for each in names.choices.values():
        each.add_argument("--rate", type=float, default=200.0, help="requests a second (default %(default)s)")
    one = names.add_parser("champions", help="operations with faults; is there always one champion?")
    one.add_argument("--operations", type=int, default=100_000, help="(default %(default)s)")
    one = names.add_parser("crashes", help="kills of a process that records and ships; is all there?")
    one.add_argument("--points", type=int, default=1_000, help="(default %(default)s)")
    for name in ("soak", "crashes"):
        names.choices[name].add_argument("--seed", type=int, default=1, help="(default %(default)s)")
    one = names.add_parser("restore", help="a backup of many models, restored on an empty place")
    one.add_argument("--models", type=int, default=1_000, help="(default %(default)s)")
    one.add_argument("--megabytes", type=int, default=10_000, help="in all (default %(default)s)")
    given = vars(parser.parse_args(words))
    print(_FIGURES[given.pop("name")](**given), flush=True)
    return 0


_FIGURES: dict[str, Callable[..., str]] = {
    "outages": outages.measure,
    "killed": cluster.killed,
    "restarts": cluster.restarts,
    "soak": cluster.soak,
    "champions": records.violations,
    "crashes": records.crashes,
    "restore": records.restored,
}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
