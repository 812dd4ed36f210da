"""What of recorded rows is kept: personal columns are dropped, or hashed under a key of the model's own."""

from __future__ import annotations

import hashlib

import msgspec
import polars as pl

from modelyard.records.predictions import INPUT, OUTPUT, Keeping

KEYS = "keys"
_BYTES = 16


class Keeper:
    """Applies a rule to rows under the names of the frames.

    Args:
        salt: the key of the hashes. Under it equal values have equal hashes; who does not have it cannot
            find a value by trying all.

    Examples:
        >>> keep = Keeper(Keeping(drop=("name",)), b"")
        >>> keep(pl.DataFrame({"in:name": ["Ada"], "in:x": [1.0]})).columns
        ['in:x']
    """

    def __init__(self, rule: Keeping, salt: bytes) -> None:
        self.rule = rule
        self._salt = salt
        self._dropped = frozenset(rule.drop)
        self._hashed = frozenset(rule.hash)

    def __call__(self, table: pl.DataFrame) -> pl.DataFrame:
        """The rows as they are kept."""
        if not (self._dropped or self._hashed):
            return table
        table = table.drop([name for name in table.columns if _plain(name) in self._dropped])
        hashed = [self._hash(table[name]) for name in table.columns if self.hides(name)]
        table = table.with_columns(hashed)
        return table.with_columns(self._in_keys(table[KEYS])) if KEYS in table.columns else table

    def only_drops(self) -> Keeper:
        """The rule for rows that are hashed already."""
        return Keeper(Keeping(self.rule.days, self.rule.drop), b"")

    def hides(self, name: str) -> bool:
        """Whether a column of the frames has hashes for values."""
        return _plain(name) in self._hashed

    def digest(self, value: object) -> str:
        """The keyed hash that stands for a value."""
        text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
        return hashlib.blake2b(text.encode(), digest_size=_BYTES, key=self._salt).hexdigest()

    def _hash(self, series: pl.Series) -> pl.Series:
        values = series.drop_nulls().unique().to_list()
        known = pl.DataFrame(
            {"v": pl.Series(values, dtype=series.dtype), "h": [self.digest(v) for v in values]},
            schema_overrides={"h": pl.String},
        )
        found = pl.DataFrame({"v": series}).join(known, on="v", how="left", maintain_order="left")
        return found["h"].alias(series.name)

    def _in_keys(self, keys: pl.Series) -> pl.Series:
        known: dict[str, str | None] = {k: self._keys_of(k) for k in keys.drop_nulls().unique().to_list()}
        kept = [None if k is None else known[k] for k in keys.to_list()]
        return pl.Series(keys.name, kept, dtype=pl.String)

    def _keys_of(self, text: str) -> str | None:
        keys = msgspec.json.decode(text)
        kept = {
            k: self.digest(v) if k in self._hashed and v is not None else v
            for k, v in keys.items()
            if k not in self._dropped
        }
        return msgspec.json.encode(kept).decode() if kept else None


def _plain(name: str) -> str:
    return next((name.removeprefix(side) for side in (INPUT, OUTPUT) if name.startswith(side)), "")
