"""Datasets through the API: who may push, see and read which columns, and what hostile files meet."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest
from anyio.from_thread import start_blocking_portal

from modelyard.catalog.datasets import Datasets
from modelyard.catalog.people import People
from modelyard.catalog.registry import Registry
from modelyard.records.errors import TooLargeError
from modelyard.records.people import Kind, Need, Role
from modelyard.store import datasets as store
from modelyard.store.blobs import Blobs
from modelyard.store.database import Database
from modelyard.workers.clerk import Clerk
from tests.contract.api_house import ELSEWHERE, HERE, House

DATA = "/api/v1/datasets/finance/fuel"
ROWS = b"flight,pilot,cost\nA1,Ann,1.5\nA2,Ben,2.5\nA3,Eva,9.0\n"
PARQUET = "application/vnd.apache.parquet"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("datasets")
    database = Database(f"sqlite:///{folder / 'yard.sqlite'}")
    database.upgrade()
    registry = Registry(database, Blobs(str(folder / "blobs")), folder / "scratch")
    with start_blocking_portal() as portal, House(portal, registry, People(database), folder) as house:
        push(house)
        push(house, ROWS.replace(b"9.0", b"8.0"))
        yield house
    database.close()


def push(
    house: House,
    body: bytes = ROWS,
    kind: str = "text/csv",
    query: str = "?mark=pilot:personal",
    path: str = DATA,
) -> httpx.Response:
    headers = {"Content-Type": kind}
    return house.ask("POST", f"{path}/versions{query}", Role.BUILDER, content=body, headers=headers)


def test_pushed_again_it_is_the_version_that_is_there(house: House) -> None:
    again = push(house)
    assert (again.status_code, again.json()["version"]) == (200, 1)
    assert again.headers["location"] == f"{DATA}/versions/1"
    assert again.json()["created_by"] == "builder-finance"
    listed = house.ask("GET", "/api/v1/datasets", Role.VIEWER).json()
    assert [(d["dataset"], d["latest"], d["marks"]) for d in listed] == [
        ("finance/fuel", 2, {"pilot": "personal"})
    ]
    assert house.ask("GET", "/api/v1/datasets", Role.VIEWER, ELSEWHERE).json() == []


def test_profiles_are_for_who_may_read_and_marked_columns_for_nobody(house: House) -> None:
    def profiled(who: Role, department: str | None = HERE) -> set[str]:
        version = house.ask("GET", f"{DATA}/versions/1", who, department).json()
        return {c["name"] for c in version["columns"] if c.get("profile")}

    assert profiled(Role.VIEWER) == profiled(Role.CALLER) == profiled(Role.AUDITOR) == set()
    assert (
        profiled(Role.BUILDER) == profiled(Role.OWNER) == profiled(Role.ADMINISTRATOR) == {"flight", "cost"}
    )
    assert "Ann" not in house.ask("GET", f"{DATA}/versions", Role.ADMINISTRATOR).text


def test_no_door_shows_a_marked_column(house: House) -> None:
    for path in ("content", "content?form=csv", "content?form=csv&formulas=kept", "rows", "changes?since=1"):
        answer = house.ask("GET", f"{DATA}/versions/2/{path}", Role.OWNER)
        assert answer.status_code == 200, answer.text
        assert b"Ann" not in answer.content
    rows = house.ask("GET", f"{DATA}/versions/1/rows?count=1&start=1", Role.OWNER).json()
    assert (rows["columns"], rows["values"], rows["hidden"]) == (["flight", "cost"], [["A2", 2.5]], ["pilot"])
    by_pilot = house.ask("GET", f"{DATA}/versions/2/changes?since=1&key=pilot", Role.OWNER)
    assert (by_pilot.status_code, by_pilot.json()["column"]) == (422, "pilot")


def test_a_clearance_opens_them_for_one_person_until_it_ends(house: House) -> None:
    until = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    body = {"principal": "builder-finance", "mark": "personal", "until": until}
    assert house.ask("POST", f"{DATA}/clearances", Role.BUILDER, json=body).status_code == 403
    assert house.ask("POST", f"{DATA}/clearances", Role.OWNER, json=body).status_code == 201
    content = house.ask("GET", f"{DATA}/versions/1/content", Role.BUILDER).content
    assert pl.read_parquet(io.BytesIO(content))["pilot"].to_list() == ["Ann", "Ben", "Eva"]
    assert b"Ann" not in house.ask("GET", f"{DATA}/versions/1/content?form=csv", Role.OWNER).content
    told = house.ask("GET", f"{DATA}/clearances", Role.OWNER).json()
    assert [(c["principal"], c["given_by"]) for c in told] == [("builder-finance", "owner-finance")]
    body = {"principal": "builder-finance", "mark": "personal"}
    assert house.ask("POST", f"{DATA}/clearances/revoke", Role.OWNER, json=body).status_code == 204
    assert b"Ann" not in house.ask("GET", f"{DATA}/versions/1/content?form=csv", Role.BUILDER).content


def test_a_builder_marks_and_only_an_owner_takes_marks_away(house: House) -> None:
    path = "/api/v1/datasets/finance/marked"
    push(house, query="", path=path)

    def mark(who: Role, marks: dict[str, str | None]) -> int:
        return house.ask("PUT", f"{path}/marks", who, json={"marks": marks}).status_code

    assert mark(Role.VIEWER, {"pilot": "personal"}) == 403
    assert mark(Role.BUILDER, {"pilot": "secret"}) == 200
    assert mark(Role.BUILDER, {"pilot": "secret", "flight": "personal"}) == 200
    assert mark(Role.BUILDER, {"pilot": "personal"}) == 403, "that would show it to jobs"
    assert mark(Role.BUILDER, {"flight": None}) == 403
    assert mark(Role.OWNER, {"flight": None, "pilot": "personal"}) == 200
    assert house.ask("GET", path, Role.VIEWER).json()["marks"] == {"pilot": "personal"}
    assert mark(Role.OWNER, {"no such": "secret"}) == 422


def test_a_grant_on_a_dataset_shows_it_to_another_department(house: House) -> None:
    from modelyard.catalog.sharing import Sharing  # noqa: PLC0415

    assert house.ask("GET", DATA, Role.BUILDER, ELSEWHERE).status_code == 404
    sharing = Sharing(house.registry._database)
    share = sharing.give(Kind.DATASET, "finance/fuel", Need.READ_DATA, to_department=ELSEWHERE, by="olga")
    house.swap()
    listed = house.ask("GET", "/api/v1/datasets", Role.BUILDER, ELSEWHERE).json()
    assert [d["dataset"] for d in listed] == ["finance/fuel"]
    seen = house.ask("GET", f"{DATA}/versions/1/rows", Role.BUILDER, ELSEWHERE)
    assert (seen.status_code, seen.json()["hidden"]) == (200, ["pilot"])
    assert house.ask("GET", f"{DATA}/versions/1/rows", Role.VIEWER, ELSEWHERE).status_code == 403
    assert house.ask("PUT", f"{DATA}/marks", Role.OWNER, ELSEWHERE, json={"marks": {}}).status_code == 403
    sharing.revoke(share.id, HERE, by="olga")
    house.swap()
    assert house.ask("GET", DATA, Role.BUILDER, ELSEWHERE).status_code == 404


def test_models_of_other_departments_are_not_told_of(house: House) -> None:
    with house.registry._database.write() as connection:
        for department in (HERE, ELSEWHERE):
            store.add_lineage(connection, f"{department}/fuel-cost", 1, {"dataset:finance/fuel": "1"})
    mine = house.ask("GET", f"{DATA}/models", Role.VIEWER).json()
    assert mine == [
        {"model": "finance/fuel-cost", "version": 1, "dataset": "finance/fuel", "dataset_version": 1}
    ]
    assert len(house.ask("GET", f"{DATA}/models?version=1", Role.AUDITOR).json()) == 2


def test_hostile_files_are_refused_in_words(house: House) -> None:
    path = "/api/v1/datasets/finance/hostile"
    nul = push(house, b"a,b\n1,x\0y\n", query="", path=path)
    assert (nul.status_code, nul.json()["line"]) == (400, 2)
    assert push(house, b"a,b\n1,2\n", "application/json", "", path).status_code == 415
    assert house.ask("GET", path, Role.BUILDER).status_code == 404


def parquet(table: pl.DataFrame, **how: Any) -> bytes:
    file = io.BytesIO()
    table.write_parquet(file, **how)
    return file.getvalue()


def test_12_a_parquet_bomb_ends_its_reader_and_nothing_else(house: House, tmp_path: Path) -> None:
    """A file of some kilobytes that unfolds into 2 GB: one text of a megabyte, named by 2,000 rows."""
    folded = pa.DictionaryArray.from_arrays(pa.array([0] * 2_000, pa.int32()), pa.array(["y" * 1_000_000]))
    file = io.BytesIO()
    pq.write_table(pa.table({"x": folded}), file, store_schema=False, compression="zstd")
    assert len(file.getvalue()) < 100_000
    small = Datasets(
        house.registry._database, Blobs(str(tmp_path)), tmp_path, Clerk(tmp_path, memory=1 << 30)
    )
    with pytest.raises(TooLargeError, match="does not fit"):
        small.push("finance/bomb", [file.getvalue()], PARQUET, by="anna")
    assert house.ask("GET", "/api/v1/datasets/finance/bomb", Role.VIEWER).status_code == 404


def test_a_damaged_parquet_page_ends_its_reader_and_nothing_else(house: House) -> None:
    whole = bytearray(parquet(pl.DataFrame({"x": list(range(1000))}), compression="uncompressed"))
    for place in range(4, 40):
        whole[place] ^= 0x55
    answer = push(house, bytes(whole), PARQUET, "", "/api/v1/datasets/finance/bad")
    assert answer.status_code == 400, answer.text
    footer = struct.pack("<I", 2**31 - 1) + b"PAR1"
    answer = push(house, bytes(whole[:-8]) + footer, PARQUET, "", DATA)
    assert answer.status_code == 400, answer.text


def test_54_cells_that_begin_like_formulas_are_escaped_in_csv_for_people(house: House) -> None:
    path = "/api/v1/datasets/finance/formulas"
    push(house, b"who,n\n\"=cmd|'/c calc'!A1\",1\n-2+3,2\n", query="", path=path)
    escaped = house.ask("GET", f"{path}/versions/1/content?form=csv", Role.BUILDER)
    assert escaped.text.splitlines() == ["who,n", "'=cmd|'/c calc'!A1,1", "'-2+3,2"]
    assert escaped.headers["content-disposition"] == 'attachment; filename="finance.formulas.1.csv"'
    kept = house.ask("GET", f"{path}/versions/1/content?form=csv&formulas=kept", Role.BUILDER)
    assert kept.text.splitlines()[1:] == ["=cmd|'/c calc'!A1,1", "-2+3,2"]


def test_a_page_of_rows_has_a_limit(house: House) -> None:
    assert house.ask("GET", f"{DATA}/versions/1/rows?count=1000000000", Role.BUILDER).status_code == 422
    beyond = house.ask("GET", f"{DATA}/versions/1/rows?start=99", Role.BUILDER).json()
    assert (beyond["rows"], beyond["values"]) == (3, [])


def test_a_table_over_the_limit_is_refused_before_it_is_read(house: House) -> None:
    answer = push(house, b"a\n" + b"1\n" * (3 * 1024 * 1024), query="", path="/api/v1/datasets/finance/large")
    assert answer.status_code == 413
    assert json.loads(answer.content)["hint"]
