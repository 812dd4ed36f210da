"""R reads every golden frame and writes it again byte for byte, and refuses every bad one."""

from __future__ import annotations

import subprocess
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given, settings

from modelyard.records.signatures import ColumnType
from modelyard.workers.wire import Frame, encode, from_values
from tests.contract.frames_cases import frames

pytestmark = pytest.mark.r

ROOT = Path(__file__).parents[2]
FRAMES = ROOT / "contract/frames"


def rewrite(rscript: list[str], folder: Path, into: Path) -> dict[str, str]:
    """R reads each frame of `folder` and writes it into `into`; what it refused, name to reason."""
    script = [str(ROOT / "tests/contract/r_frames.R"), str(ROOT / "runtimes/r"), str(folder), str(into)]
    done = subprocess.run([*rscript, *script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return dict(line.split("\t", 1) for line in done.stdout.splitlines())


def test_golden_frames_are_written_again_byte_for_byte(rscript: list[str], tmp_path: Path) -> None:
    assert rewrite(rscript, FRAMES, tmp_path) == {}
    golden = {path.name: path.read_bytes() for path in FRAMES.glob("*.frame")}
    assert len(golden) >= 18
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == golden


def test_bad_frames_are_refused_with_a_reason(rscript: list[str], tmp_path: Path) -> None:
    refused = rewrite(rscript, FRAMES / "bad", tmp_path)
    assert set(refused) == {path.name for path in (FRAMES / "bad").glob("*.frame")}
    assert all(refused.values())
    assert list(tmp_path.iterdir()) == []


def test_frames_of_any_shape_are_written_again_byte_for_byte(rscript: list[str], tmp_path: Path) -> None:
    asked, answered = tmp_path / "asked", tmp_path / "answered"
    asked.mkdir()
    answered.mkdir()

    @settings(max_examples=200)
    @given(frames())
    def write(frame: Frame) -> None:
        data = encode(frame)
        (asked / f"{sha256(data).hexdigest()}.frame").write_bytes(data)

    write()  # R takes long to start: all of them are read by one
    wide = tuple(from_values(f"column {i}", ColumnType.FLOAT64, [0.5] * 3) for i in range(500))
    (asked / "wide.frame").write_bytes(encode(Frame("infer", (("id", "1"),), 3, wide)))
    assert rewrite(rscript, asked, answered) == {}
    for path in asked.iterdir():
        assert (answered / path.name).read_bytes() == path.read_bytes(), path.name
