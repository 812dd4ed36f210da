"""CSV and Parquet of any size by HTTP: kept on disk, answered in parts by one version, nothing left."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest

from modelyard.api.exchange import CutError
from tests.contract.scripted import numbers, run
from tests.contract.test_doors import FUEL, Caller, caller

CSV = {"Content-Type": "text/csv", "Accept": "text/csv"}
PARQUET = "application/vnd.apache.parquet"
ROWS = 35  # in parts of 10


def csv_of(values: list[Any]) -> bytes:
    """A column that the model takes and two that it does not; one of these has a line end in its quotes."""
    return ("id,x,note\n" + "".join(f'{i},{x},"a ""b""\nc"\n' for i, x in enumerate(values))).encode()


def parquet_of(values: list[Any], **more: Any) -> bytes:
    out = io.BytesIO()
    table = pl.DataFrame({"id": range(len(values)), "x": values}, strict=False)
    table.write_parquet(out, row_group_size=10, **more)
    return out.getvalue()


def scratch(client: Caller) -> list[Path]:
    return list(Path(client.front.scratch.name).iterdir())


def test_a_csv_is_answered_in_parts_in_its_order_with_its_keys() -> None:
    async def scenario() -> None:
        async with caller() as client:
            answer = await client.post(FUEL, content=csv_of([i + 100 for i in range(ROWS)]), headers=CSV)
            assert answer.status_code == 200
            assert answer.headers["x-yard-version"] == "finance/fuel-cost/2"
            assert "content-length" not in answer.headers
            table = pl.read_csv(answer.content)
            assert table["id"].to_list() == list(range(ROWS))
            assert table["prediction"].to_list() == [2.0 * i + 200 for i in range(ROWS)]
            assert set(table["note"]) == {'a "b"\nc'}
            assert [len(numbers(q)) for w in client.front.yard.workers for q in w.questions] == [
                10,
                10,
                10,
                5,
            ]
            assert scratch(client) == []

    run(scenario)


@pytest.mark.parametrize("accept", ["text/csv", PARQUET])
def test_a_parquet_file_is_read_by_parts_of_its_rows(accept: str) -> None:
    async def scenario() -> None:
        async with caller() as client:
            headers = {"Content-Type": PARQUET, "Accept": accept}
            answer = await client.post(
                FUEL, content=parquet_of([100.0 + i for i in range(ROWS)]), headers=headers
            )
            assert answer.status_code == 200, answer.text
            read: Callable[[bytes], pl.DataFrame] = pl.read_csv if accept == "text/csv" else pl.read_parquet
            table = read(answer.content)
            assert [int(i) for i in table["id"]] == list(range(ROWS))
            assert table["prediction"].to_list() == [2.0 * i + 200 for i in range(ROWS)]
            assert scratch(client) == []

    run(scenario)


@pytest.mark.parametrize("kind", ["text/csv", PARQUET])
def test_a_part_has_no_more_rows_than_a_request_may(kind: str) -> None:
    async def scenario() -> None:
        async with caller(rows=50_000) as client:  # where a request may have 100
            values = [100.0 + i for i in range(250)]
            body = csv_of(values) if kind == "text/csv" else parquet_of(values)
            answer = await client.post(FUEL, content=body, headers=CSV | {"Content-Type": kind})
            assert answer.status_code == 200, answer.text
            assert pl.read_csv(answer.content)["prediction"].to_list() == [2.0 * v for v in values]
            asked = [len(numbers(q)) for w in client.front.yard.workers for q in w.questions]
            assert max(asked) <= 100

    run(scenario)


def test_a_short_body_of_too_many_rows_goes_by_parts_too() -> None:
    async def scenario() -> None:
        async with caller(least=10_000) as client:
            body = b"x\n" + b"1\n" * 300  # of which the model takes 100 at once
            for wanted, status in (("text/csv", 200), ("application/json", 413)):
                answer = await client.post(FUEL, content=body, headers=CSV | {"Accept": wanted})
                assert answer.status_code == status, answer.text
            assert scratch(client) == []

    run(scenario)


def test_what_is_wrong_in_the_first_part_has_a_status_of_its_own() -> None:
    async def scenario() -> None:
        async with caller() as client:
            answer = await client.post(FUEL, content=csv_of(["far"] * ROWS), headers=CSV)
            assert answer.status_code == 422
            answer = await client.post(FUEL, content=csv_of([1.0] * 20_000), headers=CSV)
            assert answer.status_code == 413
            answer = await client.post(FUEL, content=b"x\n" + b'"' * 300, headers=CSV)
            assert answer.status_code in (400, 422)
            answer = await client.post(
                FUEL, content=b"no parquet" * 30, headers=CSV | {"Content-Type": PARQUET}
            )
            assert answer.status_code == 400
            assert scratch(client) == []

    run(scenario)


def test_what_is_wrong_later_cuts_a_csv_answer_and_refuses_a_parquet_one() -> None:
    """Wrong types, a row the model refuses, and a damaged row group: each in the second part or later."""

    async def scenario() -> None:
        async with caller() as client:
            wrong: list[tuple[list[Any], int]] = [
                ([1.0] * 15 + ["far"] * 15, 422),
                ([1.0] * 15 + [13.0] * 15, 500),
            ]
            for values, status in wrong:
                with pytest.raises(CutError):
                    await client.post(FUEL, content=csv_of(values), headers=CSV)
                text = [str(v) for v in values]
                headers = {"Content-Type": PARQUET, "Accept": PARQUET}
                answer = await client.post(FUEL, content=parquet_of(text), headers=headers)
                assert answer.status_code == status, answer.text
                assert answer.json()["detail"].startswith("In the part that begins at row 10: ")
            damaged = bytearray(parquet_of([100.0 + i for i in range(ROWS)], compression="uncompressed"))
            middle = len(damaged) // 2
            damaged[middle - 150 : middle] = b"\xff" * 150
            answer = await client.post(FUEL, content=bytes(damaged), headers=headers)
            assert answer.status_code == 400, answer.text
            assert scratch(client) == []

    run(scenario)


def test_36_rights_that_go_in_mid_stream_cut_the_answer() -> None:
    async def scenario() -> None:
        async with caller() as client:
            sent = []

            async def send(message: Any) -> None:
                sent.append(message)
                client.front.table = msgspec.structs.replace(client.front.table, tokens={})

            with pytest.raises(CutError):
                await ask(client, csv_of([1.0] * 1_000), send)
            assert 2 <= len(sent) < 20, "of 100 parts"
            assert sent[-1].get("more_body", True)
            assert scratch(client) == []

    run(scenario)


async def ask(client: Caller, body: bytes, send: Any, left: asyncio.Event | None = None) -> None:
    """Send a CSV to the door itself; the client hangs up at this event."""
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Any:
        if messages:
            return messages.pop()
        await (left or asyncio.Event()).wait()
        return {"type": "http.disconnect"}

    headers = [(k.lower().encode(), v.encode()) for k, v in CSV.items()]
    headers += [(b"authorization", b"Bearer anna"), (b"content-length", str(len(body)).encode())]
    scope = {"type": "http", "method": "POST", "path": FUEL, "headers": headers, "query_string": b""}
    await client.front(scope, receive, send)


def test_a_client_that_hangs_up_in_mid_stream_ends_the_work() -> None:
    async def scenario() -> None:
        async with caller() as client:
            sent, left = [], asyncio.Event()

            async def send(message: Any) -> None:
                sent.append(message)
                if len(sent) == 4:
                    left.set()
                await asyncio.sleep(0.01)  # as a network would; the disconnection is seen in between

            await ask(client, csv_of([1.0] * 1_000), send, left)
            assert 4 <= len(sent) < 20, "of 100 parts"
            assert sent[-1]["more_body"]
            assert scratch(client) == []

    run(scenario)
