"""Jobs on Ray clusters: a host is placed for each, gets project and data, and gives back what it has left."""

from __future__ import annotations

import secrets
import threading
from contextlib import suppress
from typing import Self

from modelyard import __version__
from modelyard.records.errors import MalformedError, UnavailableError
from modelyard.records.jobs import Usage
from modelyard.workers.cluster import Places, Spot
from modelyard.workers.commands import Place
from modelyard.workers.host_jobs import METRICS
from modelyard.workers.plans import Progress
from modelyard.workers.ray import as_error
from modelyard.workers.remote import (
    PREPARES_SECONDS,
    SILENCE_SECONDS,
    Began,
    Finished,
    Packs,
    Refused,
    Said,
    Stop,
    Went,
    Work,
)
from modelyard.workers.tasks import Run, Task

_POLITE_SECONDS = 5.0
_END_SECONDS = 30.0


class RayGrounds:
    """Runs jobs on the clusters of their departments.

    Args:
        places: who has hosts placed.
    """

    def __init__(self, places: Places) -> None:
        self._places = places

    def begin(self, task: Task, place: Place, progress: Progress) -> Run:
        """See `Grounds.begin`."""
        name = f"job-{task.told.get('YARD_JOB', '')}-{secrets.token_hex(8)}"
        spot = self._places.place(task.department, name, task.demand, progress)
        try:
            progress("is sent to the cluster")
            spot.channel.send_tar(
                lambda size: Work(__version__, task, size),
                {"work": place.work, "data": place.data},
                place.home,
            )
            _until_it_runs(spot, progress)
        except (OSError, MalformedError) as error:
            _give_up(spot)
            raise UnavailableError(
                f"The machine {spot.node} was lost before the job ran: {error}."
            ) from error
        except BaseException as error:
            self._places.note(task.department, error)
            _give_up(spot)
            raise
        return _FarRun(spot, place)


def _until_it_runs(spot: Spot, progress: Progress) -> None:
    while not isinstance(message := spot.channel.receive(PREPARES_SECONDS), Began):
        if isinstance(message, Said):
            progress(message.words)
        elif isinstance(message, Refused):
            raise as_error(message)


def _give_up(spot: Spot) -> None:
    spot.channel.close()
    spot.give_up()


class _FarRun:
    """A command on another machine; see `tasks.Run`. A thread takes what its host tells."""

    def __init__(self, spot: Spot, place: Place) -> None:
        self.code: int | None = None
        self._spot = spot
        self._place = place
        self._usage = Usage()
        self._over = ""
        self._text: list[str] = []
        self._ran_out = False
        self._packs = False
        self._lost = f"The machine {spot.node} hung up while the job ran."
        self._lock = threading.Lock()
        self._finished = threading.Event()
        threading.Thread(target=self._listen, name="job", daemon=True).start()

    @property
    def usage(self) -> Usage:
        """See `Run.usage`."""
        return self._usage

    @property
    def ran_out(self) -> bool:
        """See `Run.ran_out`."""
        return self._ran_out

    def wait(self, seconds: float) -> bool:
        """See `Run.wait`."""
        ended = self._finished.wait(seconds)
        if ended and self.code is None:
            raise UnavailableError(self._lost)
        return ended

    def look(self) -> str:
        """See `Run.look`."""
        return self._over

    def output(self) -> str:
        """See `Run.output`."""
        with self._lock:
            text, self._text = "".join(self._text), []
        return text

    def ask_to_end(self) -> None:
        """See `Run.ask_to_end`."""
        with suppress(OSError):
            self._spot.channel.send(Stop())
        self._finished.wait(_POLITE_SECONDS)

    def end(self) -> int:
        """See `Run.end`."""
        if not self._finished.is_set():
            self.ask_to_end()
        while not self.wait(_END_SECONDS):
            if not self._packs:
                raise UnavailableError(f"The machine {self._spot.node} does not end the job.")
        assert self.code is not None  # noqa: S101 - it has finished
        return self.code

    def __enter__(self) -> Self:
        """Nothing; at the end of the block its host is gone."""
        return self

    def __exit__(self, *_: object) -> None:
        """Give its host up."""
        _give_up(self._spot)

    def _listen(self) -> None:
        try:
            while self.code is None:
                match self._spot.channel.receive(PREPARES_SECONDS if self._packs else SILENCE_SECONDS):
                    case Went() as went:
                        self._take(went)
                    case Packs():
                        self._packs = True
                    case Finished() as finished:
                        self._take_what_is_left(finished)
                    case Refused(message=message):
                        self._lost = message
                        break
                    case _:
                        continue
        except (OSError, MalformedError) as error:
            words = str(error) or type(error).__name__
            self._lost = f"The machine {self._spot.node} was lost while the job ran: {words}."
        finally:
            self._finished.set()

    def _take(self, went: Went) -> None:
        self._usage = went.usage
        self._over = went.over or self._over
        with self._lock:
            self._text.append(went.output)
        if went.metrics:
            with (self._place.output / METRICS).open("ab") as file:
                file.write(went.metrics)

    def _take_what_is_left(self, finished: Finished) -> None:
        (self._place.output / METRICS).unlink(missing_ok=True)  # whole in what follows
        self._spot.channel.receive_tar(finished.size, self._place.output, self._place.home)
        self._usage, self._ran_out = finished.usage, finished.ran_out
        self.code = finished.code
