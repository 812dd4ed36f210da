"""Large files: a million rows of Parquet against Polars and the model, ten million in constant memory."""

from __future__ import annotations

import pickle
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import polars as pl

from bench.bare import Session
from bench.figures.common import Run, yard_with
from bench.figures.fast import portable_yard
from bench.machine import memory_mb
from bench.models import COLUMNS, forest, linear, many_rows, python_bundle
from bench.report import TIMES, Figure, spread
from bench.yard import Yard

_MILLION = 1_000_000
_REACH = 0.7
_ROUNDS = 3  # each takes some seconds a side
_KIND = "application/vnd.apache.parquet"
_MODEL, _SMALL = "bench/forest", "bench/linear"
_PIECE = 4 * 1024 * 1024
_SECONDS = 900.0
_LOOK = 0.2  # seconds between two looks at the memory
_GROWTH = 1.25  # times the memory that a tenth of the rows takes


def measure(run: Run) -> Iterator[Figure]:
    """The figures `million` and `ten-million`."""
    yield _million(run)
    yield _ten_million(run)


def _million(run: Run) -> Figure:
    model = forest()
    folder = run.folder / "million"
    folder.mkdir()
    (folder / "model.pkl").write_bytes(pickle.dumps(model))
    _table(many_rows(_MILLION), COLUMNS).write_parquet(folder / "rows.parquet")
    bundle = python_bundle(model, run.folder / "million-bundle")
    with portable_yard(run, "million-yard", {_MODEL: bundle}) as yard, Session(folder) as session:
        rounds = min(run.rounds, _ROUNDS)
        pairs = []
        for number in range(rounds + 1):  # the first warms up
            run.say(f"a million rows, round {number} of {rounds}")
            bare, ours = (
                session.predict(),
                _ask(yard, _MODEL, folder / "rows.parquet", folder / "yard.parquet"),
            )
            pairs += [(bare, ours)] if number else []
        shown = _form(yard, _MODEL)
    same = _same(folder / "answers.parquet", folder / "yard.parquet")
    ratios = [bare / ours for bare, ours in pairs]
    middle = [statistics.median(side) for side in zip(*pairs, strict=True)]
    size = (folder / "rows.parquet").stat().st_size / 1e6
    return Figure(
        name="million",
        what="1,000,000 rows, Parquet in and out, a forest of 100 trees, against Polars and the model in a "
        "bare session",
        measured=f"{spread(ratios)} {TIMES}",
        reach=f"≥ {_REACH:g} {TIMES}",
        reached=statistics.median(ratios) >= _REACH and same,
        details=(
            f"{middle[1]:.2f} s over HTTP, {middle[0]:.2f} s bare; a file of {size:.0f} MB, 30 columns",
            "each row checked against the signature, recorded, and shipped meanwhile",
            f"form: {shown}",
            "the answers are equal" if same else "THE ANSWERS DIFFER",
        ),
    )


def _table(rows: np.ndarray, names: tuple[str, ...]) -> pl.DataFrame:
    return pl.DataFrame({name: np.ascontiguousarray(rows[:, i]) for i, name in enumerate(names)})


def _same(bare: Path, ours: Path) -> bool:
    a, b = pl.read_parquet(bare), pl.read_parquet(ours)
    numbers = [name for name in a.columns if name != "label"]
    return a.height == b.height and bool(
        np.allclose(a.select(numbers).to_numpy(), b.select(numbers).to_numpy(), atol=1e-5)
    )


def _form(yard: Yard, model: str) -> str:
    with yard.client() as client:
        version = client.get(f"/api/v1/models/{model}/versions/1").json()
    return f"{version['form']}, {version['form_reason']}"


def _ask(yard: Yard, model: str, source: Path, target: Path) -> float:
    """Seconds from sending a file to having its whole answer in another."""
    headers = {**yard.headers, "Content-Type": _KIND, "Accept": _KIND}
    headers["Content-Length"] = str(source.stat().st_size)
    began = time.perf_counter()
    with source.open("rb") as file, target.open("wb") as out:
        sent = iter(lambda: file.read(_PIECE), b"")
        url = f"{yard.url}/models/{model}/predict"
        with httpx.stream("POST", url, content=sent, headers=headers, timeout=_SECONDS) as answer:
            if answer.status_code != httpx.codes.OK:
                raise RuntimeError(f"{answer.status_code} {answer.read()[:500]!r}")
            for piece in answer.iter_raw(_PIECE):
                out.write(piece)
    return time.perf_counter() - began


