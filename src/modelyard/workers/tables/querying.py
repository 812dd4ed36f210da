"""A snapshot of a PostgreSQL database: one SELECT, in a read-only transaction, within a time.

By construction, not by looking at the words: the query stands behind DECLARE … CURSOR FOR, where the server's
grammar takes a SELECT alone, and goes by the extended protocol, which takes one statement alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import psycopg
from psycopg import pq

from modelyard.records.errors import InvalidError, UnavailableError
from modelyard.workers.tables.reading import MAX_ROWS, check_names, keep
from modelyard.workers.tables.tasks import Made, Query
from modelyard.workers.tables.types import fitted

_BATCH = 50_000
_CONNECT_SECONDS = "10"


def query(task: Query) -> Made:
    """Ask, and write the rows as a version's Parquet.

    Raises:
        UnavailableError: the database does not answer.
        InvalidError: it refuses the query, or the rows cannot be kept.
    """
    try:
        with psycopg.connect(**_parameters(task)) as connection:
            connection.read_only = True
            table = _rows(connection, task)
    except psycopg.OperationalError as error:
        raise UnavailableError(f"The database does not answer as asked: {_words(error)}.", _HINT) from error
    except psycopg.Error as error:
        hint = "The query must be one SELECT that the connection's user may run."
        raise InvalidError(
            f"The database refuses the query: {_words(error)}.", hint, field="query"
        ) from error
    return keep(table, Path(task.into))


_HINT = "See that it runs, that the connection is right, and that the query ends within its time."


def _parameters(task: Query) -> dict[str, Any]:
    limits = f"-c statement_timeout={task.seconds}s -c default_transaction_read_only=on -c timezone=UTC"
    fixed = {"connect_timeout": _CONNECT_SECONDS, "application_name": "modelyard", "options": limits}
    return {**task.parameters, **fixed}


def _rows(connection: psycopg.Connection[Any], task: Query) -> pl.DataFrame:
    with connection.cursor(binary=True) as cursor:
        _extended(
            connection, cursor, b"DECLARE yard NO SCROLL CURSOR WITHOUT HOLD FOR " + task.query.encode()
        )
        parts: list[pl.DataFrame] = []
        count = 0
        while True:
            cursor.execute(f"FETCH FORWARD {_BATCH} FROM yard")
            names = [column.name for column in cursor.description or ()]
            check_names(names)
            rows = cursor.fetchall()
            if rows or not parts:
                parts.append(_table(names, rows))
            count += len(rows)
            if len(rows) < _BATCH or count > MAX_ROWS:
                break
    return pl.DataFrame([fitted(series) for series in pl.concat(parts, how="vertical_relaxed")])


def _extended(connection: psycopg.Connection[Any], cursor: psycopg.Cursor[Any], statement: bytes) -> None:
    """Run one statement: the extended protocol refuses a second one."""
    cursor.execute("SELECT 1")  # begins the transaction
    result = connection.pgconn.exec_params(statement, None)
    if result.status != pq.ExecStatus.COMMAND_OK:
        raise psycopg.errors.lookup((result.error_field(pq.DiagnosticField.SQLSTATE) or b"XX000").decode())(
            result.error_message.decode(errors="replace").strip()
        )


def _table(names: list[str], rows: list[tuple[Any, ...]]) -> pl.DataFrame:
    columns = zip(*rows, strict=True) if rows else [[] for _ in names]
    return pl.DataFrame([_series(name, values) for name, values in zip(names, columns, strict=True)])


def _series(name: str, values: Any) -> pl.Series:  # noqa: ANN401 - a tuple of whatever the database holds
    known = next((v for v in values if v is not None), None)
    if known is None or isinstance(known, bool | int | float | str) or hasattr(known, "isoformat"):
        return pl.Series(name, values, strict=False)
    return pl.Series(name, [None if v is None else _number_or_text(v) for v in values])


def _number_or_text(value: object) -> float | str:
    return float(value) if type(value).__name__ == "Decimal" else str(value)  # type: ignore[arg-type]


def _words(error: psycopg.Error) -> str:
    return " ".join(str(error).split("\n")[0].split())[:500].rstrip(".")
