"""HARDENING, model files: what hides in a bundle runs at its model's own time only, and then within walls.

The server keeps bytes: a canary outside would show anything that ran at upload, list or inspect. The worker
runs the model; the same canary shows that it could not reach out.
"""

from __future__ import annotations

import json
import os
import pickle
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.bundles import tar_of
from tests.conftest import find_julia, find_rscript
from tests.contract.test_portable_runtime import HOSTILE, TOLD
from tests.journeys.models import code_bundle
from tests.journeys.running import PATIENCE, RunningYard, publish

CALM = "nobody was here"


@pytest.fixture(scope="module")
def canary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that everybody on the machine could write to."""
    path = tmp_path_factory.mktemp("outside") / "canary"
    path.write_text(CALM)
    path.chmod(0o666)
    path.parent.chmod(0o777)
    return path


@pytest.fixture(autouse=True)
def undisturbed(canary: Path, yard: RunningYard) -> Iterator[None]:
    yield
    assert canary.read_text() == CALM
    assert [path.name for path in canary.parent.iterdir()] == [canary.name]
    assert yard.process is not None
    assert yard.process.poll() is None


class Command:
    """Pickled, it is a call of a shell."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (self.command,)


def described(language: str, version: str, entry: str, files: dict[str, bytes], extra: str = "") -> bytes:
    text = f'format = 1\nlanguage = "{language}"\nlanguage_version = "{version}"\nentry = "{entry}"\n{extra}'
    text += '[[signature.inputs]]\nname = "x"\ntype = "float64"\n'
    return tar_of({"yardbundle.toml": text.encode(), "example.csv": b"x\n1.0\n", **files})


PYTHON = ".".join(map(str, sys.version_info[:3]))


def inspected(client: httpx.Client, model: str) -> None:
    """Whatever shows a version to people."""
    for address in (f"/api/v1/models/{model}", f"/api/v1/models/{model}/versions/1", "/api/v1/models"):
        assert client.get(address).status_code == 200
    assert client.get(f"/api/v1/models/{model}/versions/1/bundle").status_code == 200


def test_18_a_pickle_that_runs_a_command(client: httpx.Client, canary: Path) -> None:
    data = pickle.dumps(Command(f"echo was here > {canary}; echo the pickle ran"))
    version = publish(client, "ops/pickled", described("python", PYTHON, "model.pkl", {"model.pkl": data}))
    assert version["state"] == "failed"  # a number is no model
    assert "the pickle ran" in version["log"]  # at load, in the worker, where it reached nothing
    inspected(client, "ops/pickled")


@pytest.mark.parametrize("name", ["model.onnx", "model.json"])
def test_19_a_pickle_under_another_name(client: httpx.Client, canary: Path, name: str) -> None:
    data = pickle.dumps(Command(f"echo was here > {canary}; echo the pickle ran"))
    model = f"ops/renamed-{name[6:]}"
    version = publish(client, model, described("python", PYTHON, name, {name: data}))
    assert version["state"] == "failed"
    inspected(client, model)


def test_19_a_pickle_as_rds(client: httpx.Client, canary: Path) -> None:
    if not find_rscript():
        pytest.skip("R is not installed")
    data = pickle.dumps(Command(f"echo was here > {canary}; echo the pickle ran"))
    version = publish(client, "ops/renamed-r", described("r", "4.2.2", "model.rds", {"model.rds": data}))
    assert version["state"] == "failed"
    assert "the pickle ran" not in version["log"]


def test_20_an_rds_whose_promise_runs_code(client: httpx.Client, canary: Path, tmp_path: Path) -> None:
    rscript = find_rscript()
    if not rscript:
        pytest.skip("R is not installed")
    code = (
        f"hide <- function(coefficients) environment(); "
        f"promise <- hide({{ cat('the promise ran\\n'); writeLines('was here', '{canary}') }}); "
        f"saveRDS(structure(list(), class = 'lm', held = promise), '{tmp_path / 'model.rds'}')"
    )
    subprocess.run([rscript, "--vanilla", "-e", code], check=True, capture_output=True, timeout=PATIENCE)
    files = {"model.rds": (tmp_path / "model.rds").read_bytes()}
    version = publish(client, "ops/promised", described("r", "4.2.2", "model.rds", files))
    assert version["state"] == "failed"
    inspected(client, "ops/promised")


