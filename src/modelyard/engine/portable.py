"""Portable forms: tried in the background once a version is checked, used only where they are proved equal.

A version answers natively from its check on, so publishing waits for nothing here. Whatever goes wrong is
said in `form_reason` and leaves the native form answering.
"""

from __future__ import annotations

import logging
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import msgspec
from msgspec import Struct

from modelyard.catalog.forms import Forms
from modelyard.catalog.leases import Hold, alone
from modelyard.engine.checks import ask_rows
from modelyard.engine.converting import PYTHON, Converter, NotPortableError, read_left
from modelyard.engine.proof import Ask, DiffersError, Proved, Row, prove, prove_drawn, rows_to_ask
from modelyard.engine.timing import Speed, native_from, time_forms, words_of
from modelyard.records.errors import (
    DeadlineError,
    EnvironmentBuildError,
    UnavailableError,
    WorkerLostError,
    WorkerStartError,
    YardError,
)
from modelyard.records.models import EXAMPLE_FILE, Version
from modelyard.serving.inputs import InputPlan
from modelyard.serving.tables import from_table, read_csv
from modelyard.settings import Settings
from modelyard.workers.plans import PROOF, Plan, Worker, Workers
from modelyard.workers.runtimes import find_runtime
from modelyard.workers.wire import to_values

log = logging.getLogger(__name__)

LANGUAGE = "portable"
FORM = "form"  # the kind of lease
MODEL_FILE, DESCRIPTION_FILE = "model.onnx", "portable.json"
_FILES = (MODEL_FILE, DESCRIPTION_FILE)
_HINTS_FILE = "hints.json"
_MAX_HINTS = 64 * 1024 * 1024
_MAX_EXAMPLE = 100
_REPLICA = 1_000_000  # workers of a proof have numbers, and so logs, of their own
_LOOK_EVERY = 30.0


class _Hints(Struct, frozen=True):
    thresholds: dict[str, list[float]]


class Portables:
    """Tries the portable forms of a node's checked versions, one at a time.

    Args:
        workers: who starts the workers of a proof; they are none of the keeper's.
        native_plan: the plan of a version's native form (lays the bundle out).
        changed: called when another form answers from now on.
        hold: has the nodes try each version once.
    """

    def __init__(
        self,
        settings: Settings,
        forms: Forms,
        workers: Workers,
        native_plan: Callable[[Version], Plan],
        changed: Callable[[], object],
        hold: Hold = alone,
    ) -> None:
        self._settings = settings
        self._forms = forms
        self._workers = workers
        self._native_plan = native_plan
        self._changed = changed
        self._hold = hold
        self._wake = threading.Event()
        self._stopped = False
        self._converter = Converter(settings)

    def start(self) -> None:
        """Try what is untried until stopped, in a thread."""
        if self._settings.portable:
            threading.Thread(target=self._run, name="portable", daemon=True).start()

    def wake(self) -> None:
        """A version has passed its check."""
        self._wake.set()

    def stop(self) -> None:
        """Begin no further one, and end the converter that runs."""
        self._stopped = True
        self._wake.set()
        self._converter.stop()

    def _run(self) -> None:
        while not self._stopped:
            try:
                for version in self._forms.untried():
                    if not self._stopped:
                        self._decide_alone(version)
            except YardError as error:
                log.warning("portable forms are put off: %s", error)
            except Exception:
                log.exception("trying portable forms failed in the yard itself")
            self._wake.wait(_LOOK_EVERY)
            self._wake.clear()

    def _decide_alone(self, version: Version) -> None:
        with self._hold(FORM, version.id) as is_ours:
            if is_ours and any(v.id == version.id for v in self._forms.untried()):
                self.decide(version)

    def decide(self, version: Version) -> None:
        """Try a version's portable form and say which form answers.

        Raises:
            UnavailableError: the database or the blobs do not answer; nothing is said, and it is tried again.
        """
        with tempfile.TemporaryDirectory(dir=self._settings.data / "scratch", prefix="portable-") as own:
            folder = Path(own)
            try:
                proved, speeds = self._try(version, folder)
            except NotPortableError as error:
                if not self._stopped:
                    self._forms.stay_native(version, str(error))
                return
            if not self._stopped:
                words = f"{proved}; {words_of(speeds)}" if speeds else str(proved)
                self._forms.go_portable(version, folder, _FILES, words, native_from(speeds))
                self._changed()

    def _try(self, version: Version, folder: Path) -> tuple[Proved, list[Speed]]:
        _refuse_unknown(version)
        try:
            plan = self._native_plan(version)
            example = _example(version, Path(plan.bundle))
            self._converter.convert(plan, example, folder)
            return self._prove(version, plan, example, folder)
        except UnavailableError:
            raise
        except DiffersError as error:
            raise NotPortableError(str(error)) from error
        except EnvironmentBuildError as error:
            raise NotPortableError(f"converter not available: {error.message}") from error
        except (WorkerStartError, DeadlineError, WorkerLostError) as error:
            raise NotPortableError(f"the forms could not be compared: {error.message}") from error
        except YardError as error:
            raise NotPortableError(f"not converted: {error.message}") from error

    def _prove(
        self, version: Version, plan: Plan, example: list[Row], folder: Path
    ) -> tuple[Proved, list[Speed]]:
        inputs = version.bundle.signature.inputs
        for name in _FILES:  # what a model's own process left there
            if not (folder / name).is_file() or (folder / name).is_symlink():
                raise NotPortableError(f"the converter left no {name}")
        try:
            hints = msgspec.json.decode(read_left(folder / _HINTS_FILE, _MAX_HINTS), type=_Hints)
        except msgspec.MsgspecError as error:
            raise NotPortableError(f"the converter's hints cannot be read: {error}") from error
        rows = rows_to_ask(inputs, example, hints.thresholds, version.digest)
        timeout = self._settings.answer_timeout
        portable = msgspec.structs.replace(plan_of(version, folder), purpose=PROOF, replica=_REPLICA + 1)
        native = msgspec.structs.replace(plan, purpose=PROOF, replica=_REPLICA)
        with self._started(portable) as theirs, self._started(native) as ours:
            asks = partial(ask_rows, ours, timeout=timeout), partial(ask_rows, theirs, timeout=timeout)
            proved = prove(*asks, inputs, rows, self._settings.portable_timeout)
            seconds = self._settings.portable_seconds
            proved += prove_drawn(*asks, inputs, example, version.digest, seconds)
            return proved, _timed(version, *asks, example, seconds)

    @contextmanager
    def _started(self, plan: Plan) -> Iterator[Worker]:
        worker = self._workers.start(plan, _silent)
        try:
            yield worker
        finally:
            self._workers.stop(worker)


