"""Bundles as folders and as one tar to send; the folder a training script writes to, and its metrics."""

from __future__ import annotations

import json
import math
import os
import shutil
import tarfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

import msgspec

from modelyard.client.code import RESERVED, files_in
from modelyard.client.csvfile import write_csv
from modelyard.client.packages import requirements_text
from modelyard.client.runtime import Answer
from modelyard.client.tables import TableColumn
from modelyard.client.tomlfile import write_toml
from modelyard.records.errors import InvalidError, NotFoundError
from modelyard.records.models import BUNDLE_FILE, EXAMPLE_FILE, EXPECTED_FILE, Bundle
from modelyard.records.projects import Parameter

METRICS_FILE = "metrics.jsonl"
REQUIREMENTS = "environment/requirements.txt"


def output_folder() -> Path:
    """Where a training script's results go: `$YARD_OUTPUT`, else `yard-output` here."""
    return Path(os.environ.get("YARD_OUTPUT") or "yard-output")


def log(**metrics: float) -> None:
    """Note metrics of a training, as often as you like; `save()` puts the last of each into the bundle.

    They go to `metrics.jsonl` in the output folder, one line a call, with the time.

    Raises:
        InvalidError: not a finite number.

    Examples:
        >>> log(mae=12.1, epoch=3)  # doctest: +SKIP
    """
    line = {"time": time.time(), **check_metrics(metrics)}
    folder = output_folder()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / METRICS_FILE).open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def parameter(name: str, otherwise: Parameter | None = None) -> Parameter:
    """A parameter of this training: of `[parameters]` in `yard.toml`, or what `yard train --set` gave it.

    Args:
        name: as it stands there.
        otherwise: what it is outside the yard, or where nothing names it.

    Raises:
        NotFoundError: nothing names it, and there is nothing else.

    Examples:
        >>> parameter("trees", 40)
        40
    """
    text = os.environ.get("YARD_PARAMETERS") or "{}"
    found = msgspec.json.decode(text, type=dict[str, Parameter]).get(name, otherwise)
    if found is None:
        raise NotFoundError(f"There is no parameter {name!r}.", "Name it in [parameters] of yard.toml.")
    return found


def last_logged(folder: Path) -> dict[str, float]:
    """The last value of each metric told to `log()`."""
    path = folder / METRICS_FILE
    found: dict[str, float] = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        found.update(msgspec.json.decode(line, type=dict[str, float]))
    found.pop("time", None)
    return found


def check_metrics(metrics: Mapping[str, object]) -> dict[str, float]:
    """The metrics as floats.

    Raises:
        InvalidError: one is not a finite number.
    """
    found = {}
    for name, value in metrics.items():
        try:
            found[str(name)] = float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            found[str(name)] = math.nan
        if not math.isfinite(found[str(name)]):
            raise InvalidError(f"The metric {name!r} is {value!r}, not a finite number.", field="metrics")
    return found


def write_bundle(
    folder: Path,
    bundle: Bundle,
    example: Sequence[TableColumn],
    answers: Sequence[Answer] | None,
    files: Mapping[str, Path | bytes],
) -> Path:
    """Write a bundle's files; an earlier bundle in the folder gives way.

    Args:
        folder: empty, new, or an earlier bundle's.
        example: the columns of `example.csv`.
        answers: the columns of `expected.csv`, or None to leave it out.
        files: path in the bundle to a file to copy, or to bytes.

    Raises:
        InvalidError: the folder holds something else, or a file has a name the bundle needs itself.
    """
    _make_room(folder)
    for name, source in files.items():
        if name.partition("/")[0] in RESERVED and name.partition("/")[0] != "environment":
            raise InvalidError(f"The file {name!r} has a name that the bundle itself needs.", "Rename it.")
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(source) if isinstance(source, bytes) else shutil.copyfile(source, path)
    if bundle.packages:
        (folder / REQUIREMENTS).parent.mkdir(exist_ok=True)
        _write(folder / REQUIREMENTS, requirements_text(bundle.packages))
    _write(folder / EXAMPLE_FILE, write_csv([(c.name, c.values) for c in example]))
    if answers is not None:
        _write(folder / EXPECTED_FILE, write_csv([(a.name, a.values) for a in answers]))
    _write(folder / BUNDLE_FILE, write_toml(_document(bundle)))
    return folder


def _document(bundle: Bundle) -> dict[str, object]:
    """The bundle as TOML has it: empty parts left out."""
    document: dict[str, object] = msgspec.to_builtins(bundle)
    signature = {side: columns for side, columns in msgspec.to_builtins(bundle.signature).items() if columns}
    return {
        key: value for key, value in {**document, "signature": signature}.items() if value not in ("", {})
    }


def _make_room(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise InvalidError(f"{folder} is a file; a bundle is written to a folder.", "Name another folder.")
    there = {path.name for path in folder.iterdir()} - {METRICS_FILE} if folder.exists() else set()
    if there and BUNDLE_FILE not in there:
        raise InvalidError(
            f"The folder {folder} holds other things than a bundle: {', '.join(sorted(there)[:5])}.",
            "Name an empty or a new folder.",
        )
    for name in there:
        path = folder / name
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    folder.mkdir(parents=True, exist_ok=True)


def _write(path: Path, text: str) -> None:
    path.write_bytes(text.encode())


def pack(folder: Path, file: IO[bytes]) -> None:
    """A bundle's files as a tar, in the same order and with the same marks each time.

    Raises:
        NotFoundError: the folder holds no bundle.
    """
    if not (folder / BUNDLE_FILE).is_file():
        raise NotFoundError(f"{folder} holds no bundle: there is no {BUNDLE_FILE}.", "Write one with save().")
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT, dereference=True) as tar:
        for path in files_in(folder):
            name = path.relative_to(folder).as_posix()
            if name != METRICS_FILE:
                tar.add(path, name, recursive=False, filter=unmarked)


def unmarked(info: tarfile.TarInfo) -> tarfile.TarInfo:
    """Without owner, time and rights, which are no part of a version."""
    info.uid = info.gid = info.mtime = 0
    info.uname = info.gname = ""
    info.mode = 0o644
    return info