def test_21_julia_serialization_with_a_source_that_writes(
    client: httpx.Client, canary: Path, yard: RunningYard, tmp_path: Path
) -> None:
    julia = find_julia()
    if not julia:
        pytest.skip("Julia is not installed")
    source = (
        f'struct Held; x::Float64; end\nprintln("the source ran")\n'
        f'try; write({str(canary)!r}, "was here"); catch error; println(typeof(error)); end\n'
        "predict(m::Held, rows) = rows.x\n"
    ).replace("'", '"')
    (tmp_path / "model.jl").write_text(source.replace(str(canary), str(tmp_path / "own")))
    code = (
        f'using Serialization; include("{tmp_path}/model.jl"); serialize("{tmp_path}/model.jls", Held(1.0))'
    )
    subprocess.run(
        [julia, "--startup-file=no", "-e", code], check=True, capture_output=True, timeout=PATIENCE
    )
    files = {"model.jls": (tmp_path / "model.jls").read_bytes(), "model.jl": source.encode()}
    version = publish(
        client,
        "ops/serialized",
        described("julia", "1.5.3", "model.jls", files, extra='[options]\nsource = "model.jl"\n'),
    )
    assert version["state"] in ("checked", "failed")
    assert "the source ran" in said_by(yard, "ops.serialized")
    inspected(client, "ops/serialized")


def test_16_files_that_an_interpreter_would_run_by_itself(
    client: httpx.Client, canary: Path, yard: RunningYard
) -> None:
    trap = f"print('the trap ran')\ntry:\n    open({str(canary)!r}, 'w').write('was here')\n"
    trap += "except OSError:\n    pass\n"
    names = "sitecustomize", "usercustomize", "encodings/__init__", "socket", "frames", "models"
    files = {f"{name}.py": trap.encode() for name in names}
    files["trap.pth"] = f"import os; os.system('echo was here > {canary}')\n".encode()
    files["environment/preload.so"] = b"\x7fELF"
    files[".env"] = b"LD_PRELOAD=environment/preload.so\nPYTHONSTARTUP=sitecustomize.py\n"
    bundle = code_bundle("def predict(columns):\n    return columns['x'] * 2\n", files=files)
    version = publish(client, "ops/trapped", bundle)
    assert version["state"] == "checked"
    assert client.post("/models/ops/trapped/predict", json=[{"x": 2}]).json()["predictions"] == [4.0]
    assert "the trap ran" not in said_by(yard, "ops.trapped")


def test_16_an_rprofile_in_the_bundle(
    client: httpx.Client, canary: Path, yard: RunningYard, tmp_path: Path
) -> None:
    rscript = find_rscript()
    if not rscript:
        pytest.skip("R is not installed")
    code = f"saveRDS(lm(y ~ x, data.frame(x = 1:9, y = 2 * (1:9))), '{tmp_path / 'model.rds'}')"
    subprocess.run([rscript, "--vanilla", "-e", code], check=True, capture_output=True, timeout=PATIENCE)
    trap = f"cat('the trap ran\\n'); writeLines('was here', '{canary}')\n".encode()
    files = dict.fromkeys((".Rprofile", "Rprofile.site", ".Renviron"), trap)
    files["model.rds"] = (tmp_path / "model.rds").read_bytes()
    version = publish(client, "ops/profiled", described("r", "4.2.2", "model.rds", files))
    assert version["state"] == "checked"
    assert "the trap ran" not in said_by(yard, "ops.profiled")


def said_by(yard: RunningYard, model: str) -> str:
    """All that the workers of a model have printed."""
    found = list((yard.data / "logs/workers").glob(f"{model}*"))
    assert found
    return "".join(path.read_text(errors="replace") for path in found)


def test_24_templates_and_scripts_in_what_is_said_about_a_model(client: httpx.Client) -> None:
    hostile = "{{ 7 * 191 }} ${7*191} <script>alert(1)</script> <%= 7 * 191 %> #{7*191}"
    text = f"description = '{hostile}'\n"
    source = {"mine.py": b"def predict(columns):\n    return columns['x']\n"}
    tar = described("python", PYTHON, "mine:predict", source, extra=text + '[options]\ninput = "columns"\n')
    assert publish(client, "ops/templated", tar)["state"] == "checked"
    shown = client.get("/api/v1/models/ops/templated/versions/1")
    assert shown.headers["content-type"].startswith("application/json")
    assert (
        hostile in shown.json()["bundle"]["description"]
        if "bundle" in shown.json()
        else hostile in shown.text
    )
    assert "1337" not in shown.text


@pytest.mark.parametrize("case", ["external data", "a promise", "a huge rank", "a bomb"])
def test_22_23_an_onnx_file_brought_by_a_user_is_not_opened_unchecked(
    client: httpx.Client, case: str
) -> None:
    make, words = HOSTILE[case]
    files = {"model.onnx": make(), "portable.json": json.dumps(TOLD).encode()}
    name = "ops/" + case.replace(" ", "-")
    version = publish(client, name, described("portable", "1", "model.onnx", files))
    assert version["state"] == "failed"
    assert re.search(words, version["reason"] + version["log"])
    inspected(client, name)
