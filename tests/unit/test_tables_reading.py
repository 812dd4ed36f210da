"""Files of others become tables of six types, or are refused in words that say where; no process here."""

from __future__ import annotations

from pathlib import Path

import msgspec
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.workers.tables.__main__ import answer
from modelyard.workers.tables.digests import digest_of
from modelyard.workers.tables.profiles import profile
from modelyard.workers.tables.tasks import Made, Read, Refused
from modelyard.workers.tables.types import fitted, named, typed


def read(folder: Path, body: bytes, kind: str = "csv") -> msgspec.Struct:
    source = folder / "came"
    source.write_bytes(body)
    return answer(Read(str(source), kind, str(folder / "made")))


@pytest.mark.parametrize(
    ("body", "kind", "code", "words"),
    [
        (b"", "csv", "malformed", "no columns"),
        (b"a,b\n", "csv", "invalid", "no rows"),
        (b"a,a\n1,2\n", "csv", "invalid", "2 times"),
        (b"a,\n1,2\n", "csv", "invalid", "Column 2"),
        (b"a,b\n1,2,3\n", "csv", "malformed", "cannot be read"),
        (b'a,b\n1,"2\n', "csv", "malformed", ""),
        (b"a,b\n1,x\0y\n", "csv", "malformed", "Line 2 of the CSV has a NUL"),
        (
            "a,b\n1,é\n2,".encode() + "é\n".encode("latin-1"),
            "csv",
            "malformed",
            "Line 3 of the CSV is not UTF-8",
        ),
        ("a,b\n1,é\n".encode("utf-16"), "csv", "unsupported", "UTF-16"),
        (b"\x1f\x8b\x08\x00rest", "csv", "unsupported", "compressed"),
        (b"PK\x03\x04rest", "csv", "unsupported", "compressed"),
        (b",".join(b"c%d" % i for i in range(100_000)) + b"\n", "csv", "too-large", "100000 columns"),
        (b"a\n1\n", "parquet", "malformed", "not Parquet"),
        (b"PAR1" + b"\xff" * 100 + b"PAR1", "parquet", "malformed", ""),
        ("\u202eevil,b\n1,2\n".encode(), "csv", "invalid", "Column 1"),
    ],
)
def test_hostile_files_are_refused_in_words(
    tmp_path: Path, body: bytes, kind: str, code: str, words: str
) -> None:
    refused = read(tmp_path, body, kind)
    assert isinstance(refused, Refused), refused
    assert refused.code == code, refused
    assert words in refused.message
    assert refused.hint


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["1", "-2", "+3", "NA", ""], "int64"),
        (["1", "2.5", "1e-3", ".5"], "float64"),
        (["007", "12"], "string"),
        (["9223372036854775808", "1"], "float64"),
        (["true", "FALSE"], "bool"),
        (["T", "F"], "string"),
        (["2013-01-01", ""], "date"),
        (["2013-02-30"], "string"),
        (["2013-01-01T10:00", "2013-01-01 10:00:01.5Z", "2013-01-01T10:00:00+02:00"], "datetime"),
        (["", ""], "string"),
        (["a", "1"], "string"),
        (["nan", "NA"], "string"),
        ([" 1"], "string"),
    ],
)
def test_text_has_the_narrowest_type_that_all_its_values_have(values: list[str], kind: str) -> None:
    assert named(typed(pl.Series("x", values)).dtype) == kind


def test_times_are_in_utc() -> None:
    found = typed(pl.Series("x", ["2013-01-01T10:00:00+02:00", "2013-01-01 10:00"]))
    assert [value.isoformat() for value in found] == [
        "2013-01-01T08:00:00+00:00",
        "2013-01-01T10:00:00+00:00",
    ]


def test_other_separators_and_a_byte_order_mark_are_read(tmp_path: Path) -> None:
    for body in (b"a;b\n1;x,y\n", b"a\tb\n1\tx,y\n", b'\xef\xbb\xbfa,b\r\n1,"x,y"\r\n'):
        made = read(tmp_path, body)
        assert isinstance(made, Made)
        assert pl.read_parquet(tmp_path / "made").to_dicts() == [{"a": 1, "b": "x,y"}]


_NUMBERS = st.lists(st.none() | st.floats(allow_nan=False), min_size=1, max_size=30)
_TEXTS = st.lists(st.none() | st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=5))


@given(_NUMBERS)
def test_a_profile_is_told_in_json_whatever_the_numbers(values: list[float | None]) -> None:
    found = profile(pl.Series("x", values, dtype=pl.Float64))
    assert msgspec.json.decode(msgspec.json.encode(found), type=type(found)) == found
    assert found.missing == values.count(None)


@given(_TEXTS.filter(bool), _TEXTS.filter(bool))
def test_digests_are_equal_for_equal_tables_alone(a: list[str | None], b: list[str | None]) -> None:
    def digest(values: list[str | None]) -> str:
        return digest_of(pl.DataFrame({"x": pl.Series(values, dtype=pl.String)}))

    assert (digest(a) == digest(b)) == (a == b)


def test_a_digest_is_what_it_was_in_earlier_releases() -> None:
    """Another digest would make of each dataset pushed again a new version."""
    table = pl.DataFrame({"n": [1, None], "x": [0.5, -0.0], "t": ["é", None], "b": [True, None]})
    moment = pl.lit(0).cast(pl.Datetime("us", "UTC"))
    table = table.with_columns(d=pl.lit("2013-01-01").str.to_date(), m=moment)
    assert digest_of(table) == "665224174bba2b635632d0fb3bb737f68da0289e4904cd5e0a47ab4656c7efbf"


def test_types_of_parquet_become_the_six_or_are_refused() -> None:
    from datetime import time, timedelta  # noqa: PLC0415

    six = {
        "float32": pl.Series([1.5, float("nan")], dtype=pl.Float32),
        "uint8": pl.Series([1], dtype=pl.UInt8),
        "decimal": pl.Series(["1.25"]).cast(pl.Decimal(10, 2)),
        "categorical": pl.Series(["a"], dtype=pl.Categorical),
        "time": pl.Series([time(1, 2)]),
        "duration": pl.Series([timedelta(seconds=90)]),
        "naive": pl.Series(["2013-01-01T00:00:00"]).str.to_datetime(time_unit="ns"),
    }
    kinds = {name: (named(fitted(s).dtype).value, fitted(s)[0]) for name, s in six.items()}
    assert kinds["float32"] == ("float64", 1.5)
    assert fitted(six["float32"]).null_count() == 1
    assert kinds["decimal"] == ("float64", 1.25)
    assert kinds["duration"] == ("float64", 90.0)
    assert [kinds[name][0] for name in ("uint8", "categorical", "time", "naive")] == [
        "int64", "string", "string", "datetime",
    ]  # fmt: skip
    from modelyard.records.errors import InvalidError  # noqa: PLC0415

    for series in (pl.Series("l", [[1]]), pl.Series("b", [b"x"]), pl.Series("u", [2**63], dtype=pl.UInt64)):
        with pytest.raises(InvalidError, match=f"column '{series.name}'"):
            fitted(series)
