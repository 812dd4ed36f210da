"""A project: the folder that trains a model, as its `yard.toml` describes it."""

from __future__ import annotations

import math
import re
import shlex
import tomllib
from collections.abc import Mapping
from typing import Literal, NoReturn

from msgspec import Struct, field

from modelyard.records.capacity import Demand, check_demand
from modelyard.records.errors import InvalidError, YardError
from modelyard.records.hosts import check_hosts
from modelyard.records.policies import Promote, Retrain, read_promote, read_retrain
from modelyard.records.references import Reference, shown
from modelyard.records.spans import bytes_of, seconds_of
from modelyard.records.tables import line_of, read_table

PROJECT_FILE = "yard.toml"
LANGUAGES = ("python", "r", "julia")

Parameter = str | int | float | bool

_TABLES = ("train", "parameters", "serve", "retrain", "promote")
_KEYS = ("model", "language", *_TABLES)
_FILE_NAME = re.compile(r"[a-z][a-z0-9_-]{0,62}", re.ASCII)
_PARAMETER = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,62}", re.ASCII)
_MOST_DATA = 50
_MOST_PARAMETERS = 200
_LONGEST_TEXT = 1_000
_LONGEST = 30 * 86_400  # seconds of a job
_LEAST_MEMORY = 64 * 10**6
_LARGEST_FILE = 256 * 1024  # bytes of yard.toml


