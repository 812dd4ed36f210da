"""The heartbeat: a node says that it lives, has what dead nodes held go on, and notices a copy of the yard.

A copy is a yard that was restored from a backup, or whose folder or database was copied, while the original
goes on. Both would train, promote and alert. Only the copy can know: its records say where the original was,
and whoever answers there has beaten on since.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection, HTTPException
from urllib.parse import urlsplit

import msgspec

from modelyard.catalog.nodes import Nodes
from modelyard.records.errors import ConflictError, UnavailableError
from modelyard.records.nodes import APART, BEAT_EVERY, DEAD_AFTER, Heard, NodeState, Pulse

log = logging.getLogger(__name__)

Ask = Callable[[str], Pulse | None]

_ASK_SECONDS = 1.0
_ASK_EVERY = 60.0  # seconds
_AT_ONCE = 16
_LONGEST = 4_096  # bytes of an answer


def ask(address: str) -> Pulse | None:
    """The pulse of the node that listens at an address, or None."""
    parts = urlsplit(address)
    if not parts.hostname or not parts.port:
        return None
    connection = HTTPConnection(parts.hostname, parts.port, timeout=_ASK_SECONDS)
    try:
        connection.request("GET", "/health/node")
        answer = connection.getresponse()
        return msgspec.json.decode(answer.read(_LONGEST), type=Pulse) if answer.status == 200 else None  # noqa: PLR2004
    except (OSError, HTTPException, msgspec.MsgspecError):
        return None
    finally:
        connection.close()


def twin(nodes: Nodes, own: str, ask: Ask = ask) -> str:
    """Where another engine has this yard's records or this node's id, in words; empty if nowhere.

    Nodes that beat in this database are the yard's own; the addresses of all others are asked.

    Args:
        own: the address of this node.
    """
    heard, now = nodes.known()
    asked = [
        (h, address)
        for h in heard
        if h.id == nodes.here or h.state(now) is not NodeState.UP
        for address in {h.address, h.former} - {own, ""}
    ]
    if not asked:
        return ""
    with ThreadPoolExecutor(min(_AT_ONCE, len(asked))) as pool:
        pulses = list(pool.map(lambda pair: ask(pair[1]), asked))
    again = {h.id: h for h in nodes.known()[0]}
    found = zip(asked, pulses, strict=True)
    return next((words for pair, pulse in found if (words := _judged(pair, pulse, again, nodes.here))), "")


def _judged(pair: tuple[Heard, str], pulse: Pulse | None, again: dict[str, Heard], here: str) -> str:
    known, address = pair
    if pulse is None or pulse.node != known.id or known.id not in again:
        return ""
    if pulse.beat > again[known.id].beat:
        return (
            f"The yard whose records these are answers at {address}: this is a copy of it (a restored "
            "backup?), and both would train, promote and alert."
        )
    if known.id == here:
        return f"The node at {address} has the same id: one data folder is a copy of the other's."
    return ""  # one of ours, which cannot reach the database


def refuse_twin(nodes: Nodes, own: str, ask: Ask = ask) -> None:
    """Nothing, if this is the only yard with these records.

    Raises:
        ConflictError: another one answers.
    """
    if words := twin(nodes, own, ask):
        raise ConflictError(words, APART)


class Beat:
    """Beats in a thread of the engine.

    Args:
        nodes: as this node sees them.
        own: its address.
        release: of the software.
        ask: has the pulse of whoever listens at an address.
        monotonic, wall: the machine's clocks.
    """

    def __init__(
        self,
        nodes: Nodes,
        own: str,
        release: str,
        ask: Ask = ask,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._nodes, self._own, self._release, self._ask = nodes, own, release, ask
        self._monotonic, self._wall = monotonic, wall
        self._boot = ""
        self._known: tuple[datetime, float] | None = None
        self._steady_since: float | None = None
        self._asked_at = -_ASK_EVERY
        self._twin = self._taken = ""
        self._beat = -1
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="beat", daemon=True)

    def start(self) -> None:
        """Beat once, so that the rest of the engine knows what time it is, then in a thread until `stop`."""
        self.once()
        self._thread.start()

    def stop(self) -> None:
        """Beat no more, and say so."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout=1.0)
        leaving = threading.Thread(target=self._leave, name="leave", daemon=True)  # the database may stall
        leaving.start()
        leaving.join(timeout=1.0)

    def _leave(self) -> None:
        with suppress(UnavailableError):
            self._nodes.leave(self._boot)

    def now(self) -> datetime:
        """What time it is by the database's clock, also while that is away: nodes agree on it."""
        known = self._known
        if known is None:
            return self._wall()
        return known[0] + timedelta(seconds=self._monotonic() - known[1])

    def may_act(self) -> bool:
        """Whether this node's loop may do anything: not while another has the yard's records, too."""
        return not self.trouble

    def is_steady(self) -> bool:
        """Whether it has beaten for so long that all who live have beaten, too."""
        since = self._steady_since
        return since is not None and self._monotonic() - since >= DEAD_AFTER.total_seconds()

    @property
    def trouble(self) -> str:
        """Why this node does nothing by itself at the moment; empty if it does."""
        return self._taken or self._twin

    def once(self) -> None:
        """Say that this node lives, look after the others, tell the fronts."""
        try:
            self._take_time()
            self._say()
            if self.is_steady():
                for node in self._nodes.bury():
                    log.warning("the node at %s is dead; what it held goes on elsewhere", node.address)
            if self._monotonic() - self._asked_at >= _ASK_EVERY:
                self._asked_at = self._monotonic()
                self._twin = self._told(self._twin, twin(self._nodes, self._own, self._ask))
        except UnavailableError as error:
            self._steady_since = None  # the others could not beat either
            log.warning("this node cannot say that it lives: %s", error)
        try:
            self._nodes.tell(Pulse(self._nodes.here, self._beat, self.trouble))
        except OSError as error:  # a full disk
            log.warning("the fronts cannot be told that this node lives: %s", error)

    def _take_time(self) -> None:
        began = self._monotonic()
        time_there = self._nodes.time()
        ended = self._monotonic()
        if self._steady_since is not None and ended - began > BEAT_EVERY:
            self._steady_since = None  # it stalled
        self._known = time_there + timedelta(seconds=(ended - began) / 2), ended

    def _say(self) -> None:
        off = (self._wall() - self.now()).total_seconds()
        if not self._boot:
            self._boot = secrets.token_hex(8)
            self._nodes.enter(self._boot, self._own, self._release)
        number = self._nodes.beat(self._boot, off)
        if number is not None:
            self._beat, self._taken = number, ""
        elif self._nodes.is_silent(self._nodes.here):
            self._boot = ""  # who had taken its place is gone, or a person has had it forgotten
        else:
            words = "Another engine runs under this node's id: is its data folder a copy?"
            self._taken = self._told(self._taken, words)
        if self._steady_since is None:
            self._steady_since = self._monotonic()

    def _told(self, before: str, words: str) -> str:
        if words and words != before:
            log.error("%s This node changes nothing until that ends. %s", words, APART)
        return words

    def _run(self) -> None:
        while not self._stopping.wait(BEAT_EVERY):
            try:
                self.once()
            except Exception:
                log.exception("the heartbeat failed; the next comes soon")
