"""Packages of jobs in R and Julia: the project's own, kept by what is in them, and carried to the workers."""

from __future__ import annotations

import functools
import gzip
import json
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from modelyard.records.errors import EnvironmentBuildError, InvalidError
from modelyard.records.jobs import JobState
from modelyard.records.models import Version
from modelyard.workers.libraries import needs_of, read_lock
from modelyard.workers.wire import to_values
from tests.bundles import tar_of
from tests.conftest import find_julia, find_rscript
from tests.contract.julia_worker import JuliaWorker
from tests.contract.r_worker import RWorker
from tests.contract.training_house import MODEL, TrainingHouse, described

pytestmark = pytest.mark.bubblewrap

FLIGHTS = "km,cost\n" + "".join(f"{km},{km * 2}\n" for km in range(1, 11))
DATA = 'data = { flights = "operations/flights" }\ntarget = "cost"'
DESCRIPTION = """\
Package: {name}
Title: For a Test
Version: {version}
Author: The Modelyard developers
Maintainer: The Modelyard developers <modelyard@example.org>
Description: For a test.
License: Apache License (>= 2)
{more}
"""
RATE = """
rate_of <- function(km, cost) structure(list(rate = sum(cost) / sum(km)), class = "yardrate")
predict.yardrate <- function(object, newdata, ...) yardtwice::twice(newdata$km * object$rate) / 2
"""
R_TRAIN = """
library(modelyard)
library(yardrate)
d <- read.csv(file.path(Sys.getenv("YARD_DATA"), "flights.csv"))
cat("with", as.character(packageVersion("yardrate")), "and", as.character(packageVersion("yardtwice")), "\\n")
yard_save(rate_of(d$km, d$cost), example = d["km"])
"""


def r_source(name: str, version: str, code: str, namespace: str, more: str = "") -> bytes:
    """The source of an R package, as CRAN has it."""
    files = {
        "DESCRIPTION": DESCRIPTION.format(name=name, version=version, more=more).strip() + "\n",
        "NAMESPACE": namespace,
        "R/code.R": code,
    }
    return gzip.compress(tar_of({f"{name}/{path}": text.encode() for path, text in files.items()}))


YARDRATE = r_source(
    "yardrate",
    "0.2.0",
    RATE,
    "export(rate_of)\nS3method(predict, yardrate)\nimportFrom(yardtwice, twice)\n",
    "Imports: stats,\n    yardtwice (>= 1.0)",
)
YARDTWICE = r_source("yardtwice", "1.0-1", "twice <- function(x) 2 * x\n", "export(twice)\n")


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[str]:
    """A repository of sources that has let `yardtwice` 1.0-1 go into its archive."""
    place = tmp_path / "mirror/src/contrib/Archive/yardtwice"
    place.mkdir(parents=True)
    (place / "yardtwice_1.0-1.tar.gz").write_bytes(YARDTWICE)

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Quiet, directory=str(tmp_path / "mirror"))
    )
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()
    thread.join()


def lock(**versions: str) -> str:
    packages = {name: {"Package": name, "Version": version} for name, version in versions.items()}
    return json.dumps({"R": {"Version": "4.2.2", "Repositories": []}, "Packages": packages})


def r_project(renv: str, **brought: bytes) -> dict[str, str | bytes]:
    files: dict[str, str | bytes] = {f"packages/{name}.tar.gz": source for name, source in brought.items()}
    text = described(DATA, "r", "Rscript train.R")
    return {"yard.toml": text, "train.R": R_TRAIN, "renv.lock": renv, **files}


def laid_out(house: TrainingHouse, folder: Path) -> tuple[Version, list[tuple[str, ...]]]:
    """The published version's files in a folder, and its inputs as `load` takes them."""
    version = house.registry.version(MODEL, 1)
    folder.mkdir()
    house.registry.lay_out(version, folder)
    return version, [(c.name, c.type.value, "0") for c in version.bundle.signature.inputs]


@pytest.mark.r
def test_an_r_job_has_the_packages_of_its_lock_and_its_workers_have_them_too(
    tmp_path: Path, repository: str
) -> None:
    rscript = find_rscript() or "Rscript"
    house = TrainingHouse(tmp_path, tmp_path / "environments", {"r": rscript}, r_repository=repository)
    house.push("operations/flights", FLIGHTS)
    files = r_project(lock(yardrate="0.2.0", yardtwice="1.0-1"), **{"yardrate_0.2.0": YARDRATE})
    job = house.run(files)
    log = house.jobs.log(job.id).text
    assert job.state is JobState.SUCCEEDED, log + job.words
    assert "with 0.2.0 and 1.0.1" in log
    assert log.count("installs 2 R packages: yardrate, yardtwice") == 1
    version, inputs = laid_out(house, tmp_path / "bundle")
    assert version.bundle.packages["yardrate"] == "0.2.0"
    with RWorker([rscript, "--vanilla"], tmp_path) as worker:
        ready = worker.load(tmp_path / "bundle", inputs, version.bundle.options, version.bundle.entry)
        assert ready.verb == "ready", ready.get("message")
        answer = worker.infer(inputs, {"km": [50.0]}, 1)
    assert to_values(answer.columns[0]) == [100.0]
    again = house.run({**files, "other.txt": "changed"})
    assert again.state is JobState.SUCCEEDED
    assert "installs" not in house.jobs.log(again.id).text, "the library is kept"
    house.database.close()