def _timed(version: Version, native: Ask, portable: Ask, example: list[Row], seconds: float) -> list[Speed]:
    """How fast both are; nothing where one gives up on many rows: the portable form then has them all."""
    try:
        return time_forms(native, portable, version.bundle.signature.inputs, example, seconds)
    except YardError as error:
        log.warning("the forms of %s are not timed: %s", version.name, error)
        return []


def is_settled(version: Version, settings: Settings, now: datetime) -> bool:
    """Whether it is known in which form a version will answer, or it has taken too long to wait for."""
    longest = timedelta(seconds=2 * settings.portable_timeout)
    return bool(version.form_reason) or not settings.portable or now - version.created_at > longest


def plan_of(version: Version, folder: Path) -> Plan:
    """The plan of a worker for a portable form that lies in this folder."""
    return Plan(
        version_id=version.id,
        replica=0,
        language=LANGUAGE,
        language_version="",
        bundle=str(folder),
        entry=MODEL_FILE,
        options={},
        inputs=version.bundle.signature.inputs,
    )


def _refuse_unknown(version: Version) -> None:
    """What can be told without starting anything.

    Raises:
        NotPortableError: there is nothing to try.
    """
    bundle = version.bundle
    if bundle.options.get("form") == "native":
        raise NotPortableError("the publisher asked for the native form")
    if bundle.language == LANGUAGE:
        raise NotPortableError("published as a portable form already")
    runtime = find_runtime(bundle.language)
    if bundle.language != PYTHON and not runtime.numbers:
        raise NotPortableError(f"there is no converter for {runtime.title} models yet")
    if bundle.language == PYTHON and ":" in bundle.entry:
        raise NotPortableError("not a model the converter knows: it is Python code (module:name)")


def _example(version: Version, bundle: Path) -> list[Row]:
    plan = InputPlan(version.bundle.signature, _MAX_EXAMPLE * 1000)
    inputs = from_table(plan, read_csv((bundle / EXAMPLE_FILE).read_bytes()))
    columns = [to_values(column) for column in plan.columns_of([inputs])]
    return list(zip(*columns, strict=True))[:_MAX_EXAMPLE]


def _silent(_: str) -> None:
    """Progress that nobody watches."""
