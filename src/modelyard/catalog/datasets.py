"""What the yard holds of data: datasets, their versions, and which columns who may see."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from msgspec import structs
from sqlalchemy import Connection

from modelyard.catalog import clock, words
from modelyard.records.datasets import (
    Changes,
    Clearance,
    Dataset,
    DatasetVersion,
    DataType,
    Mark,
    Origin,
    Preview,
    Source,
    TrainedModel,
    check_dataset,
    is_shown,
)
from modelyard.records.errors import (
    InvalidError,
    NotFoundError,
    UnavailableError,
    UnsupportedError,
)
from modelyard.records.references import shown
from modelyard.store import audit, departments
from modelyard.store import datasets as store
from modelyard.store.blobs import Blobs
from modelyard.store.database import Database
from modelyard.store.folder import disk_error
from modelyard.workers.clerk import Clerk
from modelyard.workers.tables.tasks import Compare, Compared, Made, Read, Show, Shown, Write, Written

KINDS = {
    "text/csv": "csv",
    "application/csv": "csv",
    "application/vnd.apache.parquet": "parquet",
    "application/x-parquet": "parquet",
}
FORMS = ("csv", "parquet")
OF_JOBS = frozenset({Mark.PERSONAL})  # what a training job may read beside unmarked columns
NOTHING_MARKED = frozenset[Mark]()
MAX_PREVIEW = 1_000

Maker = Callable[[Path], Made]


class Datasets:
    """Datasets by name. Every change is one transaction.

    Args:
        database: upgraded already.
        blobs: where the versions' Parquet files are kept.
        scratch: a folder for files on their way, made where it is not there.
        clerk: who reads tables; by default one that sees nothing of the folder above `scratch`.

    Methods raise NotFoundError for an unknown dataset or version, InvalidError for what is not a name.
    """

    def __init__(self, database: Database, blobs: Blobs, scratch: Path, clerk: Clerk | None = None) -> None:
        self._database = database
        self._blobs = blobs
        self._scratch = scratch
        self._clerk = clerk or Clerk(scratch.parent)

    # Versions come in

    def push(
        self,
        dataset: str,
        stream: Iterable[bytes],
        content_type: str,
        *,
        by: str,
        why: str = "",
        marks: Mapping[str, Mark] | None = None,
        may_create_department: bool = False,
    ) -> tuple[DatasetVersion, bool]:
        """Keep a new version of a CSV or Parquet file, and whether it is new: equal content is the same one.

        Args:
            stream: the file's bytes in pieces of any size.
            content_type: `text/csv` (UTF-8, a header line) or `application/vnd.apache.parquet`.
            why: a reason, kept with the version.
            marks: for columns of it, beside the marks that the dataset has.

        Raises:
            MalformedError, InvalidError, TooLargeError, UnsupportedError: it is not a table that can be kept.
        """
        kind = KINDS.get(content_type.partition(";")[0].strip().lower())
        if kind is None:
            raise UnsupportedError(
                f"A table cannot come as {shown(content_type)}.",
                "Send text/csv or application/vnd.apache.parquet.",
            )

        def make(folder: Path) -> Made:
            source = folder / "came"
            _write(stream, source)
            types = self._types(dataset) if kind == "csv" else {}
            return self._clerk.do(Read(str(source), kind, str(folder / "made"), types), folder, Made)

        return self.keep(
            dataset,
            make,
            Origin(kind),
            by=by,
            why=why,
            marks=marks,
            may_create_department=may_create_department,
        )

    def keep(
        self,
        dataset: str,
        make: Maker,
        origin: Origin,
        *,
        by: str,
        why: str = "",
        marks: Mapping[str, Mark] | None = None,
        may_create_department: bool = False,
    ) -> tuple[DatasetVersion, bool]:
        """Keep what `make` writes to the file `made` of the folder it is given; see `push`."""
        check_dataset(dataset)
        reason = words.reason(why)
        if not may_create_department:  # before the bytes come in, not after
            self._check_department(dataset)
        with self._folder() as folder:
            made = make(folder)
            _check_marks(marks or {}, {c.name for c in made.columns})
            blob, size = self._blobs.put_file(folder / "made")
        version = DatasetVersion(
            dataset, 0, made.digest, blob, size, made.rows, made.columns, origin, clock.now(), by, reason
        )
        with self._database.write() as connection:
            if may_create_department:
                departments.add(connection, dataset.split("/", maxsplit=1)[0], by=by, at=version.created_at)
            store.add(connection, dataset, by=by, at=version.created_at)
            if origin.kind == "sql":  # asked again, it is the same that is asked
                _ask_again(connection, dataset, Source(origin.connection, origin.query), by)
            return _add(connection, version, marks or {})

    def _check_department(self, dataset: str) -> None:
        with self._database.read() as connection:
            if not departments.exists(connection, dataset.split("/", maxsplit=1)[0]):
                raise _unknown(dataset)

    def _types(self, dataset: str) -> dict[str, DataType]:
        """The types that the columns had in the newest version."""
        with self._database.read() as connection:
            known = store.get(connection, dataset)
            newest = store.version(connection, dataset, known.latest) if known else None
        return {c.name: c.type for c in newest.columns} if newest else {}

    # Reading

    def datasets(
        self, departments: frozenset[str] | None = None, also: frozenset[str] = frozenset()
    ) -> list[Dataset]:
        """The datasets of these departments (None: of all), and those named beside, by name."""
        with self._database.read() as connection:
            return store.of_departments(connection, departments, also)

    def dataset(self, name: str) -> Dataset:
        """One dataset."""
        with self._database.read() as connection:
            return _known(connection, name)

    def versions(self, dataset: str) -> list[DatasetVersion]:
        """All versions, newest first."""
        with self._database.read() as connection:
            _known(connection, dataset)
            return store.versions(connection, dataset)

    def version(self, dataset: str, number: int | None = None) -> DatasetVersion:
        """One version; None: the newest."""
        with self._database.read() as connection:
            known = _known(connection, dataset)
            found = store.version(connection, dataset, known.latest if number is None else number)
        if found is None:
            hint = f"Its versions are 1 to {known.latest}."
            raise NotFoundError(f"{dataset} has no version {number}.", hint)
        return found

    def lay_out(
        self,
        dataset: str,
        number: int | None,
        path: Path,
        form: str = "parquet",
        *,
        cleared: frozenset[Mark] = OF_JOBS,
        rows: tuple[int, int] | None = None,
        is_for_people: bool = False,
    ) -> DatasetVersion:
        """Write a version to a file that appears whole or not at all, and tell which it was.

        Args:
            number: None for the newest.
            path: the file; its folder is there.
            form: `parquet`, or `csv` (a header line, missing values empty, times as ISO 8601).
            cleared: marks of columns that are written as well; other marked ones are left out.
            rows: first row and the one after the last, from 0; None for all.
            is_for_people: put a `'` before texts that a spreadsheet would run as formulas (CSV alone).

        Raises:
            InvalidError: an unknown form, or no column is left.
            UnavailableError: the blob is damaged, or the disk is full.
        """
        if form not in FORMS:
            raise InvalidError(
                f"{shown(form)} is no form of a dataset.", "Ask for csv or parquet.", field="form"
            )
        version = self.version(dataset, number)
        columns = _readable(version, cleared)
        with self._folder() as folder:
            whole = self._fetch(version, folder)
            if form == "parquet" and rows is None and len(columns) == len(version.columns):
                _move(whole, path)
                return version
            start, end = rows or (0, version.rows)
            count = max(0, end - start)
            task = Write(str(whole), str(folder / "out"), form, columns, start, count, is_for_people)
            self._clerk.do(task, folder, Written)
            _move(folder / "out", path)
        return version

    def preview(
        self, dataset: str, number: int | None, *, cleared: frozenset[Mark], start: int = 0, count: int = 20
    ) -> Preview:
        """Some rows of a version, without the columns that are marked and not cleared."""
        version = self.version(dataset, number)
        columns = version.readable(cleared)
        hidden = tuple(c.name for c in version.columns if c.name not in columns)
        if not columns:
            return Preview(version.version, version.rows, (), (), hidden)
        with self._folder() as folder:
            task = Show(str(self._fetch(version, folder)), columns, start, min(count, MAX_PREVIEW))
            values = self._clerk.do(task, folder, Shown).values
        return Preview(version.version, version.rows, columns, values, hidden)

    def changes(
        self,
        dataset: str,
        before: int,
        after: int,
        *,
        cleared: frozenset[Mark] = frozenset(),
        key: tuple[str, ...] = (),
    ) -> Changes:
        """What changed between two versions, in the columns that may be seen.

        Raises:
            InvalidError: a column of the key is not in both, or may not be seen.
        """
        old, new = self.version(dataset, before), self.version(dataset, after)
        marked = {c.name: c.mark for c in (*old.columns, *new.columns)}
        columns = tuple(name for name, mark in marked.items() if is_shown(mark, cleared))
        hidden = tuple(name for name in marked if name not in columns)
        with self._folder() as folder:
            files = self._fetch(old, folder, "before"), self._fetch(new, folder, "after")
            task = Compare(str(files[0]), str(files[1]), columns, key)
            found = self._clerk.do(task, folder, Compared)
        return Changes(
            before=f"{dataset}/{before}",
            after=f"{dataset}/{after}",
            rows_before=old.rows,
            rows_after=new.rows,
            key=key,
            hidden=hidden,
            **structs.asdict(found),
        )

    def note_download(self, version: DatasetVersion, marks: Iterable[Mark], form: str, *, by: str) -> None:
        """Put down that somebody is given a version's rows, before they are.

        Args:
            marks: those they could look behind.
        """
        what = {"form": form, "marks": sorted(marks)}
        place = f"{version.dataset}/{version.version}"
        with self._database.write() as connection:
            audit.append(connection, by=by, action="dataset.download", subject=place, after=what)

    def _fetch(self, version: DatasetVersion, folder: Path, name: str = "version") -> Path:
        place = folder / name
        try:
            self._blobs.fetch(version.blob, place, version.size)
            place.chmod(0o644)  # its folder keeps others out
        except NotFoundError as error:
            raise UnavailableError(error.message, error.hint) from error
        return place

    # Lineage

    def trained(self, dataset: str, number: int | None = None) -> list[TrainedModel]:
        """The versions of models, of all departments, trained on a dataset (or on one version of it)."""
        with self._database.read() as connection:
            _known(connection, dataset)
            return store.trained(connection, dataset, number)

    def marks_of_model(self, model: str) -> dict[str, Mark]:
        """The marks of columns in the data that any version of a model was trained on; by a column's name the
        strictest. Recorded predictions have columns of these names.
        """
        with self._database.read() as connection:
            return store.marks_of_model(connection, model)

    def hidden_of_model(self, model: str, principal: str) -> frozenset[str]:
        """The columns of a model's recorded predictions that somebody must not see: those marked in a dataset
        that a version of it was trained on, where they have no clearance.
        """
        with self._database.read() as connection:
            names = {t.dataset for t in store.datasets_of(connection, model)}
            found = store.marks(connection, names)
            cleared = {name: store.cleared(connection, name, principal, clock.now()) for name in found}
        return frozenset(
            column
            for name, marks in found.items()
            for column, mark in marks.items()
            if mark not in cleared[name]
        )

    # Marks and clearances

    def set_marks(self, dataset: str, marks: Mapping[str, Mark | None], *, by: str) -> Dataset:
        """Set or (None) take away marks of columns; they hold for all versions, the old ones as well.

        Raises:
            InvalidError: no version has such a column.
        """
        with self._database.write() as connection:
            known = _held(connection, dataset)
            columns = {c.name for v in store.versions(connection, dataset) for c in v.columns}
            _check_marks(marks, columns | set(known.marks))
            after = {**known.marks, **marks}
            kept = {name: mark for name, mark in after.items() if mark is not None}
            if kept != known.marks:
                _mark(connection, dataset, known.marks, kept, by)
            return _known(connection, dataset)

    def cleared(self, dataset: str, principal: str) -> frozenset[Mark]:
        """The marks of a dataset that somebody may look behind now."""
        with self._database.read() as connection:
            return store.cleared(connection, dataset, principal, clock.now())

    def clearances(self, dataset: str) -> list[Clearance]:
        """All clearances of a dataset, also those that have ended."""
        with self._database.read() as connection:
            _known(connection, dataset)
            return store.clearances_of(connection, dataset)

    def clear(
        self, dataset: str, principal: str, mark: Mark, *, by: str, until: datetime | None = None
    ) -> Clearance:
        """Let somebody see the columns with a mark.

        Raises:
            InvalidError: the time is over already, or the name is none.
        """
        if until is not None and until <= clock.now():
            raise InvalidError(
                "The clearance would be over before it begins.", "Give a later end.", field="until"
            )
        person = words.label(principal, "principal")
        clearance = Clearance(check_dataset(dataset), person, mark, clock.now(), by, until)
        with self._database.write() as connection:
            _held(connection, dataset)
            known = store.clearances_of(connection, dataset)
            before = next((c for c in known if (c.principal, c.mark) == (person, mark)), None)
            store.clear(connection, clearance)
            told = {"before": before, "after": clearance}
            audit.append(connection, by=by, action="clearance.give", subject=dataset, **told)
        return clearance

    def revoke(self, dataset: str, principal: str, mark: Mark, *, by: str) -> None:
        """Take a clearance away.

        Raises:
            NotFoundError: there is none.
        """
        with self._database.write() as connection:
            _held(connection, dataset)
            if not store.revoke(connection, dataset, principal, mark):
                message = f"{shown(principal)} has no clearance for {mark} columns of {dataset}."
                raise NotFoundError(message, f"See who has: yard data clearances {dataset}.")
            what = {"principal": principal, "mark": mark}
            audit.append(connection, by=by, action="clearance.revoke", subject=dataset, before=what)

    @contextmanager
    def _folder(self) -> Iterator[Path]:
        self._scratch.mkdir(parents=True, exist_ok=True)
        try:
            with tempfile.TemporaryDirectory(dir=self._scratch, prefix="table-") as own:
                yield Path(own)
        except OSError as error:
            raise disk_error(error, self._scratch) from error


def _add(
    connection: Connection, version: DatasetVersion, marks: Mapping[str, Mark]
) -> tuple[DatasetVersion, bool]:
    store.lock(connection, version.dataset)
    existing = store.by_digest(connection, version.dataset, version.digest)
    number = existing.version if existing else store.add_version(connection, version)
    place = f"{version.dataset}/{number}"
    if existing is None:
        what = {"digest": version.digest, "rows": version.rows, "origin": version.origin, "why": version.why}
        audit.append(connection, by=version.created_by, action="dataset.push", subject=place, after=what)
    held = store.marks(connection, [version.dataset])[version.dataset]
    added = {name: mark for name, mark in marks.items() if held.get(name) is not Mark.SECRET}
    if added.items() - held.items():
        _mark(connection, version.dataset, held, held | added, version.created_by)
    found = store.version(connection, version.dataset, number)
    assert found is not None  # noqa: S101 - it was written in this transaction
    return found, existing is None


def _ask_again(connection: Connection, dataset: str, source: Source, by: str) -> None:
    before = _known(connection, dataset).source
    if before != source:
        store.set_source(connection, dataset, source)
        audit.append(connection, by=by, action="dataset.source", subject=dataset, before=before, after=source)


def _mark(
    connection: Connection, dataset: str, before: Mapping[str, Mark], after: Mapping[str, Mark], by: str
) -> None:
    store.set_marks(connection, dataset, after)
    audit.append(connection, by=by, action="dataset.mark", subject=dataset, before=before, after=after)


def _write(stream: Iterable[bytes], to: Path) -> None:
    with to.open("xb") as file:
        for piece in stream:
            file.write(piece)


def _move(source: Path, to: Path) -> None:
    unfinished = to.with_name(f".new-{to.name}")
    try:
        shutil.move(source, unfinished)
        unfinished.rename(to)
    except OSError as error:
        raise disk_error(error, to) from error


def _readable(version: DatasetVersion, cleared: frozenset[Mark]) -> tuple[str, ...]:
    columns = version.readable(cleared)
    if not columns:
        message = f"All columns of {version.dataset} are marked, and you have no clearance for them."
        raise InvalidError(message, "Ask an owner of the department for one.")
    return columns


def _check_marks(marks: Mapping[str, Mark | None], columns: set[str]) -> None:
    for name in marks:
        if name not in columns:
            raise InvalidError(
                f"There is no column {shown(name)} to mark.", "See its columns: yard data show."
            )


def _held(connection: Connection, dataset: str) -> Dataset:
    if not store.lock(connection, check_dataset(dataset)):
        raise _unknown(dataset)
    return _known(connection, dataset)


def _known(connection: Connection, dataset: str) -> Dataset:
    found = store.get(connection, check_dataset(dataset))
    if found is None:
        raise _unknown(dataset)
    return found


def _unknown(dataset: str) -> NotFoundError:
    return NotFoundError(f"There is no dataset {dataset}.", "See what there is: yard data list.")
