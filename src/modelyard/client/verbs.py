"""The verbs: what a person does with a yard from Python."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

from modelyard.client import data as client_data
from modelyard.client.bundle import Told, make_bundle
from modelyard.client.connection import Address, Connection, find_address
from modelyard.client.folders import pack
from modelyard.client.paths import FileTold, bundle_from_path, is_bundle
from modelyard.client.predictions import Predictions, shaped, to_records
from modelyard.records.datasets import Dataset, DatasetVersion
from modelyard.records.errors import InvalidError, ModelError
from modelyard.records.models import AliasChange, Model, Version, VersionState
from modelyard.records.references import CHAMPION, Reference, check_name

_WAIT_SECONDS = 30
_OUTCOMES_AT_ONCE = 50_000
_LOG_SHOWN = 2_000
_SETTLED = (VersionState.CHECKED, VersionState.FAILED)


class CheckError(ModelError):
    """A version did not pass its check. `log` is the end of its worker's output."""

    code = "check-failed"

    def __init__(self, version: Version) -> None:
        words = f"Version {version.version} of {version.model} did not pass its check: {version.reason}"
        tail = version.log[-_LOG_SHOWN:].strip()
        super().__init__(words, f"Its worker's log ends:\n{tail}" if tail else "", version=version.version)
        self.log = version.log


class Whoami(Struct, frozen=True):
    """Who a token belongs to: its principal, role and department (None: the whole yard)."""

    principal: str
    role: str
    department: str | None = None


class _Accepted(Struct, frozen=True):
    accepted: int


