"""A job on another machine, as its host runs it: within the same walls and limits as a yard's own."""

from __future__ import annotations

import os
import socket
import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO

from modelyard import __version__
from modelyard.records.errors import ReleaseError
from modelyard.settings import Settings
from modelyard.workers.commands import Place
from modelyard.workers.recipes import Recipes
from modelyard.workers.remote import Began, Finished, Message, Packs, Said, Went, Work, pack_folders
from modelyard.workers.tasks import LocalGrounds, Run

METRICS = "metrics.jsonl"
_LOOK_SECONDS = 0.2
_TELL_EVERY = 5  # looks without anything new
_PIECE = 1_000_000  # bytes of metrics at a time

Say = Callable[[Message], None]
Pour = Callable[[IO[bytes]], None]


class Errand:
    """One job. `run` blocks, in a thread that lives as long as it.

    Args:
        place: where its project and data lie.
        base: the folder of all hosts of this machine.
        say: tells the yard's node; blocks until it is sent.
        pour: sends what an open file has; the same.
    """

    def __init__(self, work: Work, place: Place, base: Path, say: Say, pour: Pour) -> None:
        self._work = work
        self._place = place
        self._base = base
        self._say = say
        self._pour = pour
        self._stopped = threading.Event()
        self._metrics = 0

    def stop(self) -> None:
        """Have it end, politely."""
        self._stopped.set()

    def run(self) -> None:
        """Run it, tell how it goes, and send what it has left.

        Raises:
            YardError: it cannot be run here.
            OSError: the yard's node has gone; the command has ended.
        """
        check_release(self._work.release)
        self._place.output.mkdir()
        with self._grounds().begin(self._work.task, self._place, lambda words: self._say(Said(words))) as run:
            self._say(Began())
            self._follow(run)
            code = run.end()
            while text := run.output():
                self._say(Went(run.usage, output=text, metrics=self._new_metrics()))
            self._leave(code, run)

    def _grounds(self) -> LocalGrounds:
        settings = Settings.from_environment(data=self._place.home)
        threads = max(1, int(self._work.task.demand.cpus))
        return LocalGrounds(Recipes.of(settings, self._base / "environments", threads), self._base)

    def _follow(self, run: Run) -> None:
        looks = 0
        while not run.wait(_LOOK_SECONDS):
            if self._stopped.is_set():
                run.ask_to_end()
                return
            over, text, metrics = run.look(), run.output(), self._new_metrics()
            looks += 1
            if over or text or metrics or looks % _TELL_EVERY == 0:
                self._say(Went(run.usage, over, text, metrics))

    def _new_metrics(self) -> bytes:
        """What its file of metrics has beyond what was told; the job writes it, so no link is followed."""
        with suppress(OSError):
            handle = os.open(self._place.output / METRICS, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            with os.fdopen(handle, "rb") as file:
                file.seek(self._metrics)
                data = file.read(_PIECE)
            self._metrics += len(data)
            return data
        return b""

    def _leave(self, code: int, run: Run) -> None:
        self._say(Packs())
        with tempfile.TemporaryFile(dir=self._place.home) as file:
            pack_folders(file, {".": self._place.output})
            size = file.tell()
            file.seek(0)
            self._say(Finished(code, run.ran_out, run.usage, size))
            self._pour(file)


def check_release(release: str) -> None:
    """Refuse to work for a yard of another release.

    Raises:
        ReleaseError: it is another.
    """
    if release != __version__:
        raise ReleaseError(
            f"The cluster's machine {socket.gethostname()} has Modelyard {__version__}, this yard {release}.",
            "Give the cluster's machines the yard's release.",
        )
