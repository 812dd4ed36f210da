"""All rows of the database as files, and back; from SQLite to PostgreSQL and the other way, too.

A table's file is gzip; in it, MessagePack: the names of the columns, then an array a row. Tables are those
that are there, not those that this release knows: a dump is whole whatever release wrote the database.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, BinaryIO

import msgspec
import sqlalchemy
from msgspec import Struct
from sqlalchemy import Boolean, Connection, Integer, MetaData, Table, func, select

from modelyard.records.errors import ConflictError, MalformedError

_REVISIONS = "alembic_version"
_AT_ONCE = 500  # rows
_QUICK = 1  # of gzip's levels: rows are small beside blobs
_LONGEST = 1 << 30  # bytes of a row

Opened = Callable[[str], AbstractContextManager[BinaryIO]]


class Dumped(Struct, frozen=True):
    """A table's file.

    Attributes:
        table: its name; of the file, too.
        rows: how many are in it.
    """

    table: str
    rows: int


def dump(connection: Connection, create: Opened) -> tuple[str, tuple[Dumped, ...]]:
    """Write all tables; the schema's revision, and what was written, parents before children.

    Args:
        connection: of one snapshot.
        create: opens a table's file to write.
    """
    found = []
    for table in _tables(connection):
        with create(str(table.name)) as file:
            found.append(Dumped(str(table.name), _write(connection, table, file)))
    return _revision(connection), tuple(found)


def load(connection: Connection, dumped: tuple[Dumped, ...], source: Opened) -> None:
    """Write the rows of a dump into an empty database of the same revision.

    Raises:
        ConflictError: a table has rows already, or there is another.
        MalformedError: a file is not what the dump said.
    """
    tables = {table.name: table for table in _tables(connection)}
    if set(tables) != {each.table for each in dumped}:
        odd = sorted(set(tables) ^ {each.table for each in dumped})
        raise ConflictError(f"The backup and the database differ in tables: {', '.join(odd)}.")
    for table in reversed(list(tables.values())):  # what the first migration put there is in the dump as well
        if connection.execute(select(table).limit(1)).first():
            connection.execute(table.delete())
    for each in dumped:
        with source(each.table) as file:
            rows = _read(connection, tables[each.table], file)
        if rows != each.rows:
            raise MalformedError(f"The backup's table {each.table} has {rows} rows instead of {each.rows}.")
    if connection.dialect.name == "postgresql":
        _count_on(connection, tables.values())


def is_empty(connection: Connection) -> bool:
    """Whether there is no table at all."""
    return not sqlalchemy.inspect(connection).get_table_names()


def _tables(connection: Connection) -> list[Table]:
    found = MetaData()
    found.reflect(connection)
    return [table for table in found.sorted_tables if table.name != _REVISIONS]


def _revision(connection: Connection) -> str:
    return str(connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar_one())


def _write(connection: Connection, table: Table, file: BinaryIO) -> int:
    encode, count = msgspec.msgpack.Encoder().encode, 0
    order = list(table.primary_key) or list(table.columns)
    with gzip.GzipFile(fileobj=file, mode="wb", compresslevel=_QUICK, mtime=0) as out:
        _put(out, encode([str(column.name) for column in table.columns]))
        rows = connection.execution_options(yield_per=_AT_ONCE).execute(select(table).order_by(*order))
        for row in rows:
            _put(out, encode(list(row)))
            count += 1
    return count


def _put(out: gzip.GzipFile, data: bytes) -> None:
    out.write(len(data).to_bytes(4, "little") + data)


def _read(connection: Connection, table: Table, file: BinaryIO) -> int:
    booleans = {column.name for column in table.columns if isinstance(column.type, Boolean)}
    pieces = _pieces(file, table.name)
    names = next(pieces, None)
    if names is None or set(names) != {column.name for column in table.columns}:
        raise MalformedError(f"The backup's table {table.name} has other columns.")
    count, batch = 0, list[dict[str, Any]]()
    for values in pieces:
        row = dict(zip(names, values, strict=True))
        # SQLite tells 0 and 1 where PostgreSQL tells and takes false and true.
        batch.append({k: bool(v) if k in booleans and v is not None else v for k, v in row.items()})
        count += 1
        if len(batch) == _AT_ONCE:
            connection.execute(table.insert(), batch)
            batch = []
    if batch:
        connection.execute(table.insert(), batch)
    return count


def _pieces(file: BinaryIO, name: str) -> Iterator[list[Any]]:
    decode = msgspec.msgpack.Decoder(list[Any]).decode
    try:
        with gzip.GzipFile(fileobj=file, mode="rb") as data:
            while head := data.read(4):
                length = int.from_bytes(head, "little")
                if length > _LONGEST:
                    raise MalformedError(f"The backup's table {name} is damaged.")
                yield decode(data.read(length))
    except (OSError, EOFError, msgspec.MsgspecError) as error:
        raise MalformedError(f"The backup's table {name} is damaged: {error}.") from error


def _count_on(connection: Connection, tables: Any) -> None:  # noqa: ANN401 - a view of a dict
    """PostgreSQL counts keys apart from the rows; let it go on after them."""
    for table in tables:
        keys = list(table.primary_key)
        if len(keys) == 1 and isinstance(keys[0].type, Integer):
            name = connection.execute(select(func.pg_get_serial_sequence(table.name, keys[0].name))).scalar()
            last = connection.execute(select(func.max(keys[0]))).scalar()
            if name and last is not None:
                connection.execute(select(func.setval(name, last)))