@pytest.mark.r
def test_an_r_package_that_cannot_be_had_is_named_with_what_to_do(tmp_path: Path) -> None:
    house = TrainingHouse(tmp_path, tmp_path / "environments", {"r": find_rscript() or "Rscript"})
    house.push("operations/flights", FLIGHTS)
    lost = house.run(r_project(lock(yardrate="0.2.0")))
    assert lost.state is JobState.FAILED
    assert "The R package yardrate 0.2.0 of renv.lock is not here." in lost.words
    assert "packages/yardrate_0.2.0.tar.gz" in lost.words
    broken = r_source("yardrate", "0.2.0", "this is no R", "export(x)\n")
    failed = house.run(r_project(lock(yardrate="0.2.0"), **{"yardrate_0.2.0": broken}))
    assert "yardrate 0.2.0 cannot be installed" in failed.words
    assert "ERROR: unable to collate and parse R files" in house.jobs.log(failed.id).text
    spy = 'cat("SAW", file.exists("/etc/passwd"), nchar(Sys.getenv("YARD_CANARY")), "\\n"); stop("enough")'
    hostile = r_source("yardrate", "0.2.0", spy, "export(x)\n")
    spied = house.run(r_project(lock(yardrate="0.2.0"), **{"yardrate_0.2.0": hostile}))
    assert "SAW FALSE 0" in house.jobs.log(spied.id).text, "installing is done within walls"
    assert not list((tmp_path / "environments").glob("r-????????*/"))
    wrong = house.run(r_project("{"))
    assert "renv.lock cannot be read" in wrong.words
    house.database.close()


@pytest.mark.parametrize(
    ("name", "version"),
    [("../x", "1.0"), ("x", "1.0/../.."), ("", "1"), ("x", ""), ("a b", "1"), ("x", "v1")],
)
def test_a_lock_names_packages_and_versions_alone(name: str, version: str) -> None:
    with pytest.raises(InvalidError, match="no package and its version"):
        read_lock(lock(**{name: version}).encode())


def test_a_source_says_what_it_needs(tmp_path: Path) -> None:
    (tmp_path / "yardrate.tar.gz").write_bytes(YARDRATE)
    assert needs_of(tmp_path / "yardrate.tar.gz", "yardrate") == ["stats", "yardtwice"]
    (tmp_path / "none.tar.gz").write_bytes(b"nothing")
    for file, name in (("yardrate.tar.gz", "other"), ("none.tar.gz", "none"), ("lost.tar.gz", "lost")):
        with pytest.raises(EnvironmentBuildError, match="no source of the R package"):
            needs_of(tmp_path / file, name)


JULIA_MODEL = """
using YardRates
struct Line
    slope::Float64
end
predict(model::Line, columns) = YardRates.twice.(model.slope .* columns.km) ./ 2
"""
JULIA_TRAIN = """
using Modelyard
include("model.jl")
save(Line(2.0); example = (km = [100.0, 200.0],), source = "model.jl")
"""
UUID = "6f9e2a54-0c0f-4b6b-9d0a-5a3d5b0c7e11"
ABOUT = f'name = "YardRates"\nuuid = "{UUID}"\nversion = "0.3.0"\n'


@pytest.mark.julia
def test_a_julia_job_has_the_packages_of_its_project_and_its_workers_have_them_too(tmp_path: Path) -> None:
    julia = find_julia() or "julia"
    house = TrainingHouse(tmp_path, tmp_path / "environments", {"julia": julia})
    files: dict[str, str | bytes] = {
        "yard.toml": described("", "julia", "julia train.jl"),
        "train.jl": JULIA_TRAIN,
        "model.jl": JULIA_MODEL,
        "Project.toml": f'[deps]\nYardRates = "{UUID}"\n',
        "Manifest.toml": f'[[YardRates]]\npath = "packages/YardRates"\nuuid = "{UUID}"\nversion = "0.3.0"\n',
        "packages/YardRates/Project.toml": ABOUT,
        "packages/YardRates/src/YardRates.jl": "module YardRates\ntwice(x) = 2x\nend\n",
    }
    job = house.run(files)
    assert job.state is JobState.SUCCEEDED, house.jobs.log(job.id).text + job.words
    version, inputs = laid_out(house, tmp_path / "bundle")
    assert version.bundle.packages == {"YardRates": "0.3.0"}
    with JuliaWorker([julia, "--startup-file=no"], tmp_path) as worker:
        ready = worker.client.load(tmp_path / "bundle", inputs, version.bundle.options)
        assert ready.verb == "ready", ready.get("message")
        answer = worker.client.infer(inputs, {"km": [50.0]})
    assert to_values(answer.columns[0]) == [100.0]
    lost = house.run({**files, "Project.toml": f'[deps]\nNowhere = "{UUID[:-1]}2"\n'})
    assert "The Julia packages Nowhere of Project.toml are not here" in lost.words
    house.database.close()
