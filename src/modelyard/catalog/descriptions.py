"""Reads `yardbundle.toml` and checks it against the files beside it."""

from __future__ import annotations

import math
import re
import tomllib
from pathlib import Path
from typing import Any

import msgspec

from modelyard.records.errors import InvalidError
from modelyard.records.models import BUNDLE_FILE, EXAMPLE_FILE, Bundle
from modelyard.records.references import check_name, shown
from modelyard.records.signatures import Column, Signature, check_signature

FORMAT = 1
MAX_DESCRIPTION = 4 * 1024 * 1024  # bytes of yardbundle.toml: 2,000 columns with many categories each
_MODULE = re.compile(r"(?P<module>[^\W\d]\w*(?:\.[^\W\d]\w*)*):[^\W\d]\w*")
_AT = re.compile(r"(?P<what>.*) - at `\$\.?(?P<where>.*)`", re.DOTALL)
_HINT = "contract/bundle.md says what may stand there."


def read_bundle(folder: Path) -> Bundle:
    """The bundle's description, checked against the files there.

    Raises:
        InvalidError: a key is unknown, missing or of the wrong type; a file it names is not there.
    """
    values = _toml(folder / BUNDLE_FILE)
    if values.get("format") != FORMAT:
        told = shown(str(values.get("format")))
        raise _wrong("format", f"is {told}; this yard reads format {FORMAT}.", "Write format = 1.")
    for key in ("options", "packages", "lineage"):
        _check_table(key, values.get(key, {}), str, "a string")
    _check_table("metrics", values.get("metrics", {}), (int, float), "a number")
    _check_keys(values.get("signature"))
    try:
        bundle = msgspec.convert(values, Bundle)
    except (msgspec.ValidationError, OverflowError) as error:
        match = _AT.fullmatch(str(error))
        raise _wrong(
            match["where"] if match else "", f"is wrong: {match['what'] if match else error}."
        ) from error
    check_name(bundle.language, "language")
    check_signature(bundle.signature)
    _check_entry(bundle.entry, folder)
    if not (folder / EXAMPLE_FILE).is_file():
        message = f"The bundle has no {EXAMPLE_FILE}, so it cannot be checked."
        raise InvalidError(message, "Publish with an example of 1 to 100 rows.", field=EXAMPLE_FILE)
    return bundle


def _toml(file: Path) -> dict[str, Any]:
    if not file.is_file():
        raise InvalidError(
            f"The bundle has no {BUNDLE_FILE} at its top.",
            "Pack the files inside the bundle's folder, not the folder: tar -C FOLDER -cf bundle.tar .",
            field=BUNDLE_FILE,
        )
    if file.stat().st_size > MAX_DESCRIPTION:
        raise _wrong("", f"is over the limit of {MAX_DESCRIPTION} bytes.", "Leave out categories.")
    try:
        return tomllib.loads(file.read_bytes().decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise _wrong("", f"is not TOML: {error}.") from error


def _check_table(key: str, table: object, kind: type | tuple[type, ...], words: str) -> None:
    """Here and not by msgspec, which does not say which key of a table is wrong."""
    if not isinstance(table, dict):
        raise _wrong(key, "is not a table.")
    for name, value in table.items():
        if not isinstance(value, kind) or isinstance(value, bool):
            raise _wrong(f"{key}.{name}", f"is not {words}.")
        if isinstance(value, int | float) and not _is_finite(value):
            raise _wrong(f"{key}.{name}", "is not a finite number.", "Leave it out.")


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def _check_keys(signature: object) -> None:
    """Unknown keys inside the signature: the records themselves take what a newer yard may add."""
    if not isinstance(signature, dict):
        return  # msgspec says it
    _only(signature, Signature, "signature")
    for side in ("inputs", "outputs"):
        columns = signature.get(side)
        for at, column in enumerate(columns if isinstance(columns, list) else ()):
            if isinstance(column, dict):
                _only(column, Column, f"signature.{side}[{at}]")


def _only(table: dict[str, Any], record: type[msgspec.Struct], where: str) -> None:
    known = {field.name for field in msgspec.structs.fields(record)}
    for key in table.keys() - known:
        raise _wrong(f"{where}.{key}", "is not a key that the yard knows.")


def _check_entry(entry: str, folder: Path) -> None:
    """A file of the bundle, or `module:name` whose module is one."""
    files = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    if entry in files - {BUNDLE_FILE}:
        return
    if match := _MODULE.fullmatch(entry):
        place = match["module"].replace(".", "/")
        if files & {f"{place}.py", f"{place}/__init__.py"}:
            return
        wrong = f"is {shown(entry)}, but there is no {place}.py in the bundle."
        raise _wrong("entry", wrong, "Publish with the code files that the model needs.")
    wrong = f"is {shown(entry)}, which is neither a file of the bundle nor module:name."
    raise _wrong("entry", wrong, "Name the model's own file.")


def _wrong(key: str, words: str, hint: str = _HINT) -> InvalidError:
    where = f"In {BUNDLE_FILE}, {shown(key)}" if key else BUNDLE_FILE
    return InvalidError(f"{where} {words}", hint, field=key or BUNDLE_FILE)
