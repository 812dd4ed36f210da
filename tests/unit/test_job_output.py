"""What a script leaves in its output folder, whatever it is; and what the end of a command means."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.loop.follow import Stop
from modelyard.loop.output import METRICS_FILE, MetricsReader, find_bundle, pack
from modelyard.loop.train import outcome
from modelyard.records.errors import InvalidError
from modelyard.records.jobs import JobState


def test_metrics_are_read_as_they_come_in_whole_lines(tmp_path: Path) -> None:
    reader = MetricsReader(tmp_path)
    assert reader.new() == []
    with (tmp_path / METRICS_FILE).open("a") as file:
        file.write('{"time": 1.5, "mae": 3, "note": null}\n{"mae": 2')
        file.flush()
        (point,) = reader.new()
        assert (point.line, point.name, point.value, point.at.timestamp()) == (1, "mae", 3.0, 1.5)
        file.write("}\nno json\n[1]\n\n" + '{"mae": 1}\n')
        file.flush()
        assert [(p.line, p.value) for p in reader.new()] == [(2, 2.0), (6, 1.0)]
    assert reader.new() == []


def test_metrics_have_limits(tmp_path: Path) -> None:
    names = ",".join(f'"m{n}": 1' for n in range(300))
    lines = ["{" + names + "}", '{"' + "x" * 101 + '": 1}', '{"a\\u0007b": 1}', '{"time": 1e300, "m1": 2}']
    (tmp_path / METRICS_FILE).write_text("\n".join(lines) + "\n" + "y" * 1_000_001)
    reader = MetricsReader(tmp_path)
    found = reader.new()
    assert len({p.name for p in found}) == 200
    assert max(map(len, (p.name for p in found))) < 5
    (tmp_path / METRICS_FILE).write_text('{"m1": 1}\n' * 30_000)
    assert len(MetricsReader(tmp_path).new()) == 20_000


@pytest.mark.parametrize("kind", ["link", "fifo", "folder"])
def test_metrics_that_are_no_plain_file_are_none(tmp_path: Path, kind: str) -> None:
    (tmp_path / "secret").write_text('{"mae": 1}\n')
    place = tmp_path / "out" / METRICS_FILE
    place.parent.mkdir()
    make = {"link": lambda: place.symlink_to(tmp_path / "secret"), "fifo": lambda: os.mkfifo(place)}
    make.get(kind, place.mkdir)()
    assert MetricsReader(place.parent).new() == []


@given(st.binary(max_size=300))
def test_any_bytes_are_metrics_or_nothing(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    folder = tmp_path_factory.mktemp("metrics")
    (folder / METRICS_FILE).write_bytes(data + b"\n")
    for point in MetricsReader(folder).new():
        assert point.name.isprintable()


def test_the_one_bundle_is_found_and_packed_without_the_metrics(tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "environment").mkdir(parents=True)
    for name in ("yardbundle.toml", "model.pkl", "environment/requirements.txt", METRICS_FILE):
        (out / name).write_text(name)
    assert find_bundle(out, "python") == out
    tar = tmp_path / "bundle.tar"
    assert b"".join(pack(out, tar)) == tar.read_bytes()
    with tarfile.open(tar) as packed:
        assert packed.getnames() == ["environment/requirements.txt", "model.pkl", "yardbundle.toml"]


def test_none_or_two_bundles_are_refused_in_the_words_of_the_language(tmp_path: Path) -> None:
    for language, words in (("python", r"yard\.save"), ("r", "yard_save"), ("julia", "save")):
        with pytest.raises(InvalidError, match=words):
            find_bundle(tmp_path, language)
    for name in ("", "best"):
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name / "yardbundle.toml").write_text("x")
    with pytest.raises(InvalidError, match=r"2 models \('\.', 'best'\)"):
        find_bundle(tmp_path, "r")


@pytest.mark.parametrize(
    ("code", "stop", "ran_out", "tail", "state", "words"),
    [
        (0, None, False, "", JobState.SUCCEEDED, ""),
        (-15, Stop("cancel", "Cancelled by bo."), False, "", JobState.CANCELLED, "Cancelled by bo."),
        (0, Stop("limit", "it ran for over 2 s (train.time)"), False, "", JobState.FAILED, "train.time"),
        (-9, None, False, "", None, "SIGKILL"),
        (-9, None, True, "", JobState.FAILED, "train.memory"),
        (1, None, False, "a\n\nError: object 'x' not found\n", JobState.FAILED, "object 'x' not found"),
        (1, None, False, "Could not resolve host: cran.r-project.org", JobState.FAILED, "no network"),
        (1, None, False, "Error: cannot allocate vector of size 9 Gb", JobState.FAILED, "memory in [train]"),
        (-25, None, False, "", JobState.FAILED, "disk in [train]"),
    ],
)
def test_what_an_end_means(
    code: int, stop: Stop | None, ran_out: bool, tail: str, state: JobState | None, words: str
) -> None:
    found = outcome(code, stop, ran_out=ran_out, tail=tail)
    assert found.state is state
    assert words in found.words
