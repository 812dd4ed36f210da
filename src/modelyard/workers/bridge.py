"""The bridge: puts a Unix socket before a worker that can only read and write pipes (R).

A program of its own: `python -I -S bridge.py --socket PATH -- COMMAND …`. It starts COMMAND with pipes as
descriptors 3 and 4, takes any number of connections, passes their frames to the worker one at a time in
order of arrival, and ends with the worker's exit code when the worker ends. Standard library only.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
import struct
import sys
import time
from collections import deque

PREFIX = struct.Struct("<4sII")
CHUNK = 1 << 20
EXIT_MALFORMED = 65
MAX_HEADER = 4 << 20
MAX_BODY = (1 << 31) - 1
_SIGNALLED = 128
_LAST_WORDS = 2.0  # seconds that clients have to take what the worker answered before it ended
QUESTIONS = 3
ANSWERS = 4


class Connection:
    """One client: what came from it and is not a whole frame yet, and what is still to be sent to it."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.received = bytearray()
        self.to_send = bytearray()
        self.closed = False

    def frames(self) -> list[bytes]:
        """The whole frames received, taken out of the buffer."""
        return take_frames(self.received)


def take_frames(buffer: bytearray) -> list[bytes]:
    """Take whole frames off the beginning of `buffer`.

    Raises:
        ValueError: it does not begin with a frame.
    """
    frames = []
    while len(buffer) >= PREFIX.size:
        magic, header, body = PREFIX.unpack_from(buffer)
        if magic != b"YRD1" or header > MAX_HEADER or body > MAX_BODY:
            raise ValueError(magic)
        size = PREFIX.size + header + body
        if len(buffer) < size:
            break
        frames.append(bytes(memoryview(buffer)[:size]))
        del buffer[:size]
    return frames


