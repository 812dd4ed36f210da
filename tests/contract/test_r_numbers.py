"""R models as data: a portable form is built of their numbers and proved equal, or R stays and says why."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.contract.portable_house import House
from tests.contract.r_worker import ROOT

pytestmark = pytest.mark.r

PORTABLE = [
    "lm", "lm-formula", "lm-levels", "lm-crossed", "lm-outputs", "lm-rank", "lm-contrasts", "glm-binomial",
    "glm-probit", "glm-cloglog", "glm-poisson", "glm-gamma", "rpart", "rpart-classes", "rpart-stops",
    "ranger", "ranger-classes", "ranger-chances", "randomForest", "randomForest-classes", "glmnet",
    "glmnet-binomial", "glmnet-classes",
]  # fmt: skip
NATIVE = {
    "ranger-text": "it numbers the texts of s anew with each question; make it a factor",
    "lm-splines": "the formula calls splines::ns(x, ",
    "function": "it is a function, which only R can run",
}


@pytest.fixture(scope="session")
def bundles(rscript: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the bundle of one fitted model of each kind."""
    folder = tmp_path_factory.mktemp("r-bundles")
    command = [*rscript, str(ROOT / "tests/contract/r_portable.R"), str(folder), str(ROOT / "sdk/r/R")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in folder.iterdir()} == {*PORTABLE, *NATIVE}
    return folder


@pytest.mark.parametrize("name", PORTABLE)
def test_a_model_is_built_of_its_numbers_and_proved_equal(
    bundles: Path, name: str, make: Callable[..., House]
) -> None:
    version = make().decide_bundle(bundles / name)
    assert version.form == "portable", version.form_reason
    asked = re.search(r"equal to the native form on ([\d,]+) rows", version.form_reason)
    assert asked
    assert int(asked[1].replace(",", "")) > 1_000


@pytest.mark.parametrize("name", NATIVE)
def test_what_cannot_be_expressed_stays_with_r(bundles: Path, name: str, make: Callable[..., House]) -> None:
    version = make().decide_bundle(bundles / name)
    assert version.form == "native"
    assert NATIVE[name] in version.form_reason
