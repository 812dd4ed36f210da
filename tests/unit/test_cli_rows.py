"""Files of rows in parts: nothing lost, nothing split, nothing made up."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.cli.rows import Form, Writer, flattened, parts
from modelyard.records.errors import InvalidError, MalformedError

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), max_size=8)


def bodies(content: bytes, form: Form, rows: int = 2) -> list[tuple[bytes, int]]:
    return [(part.body, part.rows) for part in parts(io.BytesIO(content), form, rows)]


@given(st.lists(st.tuples(TEXT, TEXT), max_size=12), st.integers(1, 5), st.sampled_from(["\n", "\r\n"]))
def test_csv_parts_hold_each_row_once_whatever_is_in_it(
    table: list[tuple[str, str]], rows: int, end: str
) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator=end, quoting=csv.QUOTE_ALL)
    writer.writerows([("a", "b"), *table])
    found = []
    for body, count in bodies(text.getvalue().encode(), Form.CSV, rows):
        header, *records = csv.reader(io.StringIO(body.decode(), newline=""))
        assert header == ["a", "b"]
        assert len(records) == count <= rows
        found += [tuple(record) for record in records]
    assert found == table


@given(st.lists(st.dictionaries(TEXT, st.none() | st.booleans() | st.integers() | TEXT, max_size=3)))
def test_json_parts_hold_each_record_once(records: list[dict[str, Any]]) -> None:
    lines = b"".join(json.dumps(r).encode() + b"\n" for r in records)
    for content, form in [
        (json.dumps(records).encode(), Form.JSON),
        (json.dumps({"records": records}, indent=1).encode(), Form.JSON),
        (b"\xef\xbb\xbf" + json.dumps(records).encode(), Form.JSON),
        (lines, Form.JSON_LINES),
        (lines.replace(b"\n", b"\n\n"), Form.JSON_LINES),
    ]:
        found = [(json.loads(body), count) for body, count in bodies(content, form)]
        assert [record for part, _ in found for record in part] == records
        assert all(len(part) == count <= 2 for part, count in found)


def test_json_may_be_one_record_or_lines() -> None:
    assert bodies(b'{"x": 1}', Form.JSON) == [(b'[{"x": 1}]', 1)]
    assert bodies(b'{"x": 1}\n{"x": 2}\n', Form.JSON) == [(b'[{"x": 1},{"x": 2}]', 2)]


def test_csv_marks_and_empty_lines() -> None:
    assert bodies(b"\xef\xbb\xbfa,b\n1,2\n\n", Form.CSV) == [(b"a,b\n1,2\n", 1)]
    assert bodies(b"a\n1\n\n2", Form.CSV) == [(b"a\n1\n\n", 2), (b"a\n2\n", 1)]  # an empty line: missing
    assert bodies(b"a,b\n", Form.CSV) == bodies(b"", Form.CSV) == []


@pytest.mark.parametrize(
    ("content", "form"),
    [
        (b'a,b\n1,"2\n', Form.CSV),
        (b'[{"x": 1}', Form.JSON),
        (b"[1, 2] [3]", Form.JSON),
        (b"nonsense", Form.JSON),
        (b'{"x": 1}\n[2]\n', Form.JSON_LINES),
        (b"[" * 100_000, Form.JSON),
        (b'{"x": ' * 100_000, Form.JSON_LINES),
    ],
)
def test_what_is_not_as_its_form_says_is_malformed(content: bytes, form: Form) -> None:
    with pytest.raises(MalformedError):
        bodies(content, form)


def test_a_part_is_small_however_long_its_rows_are() -> None:
    row = b"x" * 9_000_000 + b",1\n"
    assert [count for _, count in bodies(b"a,b\n" + row * 3, Form.CSV, 1000)] == [1, 1, 1]


def written(form: Form, *answers: list[Any]) -> str:
    file = io.BytesIO()
    writer = Writer(file, form)
    for answer in answers:
        writer.write(answer)
    writer.close()
    return file.getvalue().decode()


def test_numbers_labels_and_outputs_are_written_in_each_form() -> None:
    labels: list[Any] = [{"label": True, "probabilities": {"true": 0.75, "false": 0.25}}]
    assert written(Form.CSV, [1.5, None], [2]) == 'prediction\n1.5\n""\n2\n'
    assert written(Form.CSV, labels) == "label,probability:true,probability:false\ntrue,0.75,0.25\n"
    assert written(Form.CSV, [{"low": 1, "high": 2}]) == "low,high\n1,2\n"
    assert json.loads(written(Form.JSON, [1.5], labels)) == [1.5, *labels]
    assert json.loads(written(Form.JSON)) == []
    assert written(Form.JSON_LINES, [1.5], [2]) == "1.5\n2\n"
    assert flattened({"label": "a"}) == {"label": "a"}


def test_forms_are_told_by_name_or_by_the_first_bytes() -> None:
    assert Form.of(Path("a.ndjson")) is Form.JSON_LINES
    assert Form.sniff(b"PAR1\x15") is Form.PARQUET
    assert Form.sniff(b'{"x"') is Form.JSON
    assert Form.sniff(b"") is Form.CSV
    for name in ("rows", "rows.xlsx", ".csv.gz"):
        with pytest.raises(InvalidError, match=r"\.parquet"):
            Form.of(Path(name))
