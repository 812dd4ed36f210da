"""Julia models that say their numbers: the portable form is built of these, and proved equal or not used."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.contract.portable_house import House
from tests.contract.r_worker import ROOT

pytestmark = pytest.mark.julia

NIGHT = 'Night({base}, Dict("day" => 2.0, "night" => 3.5), 1.0)'
DESCRIPTION = """\
format = 1
language = "julia"
entry = "model.jls"

[options]
source = "model.jl"

[[signature.inputs]]
name = "x"
type = "float64"
low = -5.0
high = 5.0

[[signature.inputs]]
name = "time"
type = "string"
categories = ["day", "night"]
"""


@pytest.fixture
def bundle(julia: list[str], tmp_path: Path) -> Callable[[str], Path]:
    """A function that writes the bundle of the model a Julia expression makes."""

    def write(expression: str) -> Path:
        (tmp_path / "model.jl").write_text((ROOT / "tests/contract/julia_numbers.jl").read_text())
        (tmp_path / "yardbundle.toml").write_text(DESCRIPTION)
        (tmp_path / "example.csv").write_text('x,time\n1.5,"day"\n-2,"night"\n')
        code = (
            f'cd("{tmp_path}"); using Serialization; include("{tmp_path}/model.jl"); '
            f'serialize("model.jls", {expression})'
        )
        subprocess.run([*julia, "-e", code], check=True)
        return tmp_path

    return write


def test_a_model_that_says_its_numbers_is_proved_equal(
    bundle: Callable[[str], Path], make: Callable[..., House]
) -> None:
    version = make().decide_bundle(bundle(NIGHT.format(base=1.0)))
    assert version.form == "portable", version.form_reason
    assert "of which both refuse" in version.form_reason, "an unseen time is refused by both"


def test_numbers_that_are_not_the_models_are_found_out(
    bundle: Callable[[str], Path], make: Callable[..., House]
) -> None:
    version = make().decide_bundle(bundle(NIGHT.format(base=1.001)))
    assert version.form == "native"
    assert "differs by 0.001 on row" in version.form_reason


def test_a_model_without_numbers_stays_with_julia(
    bundle: Callable[[str], Path], make: Callable[..., House]
) -> None:
    version = make().decide_bundle(bundle("Silent()"))
    assert version.form == "native"
    assert "there is no numbers(model::Silent) beside predict" in version.form_reason
