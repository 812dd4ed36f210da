"""A runtime's service: the Unix socket, its connections, and the four verbs of contract/wire.md.

One thread, any number of connections, one frame at a time; what has come together from one connection is
answered before the next is looked at. A connection whose answer has not left yet is not read, so a client
that does not read holds up nobody else and costs the memory of one answer.

What a model is, the runtime says: `main` is given the function that loads it. runtimes/portable serves with
this very file, so that both forms of a model speak the same wire.
"""

from __future__ import annotations

import contextlib
import gc
import os
import platform
import selectors
import socket
import sys
import traceback

from . import frames, inputs
from .answers import AnswerError

TAKES = ("float64", "int64", "bool", "string")
MALFORMED = 65  # the exit code
_KEPT = 64 * 1024  # bytes of a connection's space
_LAST_WORDS = 2.0  # seconds a client has to read the answer after which the worker ends
_MESSAGE_LIMIT = 4000  # characters


class Connection:
    """A client: what has come in, and the answer that is going out.

    What comes is read into a space that is kept: a small frame needs one call, which may bring the next one
    as well. A frame for which there is no room in it gets a space of its own size.
    """

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self.out = memoryview(b"")
        self._kept = self._space = memoryview(bytearray(_KEPT))
        self._end = 0  # of what has come

    def receive(self) -> None:
        """Read what has come.

        Raises:
            ConnectionError: the client is gone.
            BlockingIOError: nothing more has come yet.
        """
        got = self.socket.recv_into(self._space[self._end :])
        if not got:
            raise ConnectionResetError
        self._end += got

    def take(self) -> tuple | None:
        """Header and body of the first frame that has come, None while it is not whole.

        Raises:
            FrameError: what has come is not a frame.
        """
        first, space = frames.PREFIX.size, self._space
        if self._end < first:
            return None
        header, body = frames.lengths(space[:first])
        start, end = first + header, first + header + body
        if self._end < end:
            if len(space) < end:
                self._space = _room(end)
                self._space[: self._end] = space[: self._end]
            return None
        found = bytes(space[first:start]), bytearray(space[start:end])
        rest, self._space = space[end : self._end], self._kept
        self._end = len(rest)
        self._kept[: self._end] = rest
        return found

    def send(self, data: bytes = b"") -> bool:
        """Send what can be sent without waiting; True when nothing is left."""
        if data:
            self.out = memoryview(data)
        while self.out:
            try:
                self.out = self.out[self.socket.send(self.out) :]
            except BlockingIOError:
                return False
        return True


def _room(size: int) -> memoryview:
    try:
        return memoryview(bytearray(size))
    except MemoryError:
        raise frames.FrameError(f"A frame of {size} bytes is more than this worker's memory.") from None


class Worker:
    """What is asked, and the answers to it.

    Args:
        load: folder, entry, options and inputs (an `Input` a column) to a model: `names`, and `answer` of a
            frame as columns.
        runtime: its name, for the answer to `load`.
    """

    def __init__(self, load: object, runtime: str) -> None:
        self._loader, self._runtime = load, runtime
        self._model = None
        self._reader = frames.Reader()
        self._fits = None  # the layout of the last question, whose columns are the model's
        self._infers = self._answered = 0

    def answer(self, header: bytes, body: bytearray) -> tuple:
        """The answer's bytes, and the exit code if the worker ends after it, else None.

        Raises:
            FrameError: the question is malformed.
        """
        frame = self._reader.decode(header, body)
        if frame.verb == "infer":
            return self._infer(frame), None
        if frame.verb == "ping":
            facts = {"infers": self._infers, "answered": self._answered, "memory": _memory()}
            fields = [("id", frame.id), *((key, str(value)) for key, value in facts.items())]
            return frames.encode("pong", fields), None
        if frame.verb == "load" and self._model is None:
            return self._load(frame)
        if frame.verb == "stop":
            return frames.encode("bye", [("id", frame.id)]), 0
        what = "a second time" if frame.verb == "load" else "which is no verb"
        return error(frame.id, "frame", f"The worker was asked to {frame.verb!r}, {what}."), MALFORMED

    def _load(self, frame: object) -> tuple:
        try:
            self._model = self._loader(
                frame.get("bundle"),
                frame.get("entry"),
                dict(option for option in frame.all("option")),
                [
                    inputs.Input(name, kind, flag == "1", levels)
                    for name, kind, flag, *levels in frame.all("input")
                ],
            )
        except BaseException as failure:  # noqa: BLE001  # a model's code may raise anything, SystemExit too
            _log()
            return error(frame.id, "load", words(failure)), 1
        gc.collect()
        gc.freeze()  # what the model is made of stays: the collector need not look at it again
        runtime = ("runtime", self._runtime, platform.python_version())
        return frames.encode("ready", [("id", frame.id), runtime, ("takes", *TAKES)]), None

    def _infer(self, frame: object) -> bytes:
        try:
            columns = self._asked(frame).answer(frame)
            answer = frames.encode("answer", [("id", frame.id)], frame.rows, columns)
        except BaseException as failure:  # noqa: BLE001  # a model's code may raise anything, SystemExit too
            _log()
            return error(frame.id, "model", words(failure))
        self._infers += 1
        self._answered += frame.rows
        return answer

    def _asked(self, frame: object) -> object:
        if self._model is None:
            raise AnswerError("No model has been loaded yet.")
        if frame.layout is not self._fits:
            if frame.layout.names != self._model.names:
                raise AnswerError(f"The columns are not those of the signature: {self._model.names}.")
            self._fits = frame.layout
        return self._model