class Bridge:
    """The loop between connections and one worker."""

    def __init__(self, listener: socket.socket, questions: int, answers: int) -> None:
        self.selector = selectors.DefaultSelector()
        self.listener = listener
        self.questions = questions
        self.answers = answers
        self.waiting: deque[tuple[Connection, bytes]] = deque()
        self.asked: Connection | None = None
        self.to_worker = bytearray()
        self.from_worker = bytearray()
        for fd in (questions, answers):
            os.set_blocking(fd, False)
        listener.setblocking(False)  # noqa: FBT003
        self.selector.register(listener, selectors.EVENT_READ, self.accept)
        self.selector.register(answers, selectors.EVENT_READ, self.read_answer)
        self.alive = True

    def run(self) -> None:
        """Serve until the worker closes its end.

        Raises:
            ValueError: the worker does not speak frames.
        """
        while self.alive:
            for key, events in self.selector.select():
                if isinstance(key.data, Connection):
                    self.serve(key.data, events)
                else:
                    key.data()
        self.drain()

    def drain(self) -> None:
        """Pass on the rest of the last answers, for a moment."""
        clients = [key.data for key in self.selector.get_map().values() if isinstance(key.data, Connection)]
        deadline = time.monotonic() + _LAST_WORDS
        for client in clients:
            client.sock.settimeout(max(0.001, deadline - time.monotonic()))
            with contextlib.suppress(OSError):
                client.sock.sendall(client.to_send)

    def accept(self) -> None:
        """Take a new client."""
        try:
            sock, _ = self.listener.accept()
        except OSError:  # gone again, or too many open files
            return
        sock.setblocking(False)  # noqa: FBT003
        self.selector.register(sock, selectors.EVENT_READ, Connection(sock))

    def serve(self, client: Connection, events: int) -> None:
        """Move bytes from and to one client."""
        try:
            if events & selectors.EVENT_READ:
                data = client.sock.recv(CHUNK)
                if not data:
                    self.drop(client)
                    return
                client.received += data
                self.waiting.extend((client, frame) for frame in client.frames())
                self.ask_next()
            if events & selectors.EVENT_WRITE:
                self.flush(client)
        except BlockingIOError:
            return
        except (OSError, ValueError):  # gone, or not speaking frames: it alone is dropped
            self.drop(client)

    def drop(self, client: Connection) -> None:
        """Forget a client; an answer that is still due to it is thrown away."""
        if not client.closed:
            client.closed = True
            self.selector.unregister(client.sock)
            client.sock.close()
            self.waiting = deque(item for item in self.waiting if item[0] is not client)

    def ask_next(self) -> None:
        """Send the next question if the worker is free."""
        if self.asked is None and self.waiting:
            self.asked, frame = self.waiting.popleft()
            self.to_worker += frame
            self.write_question()

    def write_question(self) -> None:
        """Write what the pipe takes; the rest when it is ready again."""
        try:
            while self.to_worker:
                del self.to_worker[: os.write(self.questions, memoryview(self.to_worker)[:CHUNK].tobytes())]
        except BlockingIOError:
            self.watch_questions(wanted=True)
            return
        except OSError:  # it reads no more: its last answer may still come, and then its end
            self.to_worker.clear()
        self.watch_questions(wanted=False)

    def watch_questions(self, *, wanted: bool) -> None:
        """Be woken, or not, when the worker can take more of the question."""
        watched = self.questions in self.selector.get_map()
        if wanted and not watched:
            self.selector.register(self.questions, selectors.EVENT_WRITE, self.write_question)
        elif watched and not wanted:
            self.selector.unregister(self.questions)

    def read_answer(self) -> None:
        """Read from the worker and pass a whole answer to whom it is due."""
        try:
            data = os.read(self.answers, CHUNK)
        except BlockingIOError:
            return
        if not data:
            self.alive = False
            return
        self.from_worker += data
        for frame in take_frames(self.from_worker):
            client, self.asked = self.asked, None
            if client is None:  # from here on answers would go to the wrong questions
                raise ValueError(frame[:CHUNK])
            if not client.closed:
                client.to_send += frame
                self.flush(client)
        self.ask_next()

    def flush(self, client: Connection) -> None:
        """Send what the client takes; the rest when it is ready again."""
        try:
            while client.to_send:
                del client.to_send[: client.sock.send(memoryview(client.to_send)[:CHUNK].tobytes())]
        except BlockingIOError:
            pass
        except OSError:
            self.drop(client)
            return
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if client.to_send else 0)
        self.selector.modify(client.sock, events, client)


def start_worker(command: list[str], questions: int, answers: int) -> int:
    """Start the command with the two pipe ends as descriptors 3 and 4; its process id."""
    pid = os.fork()
    if pid:
        return pid
    # Both may stand where the other must go, so they are moved out of the way first.
    safe_questions = os.dup(os.dup(os.dup(questions)))
    safe_answers = os.dup(answers)
    os.dup2(safe_questions, QUESTIONS, inheritable=True)
    os.dup2(safe_answers, ANSWERS, inheritable=True)
    try:
        os.execvp(command[0], command)  # noqa: S606
    except OSError as error:
        os.write(2, f"{command[0]} does not start: {error}\n".encode())
    os._exit(127)


def main(arguments: list[str]) -> int:
    """Listen, start the worker, pass frames until it ends; the exit code to end with."""
    path, command = arguments[1], arguments[3:]
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    old = os.umask(0o177)
    listener.bind(path)
    os.umask(old)
    question_end, questions = os.pipe()
    answers, answer_end = os.pipe()
    pid = start_worker(command, question_end, answer_end)
    os.close(question_end)
    os.close(answer_end)
    signal.signal(signal.SIGTERM, lambda *_: os.kill(pid, signal.SIGTERM))
    listener.listen(64)
    try:
        Bridge(listener, questions, answers).run()
    except ValueError:  # the worker does not speak frames
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        return EXIT_MALFORMED
    finally:
        with contextlib.suppress(OSError):  # the engine was faster, or within walls nothing can be removed
            os.unlink(path)  # noqa: PTH108
    os.close(questions)
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else _SIGNALLED - code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
