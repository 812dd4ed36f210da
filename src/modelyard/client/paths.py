"""Makes a bundle of files: a model's or a folder of code, and an example as CSV. Opens nothing."""

from __future__ import annotations

import importlib.util
import platform
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from modelyard.client.bundle import MOST_ROWS, as_options
from modelyard.client.code import collect, imports
from modelyard.client.csvfile import read_csv
from modelyard.client.folders import check_metrics, write_bundle
from modelyard.client.needs import find_needs
from modelyard.client.packages import read_pins
from modelyard.client.pickles import named_modules
from modelyard.client.signature import infer_signature
from modelyard.client.tables import Table
from modelyard.records.errors import InvalidError
from modelyard.records.models import BUNDLE_FILE, Bundle
from modelyard.records.signatures import Signature

_LANGUAGES = {".pkl": "python", ".pickle": "python", ".joblib": "python", ".rds": "r", ".jls": "julia"}


class FileTold(NamedTuple):
    """What a person says of a version made from files; see `Yard.publish_path` for each."""

    example: str | Path | None = None
    language: str | None = None
    entry: str | None = None
    metrics: Mapping[str, float] | None = None
    description: str = ""
    missing: bool | Iterable[str] | None = None
    lineage: Mapping[str, str] | None = None
    requirements: str | Path | None = None
    python: str | None = None
    options: Mapping[str, Any] | None = None


def is_bundle(path: Path) -> bool:
    """Whether a path is a bundle's folder."""
    return (path / BUNDLE_FILE).is_file()


def bundle_from_path(path: Path, folder: Path, told: FileTold) -> Path:
    """Write a bundle from a model's file, or a folder of code with an entry; outputs are left to the check.

    Raises:
        InvalidError: the language is not known, or example, entry or requirements are missing or wrong.
    """
    if not path.exists():
        raise InvalidError(f"There is no file or folder {str(path)!r}.", "Correct the path.", field="path")
    language, entry = _language(path, told), _entry(path, told)
    columns = _example(told)
    options = as_options(told.options or {})
    files = collect([path]) if path.is_dir() else {path.name: path}
    pins: dict[str, str] = {}
    if language == "python":
        options.setdefault("input", "pandas" if importlib.util.find_spec("pandas") else "columns")
        pins = _pins(path, files, options, told)
    whole = Table(options.get("input", ""), tuple(columns), options)
    bundle = Bundle(
        format=1,
        language=language,
        language_version=told.python or (platform.python_version() if language == "python" else ""),
        entry=entry,
        description=told.description,
        options=options,
        packages=pins,
        metrics=check_metrics(told.metrics or {}),
        lineage={str(key): str(value) for key, value in (told.lineage or {}).items()},
        signature=Signature(infer_signature(whole, told.missing).inputs),
    )
    if told.requirements and language != "python":
        files[f"environment/{Path(told.requirements).name}"] = Path(told.requirements)
    first = [msgspec.structs.replace(column, values=column.values[:MOST_ROWS]) for column in columns]
    return write_bundle(folder, bundle, first, None, files)


def _language(path: Path, told: FileTold) -> str:
    if told.language:
        return told.language
    found = "python" if path.is_dir() else _LANGUAGES.get(path.suffix.lower())
    if found is None:
        raise InvalidError(
            f"The name {path.name!r} does not tell the model's language.",
            f"Say it with --language; {', '.join(_LANGUAGES)} are known by their names.",
            field="language",
        )
    return found


def _entry(path: Path, told: FileTold) -> str:
    if path.is_file():
        return told.entry or path.name
    if not told.entry:
        raise InvalidError(
            f"{path} is a folder of code, so the model's place in it must be named.",
            "Say it with --entry module:function or module:Class.",
            field="entry",
        )
    return told.entry


def _example(told: FileTold) -> list[Any]:
    if told.example is None:
        raise InvalidError(
            "A model's file does not say which columns it takes.",
            "Give a CSV file with some rows of input: --example rows.csv.",
            field="example",
        )
    try:
        return read_csv(Path(told.example).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidError(f"The example cannot be read: {error}.", "Give a CSV file in UTF-8.") from error


def _pins(
    path: Path, files: Mapping[str, Path], options: Mapping[str, str], told: FileTold
) -> dict[str, str]:
    """The packages: what a requirements file says, else what is installed here of what the model names."""
    if told.requirements:
        return read_pins(Path(told.requirements).read_text(encoding="utf-8").splitlines())
    if path.suffix == ".joblib":
        raise InvalidError(
            "A .joblib file does not show which packages it needs.",
            "Say them with --requirements FILE (as `pip freeze` writes them), or publish from a session.",
            field="requirements",
        )
    libraries = {options["input"]} & {"pandas", "polars"}
    if path.is_dir():
        own = {name.partition("/")[0].removesuffix(".py") for name in files}
        named = {m for file in files.values() if file.suffix == ".py" for m in imports(file)}
        return find_needs(libraries | (named - own)).pins
    return find_needs(libraries | named_modules(path.read_bytes())).pins
