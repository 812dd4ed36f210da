"""Ask a worker one question at a time over its socket, blocking: for the engine's checks and pings."""

from __future__ import annotations

import socket
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from modelyard.records.errors import DeadlineError, MalformedError, ModelError, WorkerLostError
from modelyard.workers import remote, wire
from modelyard.workers.wire import Frame


class Talk:
    """A connection to a worker.

    Args:
        path: the worker's socket.

    Raises:
        OSError: nobody listens there (yet).
    """

    def __init__(self, path: Path) -> None:
        if (far := remote.far_of(path)) is not None:
            self._socket: socket.socket = remote.connect(far, remote.FRAMES)
            return
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.connect(str(path))
        except OSError:
            self._socket.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def ask(self, question: Frame, timeout: float) -> Frame:
        """The worker's answer.

        Raises:
            ModelError: the worker answered `error`; the message is the model's own.
            DeadlineError: no answer in `timeout` seconds.
            WorkerLostError: the worker ended instead.
            MalformedError: what it answered is not a frame, or larger than any answer to such a question.
        """
        deadline = time.monotonic() + timeout
        self._socket.settimeout(timeout)
        try:
            asked = wire.encode(question)
            self._socket.sendall(asked)
            most = wire.largest_answer(len(asked))
            header, body = wire.lengths(self._read(wire.PREFIX.size, deadline), most)
            answer = wire.decode_parts(self._read(header, deadline), self._read(body, deadline))
        except TimeoutError as error:
            raise DeadlineError(f"No answer to `{question.verb}` in {timeout:g} s.") from error
        except OSError as error:
            raise WorkerLostError(f"The worker ended before it answered `{question.verb}`.") from error
        if answer.verb == "error":
            raise ModelError(answer.get("message", "no message"), kind=answer.get("kind"))
        if answer.get("id") != question.get("id"):
            raise MalformedError(
                f"The worker answered {answer.get('id')!r}, asked was {question.get('id')!r}."
            )
        return answer

    def _read(self, size: int, deadline: float) -> bytes:
        data = bytearray(size)
        view, at = memoryview(data), 0
        while at < size:
            left = deadline - time.monotonic()
            if left <= 0:  # bytes come, but too slowly
                raise TimeoutError
            self._socket.settimeout(left)
            got = self._socket.recv_into(view[at:])
            if got == 0:
                raise ConnectionResetError
            at += got
        return bytes(data)
