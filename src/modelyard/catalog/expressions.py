"""A metric of one's own as a SQL expression over labelled rows, contained by construction.

The text is taken apart, and only what is known is put together again: numbers, texts, the columns there are,
arithmetic, comparisons, CASE, and functions of numbers. There is no SELECT, no FROM, no function that opens,
sends, repeats or parses anything, so there is nothing to forbid.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from difflib import get_close_matches

import polars as pl

from modelyard.records.errors import InvalidError
from modelyard.records.metrics import MAX_EXPRESSION
from modelyard.records.outcomes import ACTUAL
from modelyard.records.predictions import INPUT, OUTPUT
from modelyard.records.quantiles import point_of
from modelyard.records.references import shown
from modelyard.records.signatures import PREDICTION, ColumnType, Signature, Task

_FUNCTIONS = frozenset(
    (
        *(
            "abs",
            "avg",
            "ceil",
            "coalesce",
            "count",
            "exp",
            "floor",
            "greatest",
            "if",
            "least",
            "ln",
            "log10",
        ),
        *("max", "median", "min", "mod", "nullif", "pow", "quantile_cont", "round", "sign", "sqrt", "stddev"),
        *("sum", "variance"),
    )
)
_KEYWORDS = frozenset(
    (
        "and",
        "between",
        "case",
        "else",
        "end",
        "false",
        "in",
        "is",
        "not",
        "null",
        "or",
        "then",
        "true",
        "when",
    )
)
_TOKEN = re.compile(
    r"\s*(?:(?P<number>[0-9]{1,30}(?:\.[0-9]{1,30})?(?:[eE][+-]?[0-9]{1,3})?)(?![A-Za-z0-9_.])"
    r"|(?P<text>'(?:[^'\0]|'')*')|\"(?P<quoted>(?:[^\"\0]|\"\")+)\""
    r"|(?P<word>[A-Za-z_][A-Za-z0-9_]*)|(?P<sign><=|>=|<>|!=|[-+*/%(),<>=]))",
    re.ASCII,
)
_FAILURES = (pl.exceptions.PolarsError, pl.exceptions.PanicException, OverflowError)


def compiled(expression: str, columns: Iterable[str]) -> pl.Expr:
    """A SQL expression over these columns.

    Raises:
        InvalidError: it is none, or has what is not known here; the message names it.
    """
    if not expression.strip() or len(expression) > MAX_EXPRESSION:
        message = f"The expression has {len(expression):,} characters."
        raise InvalidError(message, f"Write 1 to {MAX_EXPRESSION:,}.", field="expression")
    text = " ".join(_tokens(expression, set(columns)))
    try:
        return pl.sql_expr(text)
    except _FAILURES as error:
        raise _refused(error) from error


def evaluated(expression: str, table: pl.DataFrame) -> pl.Series:
    """The values of an expression: one a row, or a single one where it sums rows up; as doubles.

    Raises:
        InvalidError: as `compiled`; or its values are no numbers.
    """
    return computed(compiled(expression, table.columns), table)


def computed(expression: pl.Expr, table: pl.DataFrame) -> pl.Series:
    """The values of what `compiled` gave; see `evaluated`."""
    try:
        found = table.select(expression.alias("value")).to_series()
    except _FAILURES as error:
        raise _refused(error) from error
    if not (found.dtype.is_numeric() or found.dtype in (pl.Boolean, pl.Null)):
        message = "The expression's values are no numbers."
        raise InvalidError(message, "Compare texts, as `label = actual`.", field="expression")
    return found.cast(pl.Float64)


def check(expression: str, signature: Signature) -> None:
    """See that an expression can be measured on such a model's labelled rows.

    Raises:
        InvalidError: as `evaluated`.
    """
    evaluated(expression, sample(signature))


def own_table(rows: pl.DataFrame, signature: Signature) -> pl.DataFrame:
    """Labelled rows, under the names of the frames, with the columns an expression can name.

    `actual`; `prediction` of a regression; the outputs and the inputs by their own names, outputs first.
    """
    is_number = signature.task is Task.REGRESSION
    kind = pl.Float64 if is_number else pl.String
    columns = {ACTUAL: rows[ACTUAL].cast(kind)}
    if is_number and OUTPUT + point_of(signature) in rows.columns:
        columns[PREDICTION] = rows[OUTPUT + point_of(signature)].cast(pl.Float64)
    for side, named in ((OUTPUT, signature.outputs), (INPUT, signature.inputs)):
        for column in named:
            if column.name not in columns and side + column.name in rows.columns:
                columns[column.name] = rows[side + column.name]
    return pl.DataFrame([series.alias(name) for name, series in columns.items()])


def sample(signature: Signature) -> pl.DataFrame:
    """A few labelled rows of such a model, all of them alike but for the numbers."""
    values = {
        ColumnType.STRING: pl.Series(["a", "b", None]),
        ColumnType.BOOL: pl.Series([True, False, None]),
        ColumnType.INT64: pl.Series([1, 2, None]),
        ColumnType.FLOAT64: pl.Series([0.25, 0.5, None]),
    }
    rows = {INPUT + c.name: values[c.type] for c in signature.inputs}
    rows |= {OUTPUT + c.name: values[c.type].fill_null(strategy="forward") for c in signature.outputs}
    is_number = signature.task is Task.REGRESSION
    actual = pl.Series([0.0, 1.0, 2.0]) if is_number else pl.Series(["a", "b", "a"])
    return own_table(pl.DataFrame(rows | {ACTUAL: actual}), signature)


def _tokens(expression: str, columns: set[str]) -> Iterator[str]:
    at, end = 0, len(expression.rstrip())
    while at < end:
        found = _TOKEN.match(expression, at)
        if found is None:
            rest = expression[at : at + 20].strip()
            raise _unknown(
                f"{shown(rest)} in the expression", "Write numbers, 'texts', columns and + - * / %."
            )
        at = found.end()
        word = found["word"]
        if word is None and found["quoted"] is None:
            yield found[0].strip()
        elif word is not None and word.lower() in _KEYWORDS:
            yield word
        elif word is not None and expression[at:].lstrip().startswith("("):
            yield _function(word)
        else:
            yield _column(word or found["quoted"].replace('""', '"'), columns)


def _function(word: str) -> str:
    if word.lower() not in _FUNCTIONS:
        raise _unknown(f"The function {shown(word)}", f"There are {', '.join(sorted(_FUNCTIONS))}.")
    return word.lower()


def _column(name: str, columns: set[str]) -> str:
    if name not in columns:
        near = get_close_matches(name, columns, n=1)
        hint = f"Do you mean {near[0]}?" if near else f"There are {', '.join(sorted(columns)[:12])}."
        raise _unknown(f"The column {shown(name)}", hint)
    escaped = name.replace('"', '""')
    return f'"{escaped}"'


def _unknown(what: str, hint: str) -> InvalidError:
    return InvalidError(f"{what} is not known here.", hint, field="expression")


def _refused(error: BaseException) -> InvalidError:
    line = str(error).partition("\n")[0].rstrip(".")[:300]
    hint = "See docs/watching.md for what an expression may have."
    return InvalidError(f"The expression cannot be computed: {line}.", hint, field="expression")
