"""The digest of a table: the same for the same values, whatever wrote the file they came in."""

from __future__ import annotations

import hashlib

import numpy as np
import polars as pl

from modelyard.workers.tables.types import named

_ROWS = 1_000_000


def digest_of(table: pl.DataFrame) -> str:
    """Sha256, in hex, over the number of rows and, for each column in order, its name, type and values.

    Values are hashed as: which are there (a byte a row), then 8 bytes little-endian a number or time (0 where
    missing; -0.0 as 0.0), a byte a boolean; of texts the 8-byte lengths, then all
    bytes; a million rows a block.
    """
    whole = hashlib.sha256(f"table 1\n{table.height}\n".encode())
    for series in table:
        name = series.name.encode()
        whole.update(f"{named(series.dtype)} {len(name)}\n".encode() + name)
        for start in range(0, len(series), _ROWS):
            for part in _bytes(series.slice(start, _ROWS)):
                whole.update(part)
    return whole.hexdigest()


def _bytes(series: pl.Series) -> tuple[bytes, ...]:
    there = series.is_not_null().to_numpy().astype(np.uint8).tobytes()
    if series.dtype == pl.String:
        filled = series.fill_null("")
        lengths = filled.str.len_bytes().cast(pl.Int64).to_numpy().astype("<i8").tobytes()
        return there, lengths, filled.str.join("")[0].encode()
    if series.dtype == pl.Boolean:
        return there, series.fill_null(value=False).to_numpy().astype(np.uint8).tobytes()
    if series.dtype == pl.Float64:
        values = series.fill_null(0.0).to_numpy() + 0.0  # -0.0 becomes 0.0
        return there, values.astype("<f8").tobytes()
    numbers = series.to_physical().cast(pl.Int64).fill_null(0).to_numpy()
    return there, numbers.astype("<i8").tobytes()
