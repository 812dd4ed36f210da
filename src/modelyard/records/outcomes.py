"""Outcomes: the column they come in, and how the values of key columns are compared."""

from __future__ import annotations

import re

ACTUAL = "actual"  # the column with what really came
_WHOLE = re.compile(r"-?[0-9]{1,18}\.0+", re.ASCII)


def key_text(value: object) -> str | None:
    """A key's value as text, the same whether it came as CSV or JSON; None for what is no key.

    >>> key_text(12), key_text(12.0), key_text("12.0"), key_text([1])
    ('12', '12', '12', None)
    """
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, str):
        return value.partition(".")[0] if _WHOLE.fullmatch(value) else value
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | float) else None
