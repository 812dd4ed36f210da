"""The page of benchmarks: its part about other servers is written by another run, and stays."""

from __future__ import annotations

from bench.machine import Machine
from bench.report import Figure, as_page, peers_section, section_of, with_peers

MACHINE = Machine("EPYC", 2, 24.0, "6.18", "Debian", "3.11", 0.5, "abc1234")
CELLS = ("forest", "MLServer", "540", "55.31 ms", "158.77 ms", "178 MB", "2.5 s", "44.9 ×")  # noqa: RUF001  # the sign


def figure(name: str, *cells: str) -> Figure:
    return Figure(name=name, what="what", measured="1 ×", reach="> 1 ×", reached=True, cells=cells)  # noqa: RUF001


def test_other_servers_have_a_part_of_the_page_that_either_run_keeps() -> None:
    page = as_page([figure("up")], MACHINE, 7)
    assert section_of(page) == ""
    part = peers_section([figure("peers", *CELLS), figure("features")], MACHINE, 7)
    whole = with_peers(page, part)
    assert f"| {' | '.join(CELLS)} |\n" in whole
    assert "| `features` | what |" in whole
    assert whole.replace(part, "") == page
    assert with_peers(whole, part) == whole, "in its own place"
    assert with_peers(as_page([figure("up")], MACHINE, 7), section_of(whole)) == whole
