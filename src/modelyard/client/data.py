"""Data pushed to a yard and pulled from it, from Python."""

from __future__ import annotations

import csv
import importlib.util
import io
import tempfile
from collections.abc import Callable, Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Any

from modelyard.client.connection import Connection
from modelyard.client.csvfile import write_csv
from modelyard.client.tables import kind_of, read_table
from modelyard.records.datasets import Dataset, DatasetReference, DatasetVersion, DataType
from modelyard.records.errors import InvalidError

CSV, PARQUET = "text/csv", "application/vnd.apache.parquet"
_TYPES = {".csv": CSV, ".txt": CSV, ".parquet": PARQUET, ".pq": PARQUET}
_MISSING = ""

Read = Callable[[str], float | int | str | bool | date | datetime]
_READ: dict[DataType, Read] = {
    DataType.BOOL: lambda text: text == "true",
    DataType.INT64: int,
    DataType.FLOAT64: float,
    DataType.STRING: str,
    DataType.DATE: date.fromisoformat,
    DataType.DATETIME: datetime.fromisoformat,
}


def address_of(ref: str) -> tuple[str, DatasetReference]:
    """The API's address of a dataset, and the reference."""
    at = DatasetReference.parse(ref)
    return f"/api/v1/datasets/{at.dataset}", at


def push(
    connection: Connection, data: Any, ref: str, *, why: str = "", marks: Mapping[str, str] | None = None
) -> DatasetVersion:
    """See `Yard.push_data`."""
    path, at = address_of(ref)
    if at.version is not None:
        raise InvalidError(f"{ref} is a version; here a dataset is meant.", f"Write {at.dataset}.")
    told: dict[str, Any] = {"why": why} if why else {}
    if marks:
        told["mark"] = [f"{column}:{mark}" for column, mark in marks.items()]
    if isinstance(data, (str, Path)):
        return connection.upload(f"{path}/versions", DatasetVersion, *_file(Path(data)), **told)
    with tempfile.TemporaryDirectory(prefix="yard-") as folder:
        place = Path(folder) / "data"
        kind = _write(data, place)
        return connection.upload(f"{path}/versions", DatasetVersion, place, kind, **told)


def _file(path: Path) -> tuple[Path, str]:
    kind = _TYPES.get(path.suffix.lower())
    if kind is None:
        hint = "Name it .csv or .parquet, as what it is."
        raise InvalidError(f"The file {path.name} has no ending that says its form.", hint)
    return path, kind


def _write(data: Any, place: Path) -> str:
    """A table of this session as a file; Parquet where its library writes it, which keeps dates and types."""
    kind = kind_of(data)
    if kind == "polars":
        data.write_parquet(place)
        return PARQUET
    if kind == "pandas" and importlib.util.find_spec("pyarrow") is not None:
        data.to_parquet(place, index=False)
        return PARQUET
    table = read_table(data)
    place.write_text(write_csv([(c.name, c.values) for c in table.columns]), encoding="utf-8")
    return CSV


def datasets(connection: Connection) -> list[Dataset]:
    """See `Yard.datasets`."""
    return connection.get("/api/v1/datasets", list[Dataset])


def version(connection: Connection, ref: str) -> DatasetVersion:
    """See `Yard.show_data`."""
    path, at = address_of(ref)
    number = at.version or connection.get(path, Dataset).latest
    return connection.get(f"{path}/versions/{number}", DatasetVersion)


def download(
    connection: Connection, ref: str, to: Path, form: str, *, formulas: str = "kept"
) -> DatasetVersion:
    """Write a version's rows to a file that is there only once it is whole."""
    found = version(connection, ref)
    path = f"/api/v1/datasets/{found.dataset}/versions/{found.version}/content"
    unfinished = to.with_name(f".new-{to.name}")
    try:
        with unfinished.open("wb") as file:
            connection.download(path, file, form=form, formulas=formulas)
        unfinished.replace(to)
    finally:
        unfinished.unlink(missing_ok=True)
    return found


def pull(connection: Connection, ref: str, kind: str | None = None) -> Any:
    """See `Yard.pull_data`."""
    kind = kind or _kind()
    if kind not in ("pandas", "polars", "records"):
        hint = "Ask for pandas, polars or records."
        raise InvalidError(f"{kind!r} is no kind of table.", hint)
    with tempfile.TemporaryDirectory(prefix="yard-") as folder:
        place = Path(folder) / "data"
        if kind == "records" or (kind == "pandas" and importlib.util.find_spec("pyarrow") is None):
            found = download(connection, ref, place, "csv")
            rows = _records(place.read_text(encoding="utf-8"), {c.name: c.type for c in found.columns})
            return rows if kind == "records" else __import__("pandas").DataFrame(rows)
        download(connection, ref, place, "parquet")
        return __import__(kind).read_parquet(place)


def _kind() -> str:
    return next((k for k in ("pandas", "polars") if importlib.util.find_spec(k) is not None), "records")


def _records(text: str, types: Mapping[str, DataType]) -> list[dict[str, Any]]:
    reader = csv.reader(io.StringIO(text, newline=""))
    names = next(reader)
    return [
        {
            name: None if field == _MISSING else _READ[types[name]](field)
            for name, field in zip(names, row, strict=True)
        }
        for row in reader
        if row or len(names) == 1
    ]
