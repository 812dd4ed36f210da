"""The hub: fronts connect to `run/engine.sock`, ask the engine and are told what changed."""

from __future__ import annotations

import logging
import socket
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from modelyard.records.errors import MalformedError, YardError
from modelyard.workers import control
from modelyard.workers.control import Hello, Message, Reply, Routes, Stuck, Swapped, Tried, Used
from modelyard.workers.processes import start_time

log = logging.getLogger(__name__)
_CHUNK = 1 << 16
_SEND_SECONDS = 5
_AGAIN_SECONDS = 0.2

Answer = Callable[[Message], Reply]
Tell = Callable[[Message], None]


class Front:
    """A connected front: its socket, who it is, its latest generation and counters."""

    def __init__(self, sock: socket.socket) -> None:
        # One that takes nothing for so long hangs; it must not hold up what the others are told.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("@ll", _SEND_SECONDS, 0))
        self.sock = sock
        self.hello = Hello("", 0)
        self.generation = -1
        self.source = ""  # this process, and no other
        self.counters: dict[str, float] = {}
        self._writing = threading.Lock()

    def send(self, message: Message) -> None:
        """Send a message; a front that is gone, or hangs, is dropped, and may connect again."""
        with self._writing:
            try:
                self.sock.sendall(control.pack(message))
            except OSError:
                self.hang_up()

    def hang_up(self) -> None:
        """End the connection; its reader then forgets the front."""
        with suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)


class Hub:
    """Listens for fronts. Calls are answered each in a thread of its own, so that a slow one holds up none.

    Args:
        path: the socket to listen on; an old one there is replaced.
        answer: answers a call (Ensure, Refresh, Check, Report); a YardError becomes an error reply.
        tell: takes what needs no answer (Stuck, Used).
        greet: what a new front is told first.
    """

    def __init__(self, path: Path, answer: Answer, tell: Tell, greet: Callable[[], list[Message]]) -> None:
        self._answer, self._tell, self._greet = answer, tell, greet
        self._fronts: set[Front] = set()
        self._gone: dict[Hello, Front] = {}
        self._changed = threading.Condition()
        self._closed = threading.Event()
        path.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        path.chmod(0o600)
        self._listener.listen(64)

    def start(self) -> None:
        """Take connections, in a thread."""
        threading.Thread(target=self._accept, name="hub", daemon=True).start()

    def broadcast(self, message: Message) -> None:
        """Tell every front."""
        with self._changed:
            fronts = list(self._fronts)
        for front in fronts:
            front.send(message)

    def swap(self, generation: int, timeout: float) -> bool:
        """Tell the fronts that have older routes; whether all of them swapped within `timeout` seconds."""
        with self._changed:
            behind = [front for front in self._fronts if front.generation < generation]
        for front in behind:
            front.send(Routes(generation))
        deadline = time.monotonic() + timeout
        with self._changed:
            while any(f.generation < generation for f in self._fronts):
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                self._changed.wait(left)
        return True

    def counters(self) -> dict[str, float]:
        """The fronts' counters added up; a front that has gone keeps counting with its last numbers."""
        with self._changed:
            counts = [front.counters for front in (*self._gone.values(), *self._fronts)]
        total: dict[str, float] = {}
        for count in counts:
            for key, value in count.items():
                total[key] = total.get(key, 0.0) + value
        return total

    def by_front(self) -> dict[str, dict[str, float]]:
        """What each front has counted since it started, by the front; of those that have gone, too."""
        with self._changed:
            return {front.source: front.counters for front in (*self._gone.values(), *self._fronts)}

    def close(self) -> None:
        """Listen no more and hang up."""
        self._closed.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits for connections
        self._listener.close()
        with self._changed:
            fronts = list(self._fronts)
        for front in fronts:
            front.hang_up()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError as error:
                if self._closed.is_set():
                    return
                log.warning("a front cannot be let in now: %s", error)  # too many open files: others go on
                self._closed.wait(_AGAIN_SECONDS)
                continue
            threading.Thread(target=self._serve, args=(Front(sock),), name="front", daemon=True).start()

    def _serve(self, front: Front) -> None:
        buffer = bytearray()
        try:
            while data := front.sock.recv(_CHUNK):
                buffer += data
                for message in control.unpack(buffer):
                    self._receive(front, message)
        except (OSError, MalformedError) as error:
            log.warning("%s: %s", front.hello.front, error)
        finally:
            with self._changed:
                if front in self._fronts:
                    self._fronts.discard(front)
                    self._gone[front.hello] = front
                self._changed.notify_all()
            front.sock.close()

    def _receive(self, front: Front, message: Message) -> None:
        if isinstance(message, Hello):
            front.hello = message
            front.source = f"{message.front}:{message.pid}:{start_time(message.pid)}"
            with self._changed:
                self._gone.pop(message, None)  # it is back, and counts on from where it was
                self._fronts.add(front)
            for greeting in self._greet():
                front.send(greeting)
        elif isinstance(message, Swapped):
            with self._changed:
                front.generation = message.generation
                self._changed.notify_all()
        elif isinstance(message, Used):
            front.counters = message.counters
            self._tell(message)
        elif isinstance(message, Tried):
            self._tell(message)
        elif isinstance(message, Stuck):
            threading.Thread(target=self._tell, args=(message,), daemon=True).start()
        else:
            threading.Thread(target=self._reply, args=(front, message), daemon=True).start()

    def _reply(self, front: Front, message: Message) -> None:
        call = getattr(message, "call", 0)
        try:
            front.send(self._answer(message))
        except YardError as error:
            words = getattr(error, "log", "")
            front.send(Reply(call, error=f"{error.code}: {error.message}", hint=error.hint, log=words))
        except Exception as error:
            log.exception("the engine failed on %s", type(message).__name__)
            front.send(Reply(call, error=f"error: the engine failed: {error}"))
