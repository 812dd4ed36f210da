"""How the yard bends with many models: `python -m bench.scale [--models 100 1000 10000] [--rounds N]`.

A real yard on a database that was filled with so many published models; on SQLite, and on PostgreSQL where
that is installed. Each has a checked version of 20 inputs and the alias champion. docs/scale.md has results.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import msgspec
from msgspec import Struct
from tests.conftest import find_postgresql
from tests.contract.postgresql import Server

from bench.machine import memory_mb, this_machine
from bench.yard import Yard
from modelyard.records.models import Bundle, VersionState
from modelyard.records.signatures import Column, ColumnType, Signature
from modelyard.store import schema, state
from modelyard.store.database import Database

_DEPARTMENTS = 50
_INPUTS = 20
_AT_ONCE = 1_000
_NOW = datetime(2026, 11, 1, tzinfo=UTC)


class Measured(Struct, frozen=True):
    """What was measured of one yard; times in milliseconds, medians.

    Attributes:
        listing: `GET /api/v1/models`, all of them, with the whole answer read.
        first: the first listing after the start.
        swap: a new token, which makes the route table anew as every change of routes does: from the request
            until it is answered, that is written and served by every front.
        swap_engine, swap_front: milliseconds of CPU of the engine and of the front for one such change; they
            hold on a busy machine, too.
        front: memory of a front (PSS, MB), `engine` of the engine.
        start: seconds until it is ready.
        routes: bytes of the route table on disk, without the signatures beside it.
    """

    database: str
    models: int
    first: float
    listing: float
    swap: float
    swap_engine: float
    swap_front: float
    front: float
    engine: float
    start: float
    routes: int


def signature(number: int) -> Signature:
    """Of 20 inputs, as an example of a hundred rows gives it."""
    numbers = [
        Column(f"x{i}", ColumnType.FLOAT64, low=-float(number), high=i + 0.25, example="0.125")
        for i in range(_INPUTS - 4)
    ]
    texts = [
        Column(f"c{i}", ColumnType.STRING, categories=tuple(f"kind {n}" for n in range(8)), example="kind 1")
        for i in range(4)
    ]
    return Signature((*numbers, *texts), (Column("prediction", ColumnType.FLOAT64),))


def rows_of(number: int) -> dict[str, dict[str, Any]]:
    """The rows of one model, by table."""
    department = f"department-{number % _DEPARTMENTS:03}"
    model = f"{department}/model-{number:06}"
    bundle = Bundle(1, "python", "mine:predict", signature(number), description=f"Number {number}")
    made = {"created_at": _NOW, "created_by": "bench"}
    version = {
        "model": model,
        "version": 1,
        "digest": f"{number:064x}",
        "state": VersionState.CHECKED,
        "size": 1,
    }
    words = dict.fromkeys(("reason", "progress", "log", "form_reason", "wanted_why"), "")
    return {
        "models": {"model": model, "department": department, "latest": 1, **made},
        "versions": {
            **version, **words, **made, "form": "native", "bundle": msgspec.json.encode(bundle).decode(),
        },
        "aliases": {"model": model, "alias": "champion", "version": 1},
    }  # fmt: skip


def fill(url: str, models: int) -> None:
    """Publish so many models by writing their rows."""
    database = Database(url)
    with database.write(unaudited="a bench") as connection:
        places = [
            {"name": f"department-{n:03}", "created_at": _NOW, "created_by": "bench"}
            for n in range(_DEPARTMENTS)
        ]
        connection.execute(schema.departments.insert(), places)
        for begin in range(0, models, _AT_ONCE):
            made = [rows_of(number) for number in range(begin, min(models, begin + _AT_ONCE))]
            for table in (schema.models, schema.versions, schema.aliases):
                connection.execute(table.insert(), [row[table.name] for row in made])
        state.bump_generation(connection)
    database.close()


def timed(act: Callable[[], object], rounds: int) -> float:
    """Milliseconds, the median."""
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        act()
        times.append(1000 * (time.perf_counter() - began))
    return statistics.median(times)


def measure(name: str, url: str, models: int, rounds: int, folder: Path) -> Measured:
    """Fill a database and measure a yard on it."""
    yard = Yard(
        folder / "data",
        environment={"YARD_DATABASE": url, "YARD_FRONTS": "1"} if url else {"YARD_FRONTS": "1"},
    )
    with yard:
        pass  # makes the schema and the administrator
    fill(url or f"sqlite:///{folder / 'data' / 'yard.sqlite'}", models)
    with yard, yard.client() as client:
        began = time.perf_counter()
        found = len(client.get("/api/v1/models").raise_for_status().json())
        first = 1000 * (time.perf_counter() - began)
        assert found == models, found
        number = iter(range(10**6))
        made = {"principal": "bench", "role": "viewer"}
        tokens = "/api/v1/departments/department-000/tokens"
        before = yard.cpu()
        swap = timed(lambda: _ok(client.post(tokens, json={"name": f"t{next(number)}", **made})), rounds)
        spent = {role: 1000 * (after - before[role]) / rounds for role, after in yard.cpu().items()}
        roles = yard.processes()
        return Measured(
            database=name,
            models=models,
            first=first,
            listing=timed(lambda: _ok(client.get("/api/v1/models")), rounds),
            swap=swap,
            swap_engine=spent["engine"],
            swap_front=spent["fronts"],
            front=memory_mb(roles["fronts"][0])[0],
            engine=memory_mb(roles["engine"][0])[0],
            start=yard.ready_after,
            routes=(folder / "data" / "routes").stat().st_size,
        )


def _ok(answer: httpx.Response) -> None:
    assert answer.status_code < 400, answer.text


def databases(stack: ExitStack) -> Iterator[tuple[str, Callable[[], str]]]:
    """Each kind, and what makes a new one; "" is SQLite in the data folder."""
    yield "SQLite", lambda: ""
    if binaries := find_postgresql():
        server = stack.enter_context(Server(binaries))
        yield "PostgreSQL", lambda: server.url(server.create())


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(prog="python -m bench.scale", description=__doc__)
    parser.add_argument("--models", type=int, nargs="+", default=[100, 1_000, 10_000])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", choices=["SQLite", "PostgreSQL"])
    chosen = parser.parse_args()
    print(this_machine().words(), flush=True)
    names = Measured.__struct_fields__
    print(" | ".join(names), flush=True)
    with ExitStack() as stack:
        for name, make in databases(stack):
            for models in chosen.models if chosen.only in (None, name) else ():
                with tempfile.TemporaryDirectory(prefix="yard-scale-") as folder:
                    found = measure(name, make(), models, chosen.rounds, Path(folder))
                values = [getattr(found, field) for field in names]
                print(" | ".join(f"{v:.1f}" if isinstance(v, float) else str(v) for v in values), flush=True)


if __name__ == "__main__":
    main()