def _ten_million(run: Run) -> Figure:
    """The peak of the yard's memory with a tenth of the rows and with all of them, until they are shipped."""
    model, names = linear(), COLUMNS[:4]
    bundle = python_bundle(model, run.folder / "linear-bundle", columns=4)
    folder = run.folder / "ten-million"
    folder.mkdir()
    peaks: list[dict[str, float]] = []
    seconds = []
    # Shipped as soon as it is recorded, and once before: what a program takes to begin is no growth.
    environment = {"YARD_SHIP_AFTER": "1"}
    with yard_with(run, "ten-million-yard", {_SMALL: bundle}, environment=environment) as yard:
        before = sum(_memory(yard).values())
        for count in (_MILLION, _MILLION, 10 * _MILLION):
            run.say(f"{count:,} rows")
            rows = folder / "rows.parquet"
            _written(rows, count, names)
            with _peak(yard) as peak:
                seconds.append(_ask(yard, _SMALL, rows, folder / "out.parquet"))
                _wait_until_shipped(yard)
            peaks.append(max(peak, key=lambda by_role: sum(by_role.values())))
            answered = pl.scan_parquet(folder / "out.parquet").select(pl.len()).collect().item()
            if answered != count:
                raise RuntimeError(f"{answered} rows were answered of {count}")
    peaks = peaks[1:]
    tenth, whole = (sum(peak.values()) for peak in peaks)
    return Figure(
        name="ten-million",
        what="peak memory (PSS) of all the yard's processes, 10,000,000 rows of Parquet in one request, "
        "against 1,000,000",
        measured=f"{whole:.0f} against {tenth:.0f} MB",
        reach=f"≤ {_GROWTH:g} {TIMES}",
        reached=whole <= _GROWTH * tenth,
        details=(
            f"before {before:.0f} MB; a linear regression of 4 columns",
            *(
                f"{name}: {_words(peak)}"
                for name, peak in zip(("1,000,000", "10,000,000"), peaks, strict=True)
            ),
            f"{10 * _MILLION / seconds[2]:,.0f} rows/s in and out, {_MILLION / seconds[1]:,.0f} with a tenth",
        ),
    )


def _wait_until_shipped(yard: Yard) -> None:
    with yard.client() as client:
        while client.get("/api/v1/checkup").raise_for_status().json()["spool_bytes"]:
            time.sleep(_LOOK)


def _written(path: Path, count: int, names: tuple[str, ...]) -> None:
    """Row groups of 100,000, as most writers leave them; made without having all in memory."""
    chance = np.random.default_rng(3)
    parts = [path.with_suffix(f".{i}") for i in range(count // _MILLION)]
    for part in parts:
        _table(chance.normal(size=(_MILLION, len(names))), names).write_parquet(part)
    pl.scan_parquet(parts).sink_parquet(path, row_group_size=100_000)
    for part in parts:
        part.unlink()


@contextmanager
def _peak(yard: Yard) -> Iterator[list[dict[str, float]]]:
    """What the yard's processes take, looked at again and again."""
    seen, done = [_memory(yard)], threading.Event()

    def look() -> None:
        while not done.wait(_LOOK):
            seen.append(_memory(yard))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        done.set()
        thread.join()


def _memory(yard: Yard) -> dict[str, float]:
    """MB by what the processes are; those that read Parquet are the readers."""
    roles = yard.processes()
    known = {pid for pids in roles.values() for pid in pids}
    roles["readers"] = [pid for pid in yard.family() if pid not in known]
    return {role: sum(map(_pss, pids)) for role, pids in roles.items()}


def _words(peak: dict[str, float]) -> str:
    return ", ".join(f"{role} {size:.0f} MB" for role, size in peak.items())


def _pss(pid: int) -> float:
    try:
        return memory_mb(pid)[0]
    except (OSError, KeyError):  # it has ended meanwhile
        return 0.0
