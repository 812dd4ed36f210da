"""The door for outcomes, beside that for predictions: what comes is recorded at once and matched later."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence

import msgspec

from modelyard.api.auth import identify
from modelyard.api.errors import NOWHERE, MethodError
from modelyard.api.exchange import (
    CSV,
    JSON_KINDS,
    PARQUET,
    Receive,
    Reply,
    Scope,
    Send,
    exchange,
    header,
    kind_of,
    read_body,
)
from modelyard.records.errors import NotFoundError, UnsupportedError
from modelyard.records.people import Need
from modelyard.records.rollouts import RouteTable, ServedVersion
from modelyard.records.signatures import Signature
from modelyard.serving import outcomes
from modelyard.serving.inputs import InputPlan
from modelyard.serving.parquet import ParquetReader
from modelyard.serving.routes import find_version

NEED = Need.PREDICT  # `find_version` decides by it

_NAME = "[a-z][a-z0-9-]{0,62}"
_PATH = re.compile(rf"/models/({_NAME}/{_NAME})/outcomes", re.ASCII)
_IN_A_THREAD = 64 * 1024  # bytes: more are read beside the event loop


class OutcomesDoor:
    """`POST /models/{department}/{name}/outcomes`.

    Args:
        table: the routes as they are now.
        record: writes records to the front's spool; they are safe when it returns.
        new_id: of a request.
        max_body: bytes of a request.
        max_rows: of a Parquet file, which can unfold into very many.
    """

    def __init__(
        self,
        table: Callable[[], RouteTable],
        record: Callable[[list[bytes]], None],
        new_id: Callable[[], str],
        max_body: int,
        max_rows: int,
    ) -> None:
        self._table = table
        self._record = record
        self._new_id = new_id
        self._max_body = max_body
        self._parquet = ParquetReader()
        self._plan = InputPlan(Signature(()), max_rows)

    async def close(self) -> None:
        """End the process that reads Parquet."""
        await self._parquet.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        await exchange(scope, send, self._new_id(), self._answer(scope, receive))

    async def _answer(self, scope: Scope, receive: Receive) -> Reply:
        table = self._table()
        grant = identify(header(scope, b"authorization").decode("latin-1"), table)
        found = _PATH.fullmatch(scope["path"])
        if found is None or b"%" in scope.get("raw_path", b""):
            raise NotFoundError(NOWHERE)
        if scope["method"] != "POST":
            raise MethodError("Outcomes are sent with POST.", "Send them as its body.", allow="POST")
        served = find_version(table, grant, found[1])  # outcomes must fit what the champion answers
        body = await read_body(scope, receive, self._max_body)
        kind = kind_of(header(scope, b"content-type"))
        count, frames = await self._read(kind, body, served)
        self._record(frames)
        return Reply(msgspec.json.encode({"model": served.model, "accepted": count}), status=202)

    async def _read(self, kind: bytes, body: bytes, served: ServedVersion) -> tuple[int, list[bytes]]:
        if kind == PARQUET:
            found = await self._parquet.read(self._plan, body)  # every column comes as a key
            return await asyncio.to_thread(_frames, outcomes.from_keys, found.keys or (), served)
        if kind not in (*JSON_KINDS, CSV):
            shown = kind.decode("latin-1")
            hint = "Send application/json, text/csv or application/vnd.apache.parquet."
            raise UnsupportedError(f"The content type {shown!r} is not taken here.", hint)
        read = outcomes.from_csv if kind == CSV else outcomes.from_json
        if len(body) > _IN_A_THREAD:
            return await asyncio.to_thread(_frames, read, body, served)
        return _frames(read, body, served)


def _frames(
    read: Callable[..., outcomes.Rows], body: bytes | Sequence[str | None], served: ServedVersion
) -> tuple[int, list[bytes]]:
    rows = read(body, served.signature)
    return len(rows), list(outcomes.frames(served.model, rows, served.signature))
