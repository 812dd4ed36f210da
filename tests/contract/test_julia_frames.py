"""Julia reads every golden frame and writes it again byte for byte, and refuses every bad one."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from modelyard.records.signatures import ColumnType
from modelyard.workers.wire import ColumnData, Frame, Value, encode, from_values

pytestmark = pytest.mark.julia

ROOT = Path(__file__).parents[2]
FRAMES = ROOT / "contract/frames"
TEXTS = ("", "NA", "missing", "a\tb", "line\nend\r", "\\", "\\n", "\\t\\", "grün €", "🚢", "x" * 300)


def rewrite(julia: list[str], folder: Path, into: Path) -> dict[str, str]:
    """Julia reads each frame of `folder` and writes it into `into`; what it refused, name to reason."""
    script = [str(ROOT / "tests/contract/julia_frames.jl"), str(ROOT / "runtimes/julia")]
    done = subprocess.run(
        [*julia, *script, str(folder), str(into)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return dict(line.split("\t", 1) for line in done.stdout.split("\n") if line)


def test_golden_frames_are_written_again_byte_for_byte(julia: list[str], tmp_path: Path) -> None:
    assert rewrite(julia, FRAMES, tmp_path) == {}
    golden = {path.name: path.read_bytes() for path in FRAMES.glob("*.frame")}
    assert len(golden) >= 18
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == golden


def test_bad_frames_are_refused_with_a_reason(julia: list[str], tmp_path: Path) -> None:
    refused = rewrite(julia, FRAMES / "bad", tmp_path)
    assert set(refused) == {path.name for path in (FRAMES / "bad").glob("*.frame")}
    assert all(refused.values())
    assert list(tmp_path.iterdir()) == []


def random_column(chance: random.Random, name: str, rows: int) -> ColumnData:
    kind = chance.choice(list(ColumnType))
    makers: dict[ColumnType, Callable[[], Value]] = {
        ColumnType.FLOAT64: lambda: chance.choice([chance.gauss(0, 1e9), 5e-324, float("inf"), -0.0]),
        ColumnType.INT64: lambda: chance.choice([-(2**63), 2**63 - 1, chance.randrange(2**40)]),
        ColumnType.BOOL: lambda: chance.random() < 0.5,
        ColumnType.STRING: lambda: chance.choice(TEXTS),
    }
    gaps = chance.choice([0.0, 0.3, 1.0])
    values: list[Value] = [None if chance.random() < gaps else makers[kind]() for _ in range(rows)]
    return from_values(name, kind, values)


def test_frames_of_any_shape_are_written_again_byte_for_byte(julia: list[str], tmp_path: Path) -> None:
    chance = random.Random(15)  # noqa: S311 - the same frames each time, nothing secret
    asked, answered = tmp_path / "asked", tmp_path / "answered"
    asked.mkdir()
    answered.mkdir()
    for number in range(200):
        rows = chance.choice([0, 1, 2, 17, 1000])
        columns = tuple(
            random_column(chance, f"{chance.choice(TEXTS)}{i}", rows) for i in range(chance.randrange(6))
        )
        fields = (("id", str(number)), ("note", *chance.sample(TEXTS, 3)), ("alone",))
        frame = Frame("infer", fields, rows if columns or chance.random() < 0.5 else None, columns)
        (asked / f"{number}.frame").write_bytes(encode(frame))
    assert rewrite(julia, asked, answered) == {}
    for path in asked.iterdir():
        assert (answered / path.name).read_bytes() == path.read_bytes(), path.name


def test_frames_cut_anywhere_or_with_any_byte_changed_never_crash(julia: list[str], tmp_path: Path) -> None:
    """Each is either refused with words or read as a frame that Julia can write again."""
    chance = random.Random(7)  # noqa: S311
    whole = (FRAMES / "mixed.frame").read_bytes()
    asked, answered = tmp_path / "asked", tmp_path / "answered"
    asked.mkdir()
    answered.mkdir()
    for end in range(len(whole)):
        (asked / f"cut-{end}.frame").write_bytes(whole[:end])
    for number in range(300):
        changed = bytearray(whole)
        changed[chance.randrange(len(whole))] = chance.randrange(256)
        (asked / f"changed-{number}.frame").write_bytes(changed)
    refused = rewrite(julia, asked, answered)
    assert {name for name in refused if name.startswith("cut-")} == {p.name for p in asked.glob("cut-*")}
    assert set(refused) | {p.name for p in answered.iterdir()} == {p.name for p in asked.iterdir()}
