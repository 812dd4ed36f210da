"""docs/scale.md shows what `bench/growth.py` calculates, and the calculation bends the way it says."""

from __future__ import annotations

from bench.growth import STEPS, lines, needs
from msgspec.structs import replace
from tests.conftest import ROOT


def test_the_page_has_the_table() -> None:
    assert "\n".join(lines()) in (ROOT / "docs" / "scale.md").read_text()


def test_more_rows_take_cores_and_more_models_take_memory_and_time() -> None:
    here = STEPS[2]
    busier, wider = needs(replace(here, rows=10 * here.rows)), needs(replace(here, models=10 * here.models))
    assert busier.cores > 5 * needs(here).cores
    assert busier.worker_bytes == needs(here).worker_bytes
    assert wider.route_seconds > 9 * needs(here).route_seconds
    assert wider.most[0] == "memory of workers"
