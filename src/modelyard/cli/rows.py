"""Rows as text, read and written in parts: CSV, JSON and JSON lines."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from itertools import chain, repeat
from pathlib import Path
from typing import Any, BinaryIO, Self

import msgspec
from msgspec import Struct

from modelyard.records.errors import InvalidError, MalformedError
from modelyard.records.signatures import LABEL, PREDICTION, PROBABILITY

_MOST_BYTES = 16 * 1024 * 1024  # of one request, however few rows these are
_UTF8_MARK = b"\xef\xbb\xbf"


class Form(StrEnum):
    """How a file holds rows."""

    CSV = "csv"
    JSON = "json"
    JSON_LINES = "jsonl"
    PARQUET = "parquet"

    @property
    def content_type(self) -> str:
        """As HTTP names it; JSON lines are sent as JSON."""
        return {
            Form.CSV: "text/csv",
            Form.PARQUET: "application/vnd.apache.parquet",
        }.get(self, "application/json")

    @classmethod
    def of(cls, path: Path) -> Self:
        """The form that a file's name says.

        Raises:
            InvalidError: it says none that is known.

        >>> Form.of(Path("rows.CSV"))
        <Form.CSV: 'csv'>
        """
        ending = path.suffix.lower().removeprefix(".")
        try:
            return cls({"ndjson": "jsonl", "pq": "parquet"}.get(ending, ending))
        except ValueError:
            raise InvalidError(
                f"The name {str(path)!r} does not say how rows are held.",
                "Names end in .csv, .json, .jsonl or .parquet.",
                field="file",
            ) from None

    @classmethod
    def sniff(cls, beginning: bytes) -> Self:
        """The form of what begins so, for what has no name.

        >>> Form.sniff(b' [{"x": 1}]'), Form.sniff(b"x,y")
        (<Form.JSON: 'json'>, <Form.CSV: 'csv'>)
        """
        if beginning.startswith(b"PAR1"):
            return cls("parquet")
        return cls("json" if beginning.removeprefix(_UTF8_MARK).lstrip()[:1] in (b"[", b"{") else "csv")


class Part(Struct, frozen=True):
    """Some rows as the body of a request.

    Attributes:
        kept: columns that go beside the predictions, by name.
    """

    body: bytes
    rows: int
    kept: Mapping[str, Sequence[Any]] = {}


def csv_header(file: BinaryIO) -> tuple[list[str], bytes]:
    """The columns of a CSV, and its first record, which has been read then."""
    first = next(_csv_records(file), b"").removeprefix(_UTF8_MARK)
    return next(csv.reader(io.StringIO(first.decode("utf-8", "replace"), newline="")), []), first


def parts(file: BinaryIO, form: Form, rows: int, header: bytes = b"") -> Iterator[Part]:
    """A file's rows, at most so many at once.

    Args:
        header: a CSV's first record, where it has been read already.

    Raises:
        MalformedError: it is not what its form says.
    """
    if form is Form.CSV:
        yield from _csv_parts(file, rows, header)
        return
    records = _lines(file) if form is Form.JSON_LINES else iter(_json_records(file.read()))
    for found in _grouped(records, rows):
        yield Part(b"[" + b",".join(found) + b"]", len(found))


def _csv_parts(file: BinaryIO, rows: int, header: bytes) -> Iterator[Part]:
    records = _csv_records(file)
    header = header or next(records, b"").removeprefix(_UTF8_MARK)
    if b"," in header:  # with one column an empty line is a row whose value is missing
        records = (record for record in records if record.strip())
    for found in _grouped(records, rows):
        yield Part(header + b"".join(found), len(found))


def _csv_records(file: BinaryIO) -> Iterator[bytes]:
    """The records of a CSV, as they stand there: a line end inside quotes ends none."""
    open_quotes, lines = False, []
    for line in file:
        lines.append(line)
        open_quotes ^= line.count(b'"') % 2 == 1
        if not open_quotes:
            yield b"".join(lines) if line.endswith(b"\n") else b"".join(lines) + b"\n"
            lines = []
    if lines:
        raise MalformedError(
            "The CSV ends inside quotes.", "Close them, or double those that stand in a text."
        )


def _json_records(content: bytes) -> list[bytes]:
    content = content.removeprefix(_UTF8_MARK)
    try:
        whole = msgspec.json.decode(content, type=list[msgspec.Raw] | dict[str, msgspec.Raw])
    except msgspec.MsgspecError:
        return list(_lines(io.BytesIO(content)))  # or records, one a line
    except RecursionError as error:
        raise MalformedError("The JSON is nested too deep.", "Rows are flat records.") from error
    if isinstance(whole, dict):
        if set(whole) != {"records"}:
            return [content]
        whole = msgspec.json.decode(whole["records"], type=list[msgspec.Raw])
    return [bytes(record) for record in whole]


def _lines(file: Iterable[bytes]) -> Iterator[bytes]:
    for number, line in enumerate(file, 1):
        record = line.strip()
        if not record:
            continue
        try:
            msgspec.json.decode(record, type=dict[str, msgspec.Raw])
        except (msgspec.MsgspecError, RecursionError) as error:
            raise MalformedError(
                f"Line {number} is not a JSON record: {error}.", 'Rows are records, as {"distance": 1400}.'
            ) from error
        yield record


def _grouped(records: Iterator[bytes], rows: int) -> Iterator[list[bytes]]:
    group: list[bytes] = []
    size = 0
    for record in records:
        if group and (len(group) == rows or size + len(record) > _MOST_BYTES):
            yield group
            group, size = [], 0
        group.append(record)
        size += len(record)
    if group:
        yield group


class Writer:
    """Writes predictions, in parts.

    Args:
        file: where to, as bytes.
        form: CSV, JSON or JSON lines.
    """

    def __init__(self, file: BinaryIO, form: Form) -> None:
        self._file = file
        self._form = form
        self.rows = 0

    def write(self, predictions: list[Any], kept: Mapping[str, Sequence[Any]] | None = None) -> None:
        """Append predictions as the yard answers them: numbers, labels with probabilities, or outputs.

        Args:
            kept: in CSV, columns that stand before them.
        """
        if self._form is Form.CSV:
            self._write_csv(predictions, kept or {})
        else:
            self._write_json(predictions)
        self.rows += len(predictions)

    def close(self) -> None:
        """Write what stands at the end."""
        if self._form is Form.JSON:
            self._file.write(b"\n]\n" if self.rows else b"[]\n")

    def _write_json(self, predictions: list[Any]) -> None:
        encoded = [msgspec.json.encode(prediction) for prediction in predictions]
        if self._form is Form.JSON_LINES:
            self._file.writelines(line + b"\n" for line in encoded)
        elif encoded:
            self._file.write((b",\n" if self.rows else b"[\n") + b",\n".join(encoded))

    def _write_csv(self, predictions: list[Any], kept: Mapping[str, Sequence[Any]]) -> None:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        flat = [flattened(prediction) for prediction in predictions]
        if self.rows == 0 and flat:
            writer.writerow([*kept, *flat[0]])
        before = zip(*kept.values(), strict=True) if kept else repeat(())
        for keys, row in zip(before, flat, strict=False):
            writer.writerow([_field(value) for value in (*keys, *row.values())])
        self._file.write(text.getvalue().encode())


def flattened(prediction: Any) -> dict[str, Any]:  # noqa: ANN401 - as JSON has it
    """A prediction as the columns that it has in CSV.

    >>> flattened({"label": "late", "probabilities": {"late": 0.75, "on time": 0.25}})
    {'label': 'late', 'probability:late': 0.75, 'probability:on time': 0.25}
    """
    if not isinstance(prediction, dict):
        return {PREDICTION: prediction}
    chances = prediction.get("probabilities")
    if LABEL not in prediction or not isinstance(chances, dict):
        return prediction
    named = ((PROBABILITY + name, value) for name, value in chances.items())
    return dict(chain([(LABEL, prediction[LABEL])], named))


def _field(value: object) -> object:
    return str(value).lower() if isinstance(value, bool) else value