class Train(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """`[train]`: what is run, on which data, and what it may use.

    Attributes:
        run: the command, as `python train.py`; no shell stands between.
        data: the name of the file in `$YARD_DATA` to the dataset that is laid out there, as
            `department/name`, or `department/name/3` for that version always.
        target: the column that is learned. The newest rows of the dataset that has it are held out.
        form: of the data files, `csv` or `parquet`.
        time: the longest a job may take.
        memory: the most it may use, all its processes together.
        disk: the most it may write.
        cpus, gpus: what is reserved for it where jobs are placed on a cluster.
        hosts: outside the yard that it may reach once an owner has approved them, as
            `files.example.org:443`. Without, it has no network.

    Raises:
        InvalidError: a value that means nothing; `key` names it.
    """

    run: str
    data: dict[str, str] = field(default_factory=dict)
    target: str = ""
    form: Literal["csv", "parquet"] = "csv"
    time: str = "1h"
    memory: str = "4 GB"
    disk: str = "4 GB"
    cpus: float = 1.0
    gpus: float = 0.0
    hosts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        try:
            words = shlex.split(self.run)
        except ValueError as error:
            words, why = [], str(error)
        else:
            why = "it is empty" if not words else ""
        if not words or "\0" in self.run:
            _refuse("train.run", self.run, f"a command, as `python train.py` ({why or 'it has a NUL'})")
        if len(self.data) > _MOST_DATA:
            _refuse("train.data", f"{len(self.data)} datasets", f"at most {_MOST_DATA} datasets")
        for name, dataset in self.data.items():
            _check_data(name, dataset)
        if not 1 <= (seconds_of(self.time) or 0) <= _LONGEST:
            _refuse("train.time", self.time, "a number and s, m, h or d, as `2h`, of 30 days at most")
        if (bytes_of(self.memory) or 0) < _LEAST_MEMORY:
            _refuse("train.memory", self.memory, "a size, as `4 GB`, of 64 MB at least")
        check_demand(self.cpus, self.gpus, "train")
        if not bytes_of(self.disk):
            _refuse("train.disk", self.disk, "a size, as `4 GB`")
        check_hosts(self.hosts, "train.hosts")

    @property
    def command(self) -> list[str]:
        """`run` as program and arguments."""
        return shlex.split(self.run)

    @property
    def seconds(self) -> int:
        """`time` in seconds."""
        return seconds_of(self.time) or 0

    @property
    def memory_bytes(self) -> int:
        """`memory` in bytes."""
        return bytes_of(self.memory) or 0

    @property
    def disk_bytes(self) -> int:
        """`disk` in bytes."""
        return bytes_of(self.disk) or 0


class Project(Struct, frozen=True):
    """What `yard.toml` says.

    Attributes:
        model: `department/name`, which its jobs train.
        parameters: `[parameters]`: what a script reads by `yard.parameter()`, and a person may set for one
            job.
        serve, retrain, promote: None where the file has no such table.
    """

    model: str
    language: str
    train: Train
    parameters: dict[str, Parameter]
    serve: Demand | None
    retrain: Retrain | None
    promote: Promote | None


def read_project(text: str, file: str = PROJECT_FILE) -> Project:
    """The project that a `yard.toml` describes.

    Args:
        text: the file's.
        file: what it is called in messages.

    Raises:
        InvalidError: what is wrong, with `file`, `line` and `key`.
    """
    if len(text) > _LARGEST_FILE:
        raise InvalidError(f"{file} has {len(text)} characters; {_LARGEST_FILE} are enough.", file=file)
    try:
        return _project(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"\(at line (\d+)", str(error))
        line = int(found[1]) if found else len(text.splitlines())
        raise InvalidError(
            f"{file} is no TOML: {error}.", "Correct that line.", file=file, line=line, key=""
        ) from None
    except RecursionError:
        raise InvalidError(f"{file} is nested too deeply.", file=file, line=1, key="") from None
    except YardError as error:
        key = str(error.fields.get("key", ""))
        line = line_of(text, key) or 1
        raise InvalidError(
            f"{file}, line {line}: {error.message}", error.hint, file=file, line=line, key=key
        ) from None


def check_parameters(given: Mapping[str, object]) -> dict[str, Parameter]:
    """Parameters that can be kept and compared: finite numbers, short texts, true and false.

    Raises:
        InvalidError: one that cannot.
    """
    if len(given) > _MOST_PARAMETERS:
        _refuse("parameters", f"{len(given)} parameters", f"at most {_MOST_PARAMETERS}")
    found: dict[str, Parameter] = {}
    for name, value in given.items():
        key = f"parameters.{name}"
        if not _PARAMETER.fullmatch(name):
            _refuse(key, name, "a name of letters, digits, '_', '.' and '-'")
        if not isinstance(value, str | int | float) or (
            isinstance(value, float) and not math.isfinite(value)
        ):
            _refuse(key, str(value), "a finite number, a text, true or false")
        if len(str(value)) > _LONGEST_TEXT:
            _refuse(key, str(value), f"of {_LONGEST_TEXT} characters at most")
        found[name] = value
    return found


def dataset_of(text: str) -> tuple[str, int | None]:
    """A dataset as `[train] data` names it: `department/name`, and its version where one is fixed.

    >>> dataset_of("operations/flights/3"), dataset_of("operations/flights")
    (('operations/flights', 3), ('operations/flights', None))
    """
    at = Reference.parse(text)
    return at.model, at.version


def _project(document: dict[str, object]) -> Project:
    for key in document:
        if key not in _KEYS:
            hint = f"It knows {', '.join(_KEYS)}."
            raise InvalidError(f"The key {shown(key)} is not known.", hint, key=key)
    tables = {name: _table(document, name) for name in _TABLES}
    train = tables["train"]
    if train is None:
        raise InvalidError("There is no [train].", 'Write [train] and run = "python train.py".', key="train")
    serve, retrain, promote = tables["serve"], tables["retrain"], tables["promote"]
    return Project(
        model=_model(document.get("model")),
        language=_language(document.get("language")),
        train=read_table(train, Train, "train"),
        parameters=check_parameters(tables["parameters"] or {}),
        serve=None if serve is None else read_table(serve, Demand, "serve"),
        retrain=None if retrain is None else read_retrain(retrain),
        promote=None if promote is None else read_promote(promote),
    )


def _table(document: dict[str, object], name: str) -> dict[str, object] | None:
    found = document.get(name)
    if found is not None and not isinstance(found, dict):
        raise InvalidError(f"{name} is {shown(str(found))}.", f"It must be a table: [{name}].", key=name)
    return found


def _model(found: object) -> str:
    try:
        if isinstance(found, str) and Reference.parse(found).model == found:
            return found
    except InvalidError:
        pass
    if found is None:
        raise InvalidError("There is no model.", 'Write model = "department/name" at its top.', key="model")
    raise InvalidError(f"model is {shown(str(found))}.", "It must be a name: department/name.", key="model")


def _language(found: object) -> str:
    if found in LANGUAGES:
        return str(found)
    what = "There is no language" if found is None else f"language is {shown(str(found))}"
    raise InvalidError(f"{what}.", f"It must be one of {', '.join(LANGUAGES)}.", key="language")


def _check_data(name: str, dataset: str) -> None:
    key = f"train.data.{name}"
    if not _FILE_NAME.fullmatch(name):
        _refuse(key, name, "the name of a file: small letters, digits, '_' and '-', as `flights`")
    try:
        at = Reference.parse(dataset)
    except InvalidError:
        at = None
    if at is None or at.alias:
        _refuse(key, dataset, "a dataset, as `department/name` or `department/name/3`")


def _refuse(key: str, text: str, due: str) -> NoReturn:
    table, _, name = key.partition(".")
    raise InvalidError(f"[{table}] {name or table} is {shown(text)}.", f"It must be {due}.", key=key)
