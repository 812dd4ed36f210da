"""The check: a new version loads in a worker, answers its example, and answers what it did when published."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from modelyard.catalog.leases import Hold, alone
from modelyard.catalog.registry import Registry
from modelyard.engine.keeper import Keeper
from modelyard.records.errors import (
    ConflictError,
    ModelError,
    UnavailableError,
    WorkerLostError,
    YardError,
)
from modelyard.records.models import EXAMPLE_FILE, EXPECTED_FILE, Version
from modelyard.records.signatures import (
    LABEL,
    PREDICTION,
    PROBABILITY,
    Column,
    ColumnType,
    Signature,
    check_signature,
)
from modelyard.serving.inputs import InputPlan
from modelyard.serving.tables import from_table, read_csv
from modelyard.workers import wire
from modelyard.workers.logs import tail
from modelyard.workers.plans import Worker
from modelyard.workers.talk import Talk
from modelyard.workers.wire import Frame, Value, to_values

log = logging.getLogger(__name__)

CHECK = "check"  # the kind of lease
TOLERANCE = 1e-6
_LOOK_EVERY = 5.0
_AT_ONCE = 4  # most of the time of one may be spent on waiting for its environment
_MAX_EXAMPLE = 100_000


class Checker:
    """Checks the versions that are due, a few at once.

    Args:
        answer_timeout: seconds a worker may take to answer its example.
        changed: called after each check, which may have changed the routes.
        hold: has the nodes do each check once.
    """

    def __init__(
        self,
        registry: Registry,
        keeper: Keeper,
        answer_timeout: float,
        changed: Callable[[], object],
        hold: Hold = alone,
    ) -> None:
        self._registry = registry
        self._keeper = keeper
        self._timeout = answer_timeout
        self._changed = changed
        self._hold = hold
        self._wake = threading.Event()
        self._stopped = False
        self._running: set[str] = set()
        self._pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="check")

    def start(self) -> None:
        """Look for due versions until stopped, in a thread."""
        threading.Thread(target=self._run, name="checks", daemon=True).start()

    def wake(self) -> None:
        """There is something to check."""
        self._wake.set()

    def stop(self) -> None:
        """Begin no further check."""
        self._stopped = True
        self._wake.set()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _run(self) -> None:
        while not self._stopped:
            try:
                for version in self._registry.checks.due():
                    if version.id not in self._running and not self._stopped:
                        self._running.add(version.id)
                        self._pool.submit(self._check_and_forget, version)
            except YardError as error:
                log.warning("cannot look for versions to check: %s", error)
            self._wake.wait(_LOOK_EVERY)
            self._wake.clear()

    def _check_and_forget(self, version: Version) -> None:
        try:
            with self._hold(CHECK, version.id) as is_ours:
                if is_ours:
                    self.check(version)
        except UnavailableError as error:
            log.warning("the check of %s is put off: %s", version.id, error)
        except ConflictError as error:  # it ended between being listed and begun
            log.debug("%s is not checked again: %s", version.id, error)
        except Exception:
            log.exception("the check of %s failed in the yard itself", version.id)
        finally:
            self._running.discard(version.id)

    def check(self, version: Version) -> Version:
        """Check one version; its record afterwards, `checked` or `failed`."""
        model, number = version.model, version.version
        self._registry.checks.start(model, number)
        log_file = Path()
        try:
            workers = self._keeper.ensure(
                version.id, progress=lambda words: self._registry.checks.progress(model, number, words)
            )
            log_file = Path(workers[0].log)
            signature = answers_example(workers[0], version.bundle.signature, self._timeout)
        except UnavailableError:
            raise
        except YardError as error:
            if self._stopped:  # its worker was ended with the yard: that says nothing about the model
                raise UnavailableError("The yard is going down; the next start checks it.") from error
            words = getattr(error, "log", "") or tail(log_file)
            self._keeper.release(version.id)
            ended = self._registry.checks.failed(model, number, str(error), words)
        else:
            ended = self._registry.checks.passed(model, number, signature)
        self._changed()
        return ended


def answers_example(worker: Worker, signature: Signature, timeout: float) -> Signature:
    """Have a worker answer its bundle's example; the signature, with outputs filled in.

    Raises:
        YardError: it does not, or answers otherwise than when it was published.
    """
    bundle = Path(worker.plan.bundle)
    table = read_csv((bundle / EXAMPLE_FILE).read_bytes())
    plan = InputPlan(signature, _MAX_EXAMPLE)
    inputs = from_table(plan, table)
    answer = ask_rows(worker, plan.columns_of([inputs]), inputs.count, timeout)
    if answer.rows != inputs.count:
        raise ModelError(f"The model answered {answer.rows} rows to the {inputs.count} of its example.")
    full = check_signature(msgspec.structs.replace(signature, outputs=_outputs(answer, signature)))
    expected = bundle / EXPECTED_FILE
    if expected.exists():
        compare(answer, expected.read_bytes())
    return full


def ask_rows(worker: Worker, columns: tuple[wire.ColumnData, ...], rows: int, timeout: float) -> Frame:
    """A worker's answer to its example.

    Raises:
        YardError: it failed, died or did not answer in time.
    """
    try:
        return ask(worker, columns, rows, timeout)
    except ModelError as error:
        raise ModelError(f"The model fails on its own example: {error.message}") from error
    except WorkerLostError as error:
        raise WorkerLostError("The model's process ended while it answered the example.") from error


def ask(worker: Worker, columns: tuple[wire.ColumnData, ...], rows: int, timeout: float) -> Frame:
    """A worker's answer to these columns.

    Raises:
        ModelError: the model failed; the words are its own.
        WorkerLostError, DeadlineError, MalformedError: its process ended, hangs or answers no frame.
    """
    takes = worker.takes
    taken = tuple(
        wire.as_float64(c) if c.type is ColumnType.INT64 and c.type not in takes else c for c in columns
    )
    try:
        with Talk(Path(worker.socket)) as talk:
            return talk.ask(Frame("infer", (("id", "1"),), rows, taken), timeout)
    except OSError as error:
        raise WorkerLostError("The model's process has ended.") from error


def _outputs(answer: Frame, signature: Signature) -> tuple[Column, ...]:
    found = tuple(Column(c.name, c.type) for c in answer.columns)
    if not found:
        raise ModelError("The model answered no column at all.", "Its predict must return values.")
    declared = [(c.name, c.type) for c in signature.outputs]
    if declared and declared != [(c.name, c.type) for c in found]:
        raise ModelError(
            f"The model answers {_words(found)}; its bundle says {_words(signature.outputs)}.",
            "Leave the outputs out of the bundle, or publish anew with the SDK.",
        )
    _check_outputs(found)
    return signature.outputs or found


def _check_outputs(found: tuple[Column, ...]) -> None:
    if found[0].name == LABEL:
        _check_label(found)
        return
    wrong = [c for c in found if c.type is not ColumnType.FLOAT64]
    if wrong or (len(found) == 1 and found[0].name != PREDICTION):
        raise ModelError(
            f"The model answers {_words(found)}: neither a label nor float64 predictions.",
            "See `contract/wire.md` for what a runtime may answer.",
        )


def _check_label(found: tuple[Column, ...]) -> None:
    label, *rest = found
    wrong = [c for c in rest if c.type is not ColumnType.FLOAT64 or not c.name.startswith(PROBABILITY)]
    if label.type is ColumnType.FLOAT64 or wrong:
        raise ModelError(
            f"The model answers {_words(found)}: after a label that is no fraction only "
            f"`{PROBABILITY}CLASS` columns (float64) may come.",
            "See `contract/wire.md` for what a runtime may answer.",
        )


def _words(columns: tuple[Column, ...]) -> str:
    return ", ".join(f"{c.name} ({c.type})" for c in columns)


def compare(answer: Frame, expected: bytes) -> None:
    """Compare answers with those given at publishing.

    Raises:
        ModelError: they differ; the message says where and by how much.
    """
    plan = InputPlan(
        Signature(tuple(Column(c.name, c.type, missing=True) for c in answer.columns)), _MAX_EXAMPLE
    )
    due = from_table(plan, read_csv(expected))
    for given, wanted in zip(answer.columns, plan.columns_of([due]), strict=True):
        for row, (a, b) in enumerate(zip(to_values(given), to_values(wanted), strict=False)):
            if not same(a, b):
                raise ModelError(
                    f"The answers differ from those given at publishing: row {row}, {given.name}: "
                    f"{a!r} now, {b!r} then.",
                    "Something the model depends on differs here: a package, an option, the random state.",
                )
    if due.count != answer.rows:
        raise ModelError(f"{EXPECTED_FILE} has {due.count} rows, the example {answer.rows}.")


def same(a: Value, b: Value) -> bool:
    """Whether two answers are equal, floats within 1e-6 (relative or absolute), missing equal to missing.

    >>> same(1.0, 1.0000005), same(float("nan"), None), same("a", "b")
    (True, True, False)
    """
    if isinstance(a, float) or isinstance(b, float):
        x = math.nan if a is None else float(a)
        y = math.nan if b is None else float(b)
        if math.isnan(x) or math.isnan(y):
            return math.isnan(x) and math.isnan(y)
        return x == y or math.isclose(x, y, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
    return a == b
