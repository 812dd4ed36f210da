"""Measure the figures: `python -m bench.run [--only NAME …] [--rounds N] [--seconds S] [--write]`."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

from bench.figures import (
    deaths,
    fast,
    features,
    files,
    loop,
    many,
    overload,
    pages,
    peers,
    publish,
    refits,
    rows,
    sandbox,
    start,
    tables,
    tokens,
    watch,
)
from bench.figures.common import Run
from bench.figures.deaths import julia_program
from bench.machine import ROOT, this_machine
from bench.report import Figure, as_page, as_text, peers_section, section_of, with_peers

FIGURES = {
    ("up", "memory"): start.measure,
    ("publish",): publish.measure,
    ("peers",): peers.measure,
    ("features",): features.measure,
    ("python-rows",): rows.measure_python,
    ("r-rows",): rows.measure_r,
    ("r-portable-lm", "r-portable-ranger"): rows.measure_r_portable,
    ("tables",): tables.measure,
    ("deaths",): deaths.measure,
    ("sandbox",): sandbox.measure,
    ("portable",): fast.measure_echo,
    ("portable-peers",): fast.measure_peers,
    ("fronts",): fast.measure_fronts,
    ("overload",): overload.measure,
    ("token",): tokens.measure,
    ("planted", "needless"): refits.measure,
    ("policies", "rollouts"): loop.measure,
    ("pages", "open-pages"): pages.measure,
    ("million", "ten-million"): files.measure,
    ("many",): many.measure,
    ("shipping", "watching"): watch.measure,
}
_ON_REQUEST = {"peers", "features"}  # `make bench-peers`: it installs 2 GB
_PAGE = ROOT / "docs" / "benchmarks.md"


def main(words: list[str]) -> int:
    """Measure, tell, and write the page if asked to; 1 if something failed to be measured at all."""
    names = [name for group in FIGURES for name in group]
    usual = [name for name in names if name not in _ON_REQUEST]
    parser = argparse.ArgumentParser(prog="python -m bench.run", description="The figures of Modelyard.")
    parser.add_argument(
        "--only", nargs="+", choices=names, default=usual, metavar="NAME", help=", ".join(names)
    )
    parser.add_argument("--rounds", type=int, default=7, help="rounds a side (default %(default)s)")
    parser.add_argument("--seconds", type=float, default=2, help="of load a round (default %(default)s)")
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks.md")
    chosen = parser.parse_args(words)
    of_peers = set(chosen.only) == _ON_REQUEST
    if chosen.write and not (of_peers or set(chosen.only) >= set(usual)):
        parser.error(
            f"the page has all figures: --write goes without --only, or with {' '.join(_ON_REQUEST)}"
        )
    _keep_bytecode(words)
    machine = this_machine()
    print(machine.words(), flush=True)
    os.environ.setdefault("YARD_PROGRAM_JULIA", julia_program())
    with tempfile.TemporaryDirectory(prefix="yard-bench-") as folder:
        run = Run(chosen.rounds, chosen.seconds, Path(folder), lambda text: print(f"… {text}", flush=True))
        figures = _measure(run, set(chosen.only))
    if chosen.write:
        before = _PAGE.read_text() if _PAGE.exists() else ""
        if of_peers:
            page = with_peers(before, peers_section(figures, machine, run.rounds))
        else:
            known = section_of(before)
            page = as_page(figures, machine, run.rounds)
            page = with_peers(page, known) if known else page
        _PAGE.write_text(page)
        print(f"written: {_PAGE.relative_to(ROOT)}")
    return 0


def _keep_bytecode(words: list[str]) -> None:
    """Start again where Python was told to keep no compiled files: an installed yard has them."""
    if sys.dont_write_bytecode:
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        sys.stdout.flush()
        os.execv(sys.executable, [sys.executable, "-m", "bench.run", *words])  # noqa: S606  # no shell is wanted


def _measure(run: Run, wanted: set[str]) -> list[Figure]:
    figures = []
    for names, measure in FIGURES.items():
        if wanted.isdisjoint(names):
            continue
        run.say(f"measuring {' and '.join(names)}")
        for figure in measure(run):
            if figure.name in wanted:
                figures.append(figure)
                print(as_text(figure), flush=True)
    return figures


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