class Server:
    """The socket and its connections."""

    def __init__(self, path: str, worker: Worker) -> None:
        self._worker = worker
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(path)
        self._listener.listen(128)
        self._listener.setblocking(False)  # noqa: FBT003  # the socket's own way
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)

    def serve(self) -> int:
        """Answer until told to end; the exit code."""
        while True:
            for key, events in self._selector.select():
                if key.data is None:
                    self._accept()
                    continue
                try:
                    code = self._attend(key.data, events)
                except BlockingIOError:
                    continue
                except OSError:  # the client is gone, perhaps in the middle of a frame: its own loss alone
                    self._selector.unregister(key.data.socket)
                    key.data.socket.close()
                    continue
                if code is not None:
                    return code

    def _accept(self) -> None:
        try:
            sock, _ = self._listener.accept()
        except OSError:  # gone again before we looked, or too many open files
            return
        sock.setblocking(False)  # noqa: FBT003  # the socket's own way
        self._selector.register(sock, selectors.EVENT_READ, Connection(sock))

    def _attend(self, connection: Connection, events: int) -> int | None:
        if events & selectors.EVENT_READ:
            connection.receive()
        elif connection.send():
            self._selector.modify(connection.socket, selectors.EVENT_READ, connection)
        else:
            return None
        code = None
        while code is None and not connection.out and (answered := self._next(connection)):
            answer, code = answered
            if code is not None:
                _farewell(connection, answer)
            elif not connection.send(answer):
                self._selector.modify(connection.socket, selectors.EVENT_WRITE, connection)
        return code

    def _next(self, connection: Connection) -> tuple | None:
        """The answer to the next frame of a connection, and the exit code; None if no frame is whole."""
        try:
            frame = connection.take()
            return self._worker.answer(*frame) if frame else None
        except frames.FrameError as failure:
            return error("", "frame", str(failure)), MALFORMED


def _farewell(connection: Connection, answer: bytes) -> None:
    """Send the last answer, waiting a moment for a client that is slow to read it."""
    connection.socket.settimeout(_LAST_WORDS)
    with contextlib.suppress(OSError):
        connection.socket.sendall(answer)


def error(number: str, kind: str, message: str) -> bytes:
    """The bytes of an `error` answer."""
    return frames.encode("error", [("id", number), ("kind", kind), ("message", message)])


def _log() -> None:
    """Print the current exception's traceback to the log, if the log can still take it."""
    with contextlib.suppress(OSError):
        traceback.print_exc()


def words(failure: BaseException) -> str:
    """An exception as a message: its type and what it says; ours say enough without the type."""
    text = str(failure)
    if not isinstance(failure, AnswerError):
        text = f"{type(failure).__name__}: {text}" if text else type(failure).__name__
    text = text.replace("\0", "").encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= _MESSAGE_LIMIT else text[:_MESSAGE_LIMIT] + "…"


def _memory() -> int:
    try:
        with open("/proc/self/statm", "rb") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0


def main(load: object, runtime: str) -> None:
    """Serve, then end at once: a model's threads and exit handlers must not keep the process."""
    code = Server(sys.argv[sys.argv.index("--socket") + 1], Worker(load, runtime)).serve()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
