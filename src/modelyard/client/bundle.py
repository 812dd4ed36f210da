"""Writes a bundle (`contract/bundle.md`) out of a model in this session."""

from __future__ import annotations

import pickle
import platform
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from modelyard.client.answering import answer_example
from modelyard.client.folders import check_metrics, last_logged, output_folder, write_bundle
from modelyard.client.needs import find_needs
from modelyard.client.pickles import pickle_model
from modelyard.client.runtime import Answer, can_answer
from modelyard.client.signature import infer_signature
from modelyard.client.tables import Table, head, read_table
from modelyard.records.errors import InvalidError
from modelyard.records.models import Bundle
from modelyard.records.signatures import Column, Signature

MOST_ROWS = 100
MODEL_FILE = "model.pkl"
_LIBRARIES = {"pandas", "polars"}  # that the runtime needs for an input of this kind


class Told(NamedTuple):
    """What a person says of a version; see `save` for each."""

    metrics: Mapping[str, float] | None = None
    code: Sequence[str | Path] | None = None
    description: str = ""
    missing: bool | Iterable[str] | None = None
    lineage: Mapping[str, str] | None = None
    packages: Mapping[str, str] | Iterable[str] | None = None
    entry: str | None = None
    options: Mapping[str, Any] | None = None


def save(  # noqa: PLR0913  # what can be said of a version, by name
    model: object,
    folder: str | Path | None = None,
    *,
    example: Any,
    metrics: Mapping[str, float] | None = None,
    code: Sequence[str | Path] | None = None,
    description: str = "",
    missing: bool | Iterable[str] | None = None,
    lineage: Mapping[str, str] | None = None,
    packages: Mapping[str, str] | Iterable[str] | None = None,
    entry: str | None = None,
    options: Mapping[str, Any] | None = None,
) -> Path:
    r"""Write a model as a bundle: how a training script ends.

    Args:
        model: anything that can be pickled and has `predict` or can be called; None where `entry` says it.
        folder: where to; by default `$YARD_OUTPUT`, else `yard-output` here, and then with the metrics told
            to `log()`.
        example: rows that the model predicts on, of the kind it is given: a DataFrame, a two-dimensional
            array, a dict of columns or a list of dicts. The first 100 are kept and answered again at the
            check.
        metrics: numbers, as `{"mae": 12.1}`.
        code: further files and folders that the model needs. Your own modules that it names are found
            without.
        description: a sentence about this version.
        missing: the columns that may miss values though the example does not, or True for all.
        lineage: where it comes from, as `{"code": "4f1c2e"}`.
        packages: exact versions beside, or instead of, those found: `{"numpy": "2.4.6"}` or
            `["numpy==2.4.6"]`.
        entry: `module:function` or `module:Class` in the code, with model=None.
        options: for the runtime: `input`, `method`, `outputs`, `classes` … (docs/python.md).

    Returns:
        The folder.

    Raises:
        InvalidError: the model cannot be pickled, fails on its example, or its example cannot be sent.

    Examples:
        >>> import tempfile
        >>> folder = tempfile.mkdtemp()
        >>> bundle = save(lambda rows: [2 * row["x"] for row in rows], folder, example=[{"x": 1.5}])
        >>> (bundle / "expected.csv").read_text()
        '"prediction"\n3.0\n'
    """
    told = Told(metrics, code, description, missing, lineage, packages, entry, options)
    if folder is not None:
        return make_bundle(model, Path(folder), example, told)
    logged = last_logged(output_folder())
    return make_bundle(model, output_folder(), example, told._replace(metrics={**logged, **(metrics or {})}))


def make_bundle(model: object, folder: Path, example: Any, told: Told) -> Path:
    """Write a bundle into a folder; see `save`."""
    if (model is None) == (told.entry is None):
        raise InvalidError("Give a model, or None and an entry='module:function' in its code.", field="entry")
    whole = read_table(example)
    table = _cut(whole, MOST_ROWS)
    options = {**whole.options, **as_options(told.options or {})}
    inputs = infer_signature(whole, told.missing).inputs
    modules, data, answers = {options["input"]} & _LIBRARIES, None, None
    if told.entry is None:
        pickled = pickle_model(model)
        data, modules = pickled.data, modules | pickled.modules
        answers = _answers(data, options, inputs, table, _own(example, told))
    needs = find_needs(modules, told.code, told.packages)
    bundle = Bundle(
        format=1,
        language="python",
        language_version=platform.python_version(),
        entry=told.entry or MODEL_FILE,
        description=told.description,
        options=options,
        packages=needs.pins,
        metrics=check_metrics(told.metrics or {}),
        lineage={str(key): str(value) for key, value in (told.lineage or {}).items()},
        signature=Signature(inputs, tuple(Column(answer.name, answer.type) for answer in answers or ())),
    )
    files: dict[str, Path | bytes] = {**needs.files}
    if data is not None:
        files[MODEL_FILE] = data
    return write_bundle(folder, bundle, table.columns, answers, files)


def _own(example: Any, told: Told) -> Any:
    """The example to ask the model itself with; None where it is of another kind than the model is given.

    That is so where a person chose the kind, and where columns are lists, which the model gets as arrays.
    """
    lists = isinstance(example, Mapping) and any(isinstance(column, list) for column in example.values())
    return None if lists or "input" in (told.options or {}) else head(example, MOST_ROWS)


def _answers(
    data: bytes, options: dict[str, str], inputs: tuple[Column, ...], table: Table, own: Any
) -> list[Answer] | None:
    """The answers to the example of the model out of its own pickle; None where numpy is not there."""
    if not can_answer():
        return None
    try:
        model = pickle.loads(data)  # noqa: S301  # our own bytes, made a moment ago
    except Exception as error:
        raise InvalidError(
            f"The model can be pickled, but not read back: {type(error).__name__}: {error}.",
            "A class of its needs a __reduce__ or __setstate__ that works.",
        ) from error
    return answer_example(model, options, inputs, table, own)


def _cut(table: Table, rows: int) -> Table:
    columns = tuple(msgspec.structs.replace(c, values=c.values[:rows]) for c in table.columns)
    return msgspec.structs.replace(table, columns=columns)


def as_options(options: Mapping[str, Any]) -> dict[str, str]:
    """Options as the strings a bundle holds; lists and the like as JSON.

    >>> as_options({"outputs": ["low", "high"]})
    {'outputs': '["low","high"]'}
    """
    return {
        str(key): value if isinstance(value, str) else msgspec.json.encode(value).decode()
        for key, value in options.items()
    }