class Yard:
    """A yard, and what can be done with it.

    Args:
        url: its address; by default `YARD_URL`, else what `yard login` remembered.
        token: a token; by default `YARD_TOKEN`, else what `yard login` remembered for this address.
        progress: told, in words, what a check does; by default a line on stderr where that is a terminal.

    Examples:
        >>> yard = Yard("http://127.0.0.1:8080", "yard_…")  # doctest: +SKIP
        >>> yard.predict("finance/fuel-cost", [{"distance": 1400.0}])  # doctest: +SKIP
    """

    def __init__(
        self, url: str | None = None, token: str | None = None, progress: Callable[[str], None] | None = None
    ) -> None:
        self._url, self._token = url, token
        self._progress = progress or _on_terminal
        self._open: tuple[Address, Connection] | None = None

    @property
    def connection(self) -> Connection:
        """The connection; a new one where the address has changed since the last use."""
        address = find_address(self._url, self._token)
        if self._open is None or self._open[0] != address:
            self.close()
            self._open = (address, Connection(address))
        return self._open[1]

    def close(self) -> None:
        """Close the connection; the next use opens another."""
        if self._open is not None:
            self._open[1].close()
            self._open = None

    def publish(  # noqa: PLR0913  # what can be said of a version, by name
        self,
        model: object,
        ref: str,
        *,
        example: Any,
        metrics: Mapping[str, float] | None = None,
        alias: str | None = None,
        why: str = "",
        code: Sequence[str | Path] | None = None,
        description: str = "",
        missing: bool | Iterable[str] | None = None,
        lineage: Mapping[str, str] | None = None,
        packages: Mapping[str, str] | Iterable[str] | None = None,
        entry: str | None = None,
        options: Mapping[str, Any] | None = None,
        wait: bool = True,
    ) -> Version:
        """Publish a model of this session as a new version, and wait until it is checked.

        Args:
            model: anything that can be pickled and has `predict` or can be called; None where `entry`
                says it.
            ref: `department/name`.
            example: rows that the model predicts on, of the kind it is given: a DataFrame, a two-dimensional
                array, a dict of columns or a list of dicts.
            metrics: numbers, as `{"mae": 12.1}`.
            alias: an alias to point to it once it is checked, as `champion`.
            why: a reason, for the alias's history.
            code: further files and folders that the model needs; your own modules that it names are found.
            description: a sentence about this version.
            missing: the columns that may miss values though the example does not, or True for all.
            lineage: where it comes from, as `{"code": "4f1c2e"}`.
            packages: exact versions beside, or instead of, those found.
            entry: `module:function` or `module:Class` in the code, with model=None.
            options: for the runtime: `input`, `method`, `outputs`, `classes` … (docs/python.md).
            wait: False returns at once, before the check.

        Raises:
            InvalidError: the model or its example cannot be published; nothing has been sent.
            CheckError: the version did not pass its check; it is kept, with the reason.
            YardError: the yard refuses, or does not answer.

        Examples:
            >>> yard.publish(model, "finance/fuel-cost", example=X.head(20))  # doctest: +SKIP
        """
        model_path = _model_path(ref)
        told = Told(metrics, code, description, missing, lineage, packages, entry, options)
        with tempfile.TemporaryDirectory(prefix="yard-") as folder:
            self._progress("writing the bundle")
            made = make_bundle(model, Path(folder), example, told)
            return self._send(made, model_path, alias, why, wait)

    def publish_path(  # noqa: PLR0913  # what can be said of a version, by name
        self,
        path: str | Path,
        ref: str,
        *,
        example: str | Path | None = None,
        language: str | None = None,
        entry: str | None = None,
        metrics: Mapping[str, float] | None = None,
        alias: str | None = None,
        why: str = "",
        description: str = "",
        missing: bool | Iterable[str] | None = None,
        lineage: Mapping[str, str] | None = None,
        requirements: str | Path | None = None,
        python: str | None = None,
        options: Mapping[str, Any] | None = None,
        wait: bool = True,
    ) -> Version:
        """Publish files: a bundle's folder, a model's file, or a folder of Python code with an entry.

        A model's file is sent as it is and not opened here; what it answers is found at the check.

        Args:
            path: a bundle's folder (all but `alias`, `why` and `wait` then stand in it), a file as .pkl,
                .rds or .jls, or a folder of code.
            ref: `department/name`.
            example: a CSV file with rows of input; not for a bundle.
            language: `python`, `r` or `julia`, where the file's name does not say it.
            entry: `module:function` or `module:Class` in a folder of code.
            metrics: numbers, as `{"mae": 12.1}`.
            alias: an alias to point to it once it is checked.
            why: a reason, for the alias's history.
            description: a sentence about this version.
            missing: the columns that may miss values though the example does not, or True for all.
            lineage: where it comes from.
            requirements: a file with the exact packages; by default those installed here that the model
                names.
            python: the Python version it was made with; by default this one.
            options: for the runtime.
            wait: False returns at once, before the check.

        Raises:
            InvalidError: something is missing or wrong; nothing has been sent.
            CheckError: the version did not pass its check; it is kept, with the reason.
            YardError: the yard refuses, or does not answer.
        """
        model_path, place = _model_path(ref), Path(path)
        told = FileTold(
            example, language, entry, metrics, description, missing, lineage, requirements, python, options
        )
        if is_bundle(place):
            _check_untold(told)
            return self._send(place, model_path, alias, why, wait)
        with tempfile.TemporaryDirectory(prefix="yard-") as folder:
            return self._send(bundle_from_path(place, Path(folder), told), model_path, alias, why, wait)

    def _send(self, folder: Path, model_path: str, alias: str | None, why: str, wait: bool) -> Version:
        words = {"alias": check_name(alias, "alias") if alias else "", "why": why}
        with tempfile.NamedTemporaryFile(suffix=".tar") as tar:
            pack(folder, tar)
            tar.flush()
            self._progress("sending it")
            version = self.connection.upload(
                f"{model_path}/versions",
                Version,
                Path(tar.name),
                "application/x-tar",
                **{key: value for key, value in words.items() if value},
            )
        return self._wait(version) if wait else version

    def _wait(self, version: Version) -> Version:
        said = None
        while version.state not in _SETTLED:
            if version.progress != said:
                said = version.progress
                self._progress(said or "waiting for its check")
            path = f"{_model_path(version.model)}/versions/{version.version}"
            version = self.connection.get(path, Version, wait=_WAIT_SECONDS)
        if version.state is VersionState.FAILED:
            raise CheckError(version)
        self._progress(f"version {version.version} of {version.model} is checked")
        return version

    def predict(self, ref: str, rows: Any) -> Any:
        """Predictions for rows.

        Args:
            ref: `department/name`, or one with `@alias` or `/version` behind it.
            rows: a DataFrame, a two-dimensional array, a dict of columns, a list of dicts, or one dict.

        Returns:
            For a pandas DataFrame an array of numbers, or a DataFrame of labels and probabilities or of
            several outputs. For a numpy array an array of numbers. Else a list with, for each row, a number,
            `{"label", "probabilities"}` or `{output: number}`.

        Raises:
            InvalidError: a column is missing or has the wrong type; the message names it.
            YardError: the yard refuses, or does not answer.

        Examples:
            >>> yard.predict("finance/fuel-cost", [{"distance": 1400.0}])  # doctest: +SKIP
            [3.25]
        """
        return shaped(self.answer(ref, rows).predictions, rows)

    def answer(self, ref: str, rows: Any) -> Predictions:
        """As `predict`, with the version that answered and the request's id."""
        at = Reference.parse(ref)
        inner = f"/versions/{at.version}" if at.version else f"/aliases/{at.alias}" if at.alias else ""
        path = f"/models/{at.department}/{at.name}{inner}/predict"
        return self.connection.send("POST", path, Predictions, to_records(rows))

    def outcomes(self, model: str, rows: Any) -> int:
        """Say what really happened; how many outcomes the yard has recorded.

        Args:
            model: `department/name`.
            rows: a DataFrame, a dict of columns, a list of dicts, or one dict, with `actual` and either
                `request_id` and `row` (0 if left out) or the model's key columns.

        Raises:
            InvalidError: an outcome fits no prediction of this model; the message names the row.
            YardError: the yard refuses, or does not answer.

        Examples:
            >>> yard.outcomes("finance/fuel-cost", [{"flight": "AA1", "actual": 3.5}])  # doctest: +SKIP
            1
        """
        at, records = Reference.parse(model), to_records(rows)
        path = f"/models/{at.department}/{at.name}/outcomes"
        some = (records[i : i + _OUTCOMES_AT_ONCE] for i in range(0, len(records), _OUTCOMES_AT_ONCE))
        return sum(self.connection.send("POST", path, _Accepted, part).accepted for part in some)

    def models(self) -> list[Model]:
        """All models that you may see."""
        return self.connection.get("/api/v1/models", list[Model])

    def show(self, ref: str) -> Model | Version:
        """A model; or, of `department/name@alias` or `department/name/7`, the version."""
        at = Reference.parse(ref)
        path = f"/api/v1/models/{at.model}"
        if at.version is None and at.alias is None:
            return self.connection.get(path, Model)
        return self.connection.get(f"{path}/versions/{self._number(at)}", Version)

    def versions(self, model: str) -> list[Version]:
        """All versions of a model."""
        return self.connection.get(f"{_model_path(model)}/versions", list[Version])

    def promote(self, ref: str, why: str = "") -> AliasChange:
        """Make a version the champion, which answers requests to the model; what changed.

        Args:
            ref: `department/name/7`, or `department/name@alias` for the version that the alias points to.
            why: a reason, for the history.
        """
        return self.alias(ref, CHAMPION, why)

    def alias(self, ref: str, name: str, why: str = "") -> AliasChange:
        """Point an alias to a version; what changed.

        Args:
            ref: `department/name/7`, or `department/name@other` for the version that another alias points to.
            name: the alias, as `challenger`.
            why: a reason, for the history.
        """
        at = Reference.parse(ref)
        body = {"version": self._number(at), "why": why}
        path = f"/api/v1/models/{at.model}/aliases/{check_name(name, 'alias')}"
        return self.connection.send("PUT", path, AliasChange, body)

    def rollback(self, model: str, why: str = "") -> AliasChange:
        """Make the champion what it was before; what changed."""
        return self.connection.send("POST", f"{_model_path(model)}/rollback", AliasChange, {"why": why})

    def history(self, model: str) -> list[AliasChange]:
        """What the model's aliases pointed to, who moved them, when and why; newest first."""
        return self.connection.get(f"{_model_path(model)}/history", list[AliasChange])

    def push_data(
        self, data: Any, ref: str, *, why: str = "", marks: Mapping[str, str] | None = None
    ) -> DatasetVersion:
        """Push a version of a dataset; the version, which is an old one where the content is the same.

        Args:
            data: the path of a CSV or Parquet file, a DataFrame, a dict of columns or a list of dicts.
            ref: `department/name`.
            why: a reason, kept with the version.
            marks: columns to keep from people: `{"pilot": "personal", "key": "secret"}`.

        Raises:
            InvalidError: it is no table that can be kept; the message says where.
            YardError: the yard refuses, or does not answer.

        Examples:
            >>> yard.push_data("flights.csv", "operations/flights", why="January")  # doctest: +SKIP
        """
        return client_data.push(self.connection, data, ref, why=why, marks=marks)

    def pull_data(self, ref: str, kind: str | None = None) -> Any:
        """The rows of a dataset, without the columns that are marked and that you have no clearance for.

        Args:
            ref: `department/name` for the newest version, or `department/name/7`.
            kind: `pandas`, `polars` or `records` (a list of dicts); by default the first that is installed.
        """
        return client_data.pull(self.connection, ref, kind)

    def datasets(self) -> list[Dataset]:
        """All datasets that you may see."""
        return client_data.datasets(self.connection)

    def show_data(self, ref: str) -> DatasetVersion:
        """A version of a dataset, by default the newest: columns, types, marks, and profiles."""
        return client_data.version(self.connection, ref)

    def whoami(self) -> Whoami:
        """Who the yard takes you for."""
        return self.connection.get("/api/v1/whoami", Whoami)

    def _number(self, at: Reference) -> int:
        if at.version is not None:
            return at.version
        if at.alias is None:
            raise InvalidError(f"{at} names no version.", f"Write {at}/7 or {at}@alias.", field="reference")
        model = self.connection.get(f"/api/v1/models/{at.model}", Model)
        if at.alias not in model.aliases:
            known = ", ".join(sorted(model.aliases)) or "none"
            raise InvalidError(
                f"{at.model} has no alias {at.alias!r}.", f"Its aliases: {known}.", field="alias"
            )
        return model.aliases[at.alias]


def _model_path(text: str) -> str:
    """The address of a model that must be named alone."""
    at = Reference.parse(text)
    if at.version is not None or at.alias is not None:
        raise InvalidError(
            f"{text} is a version; here a model is meant.", f"Write {at.model}.", field="reference"
        )
    return f"/api/v1/models/{at.model}"


def _check_untold(told: FileTold) -> None:
    said = [name for name, value in told._asdict().items() if value]
    if said:
        raise InvalidError(
            f"The folder is a bundle, which says by itself what {', '.join(said)} is.",
            "Leave that out, or write the bundle anew.",
        )


def _on_terminal(words: str) -> None:
    if sys.stderr.isatty():
        print(f"yard: {words}", file=sys.stderr, flush=True)  # noqa: T201  # for a person at a terminal
