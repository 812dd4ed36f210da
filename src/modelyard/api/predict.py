"""The door for predictions: raw ASGI, beside the API's framework, because every microsecond is a caller's."""

from __future__ import annotations

import asyncio
import functools
import re
import time
from collections.abc import Callable
from typing import Protocol

from msgspec import Struct

from modelyard.api.auth import identify
from modelyard.api.errors import NOWHERE, MethodError
from modelyard.api.exchange import (
    CSV,
    JSON,
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
    refusal,
    wait_of,
)
from modelyard.api.files import Asking, FileLimits, Files, has_tables, version_header
from modelyard.records.errors import (
    ForbiddenError,
    NotFoundError,
    TooLargeError,
    UnauthenticatedError,
    UnsupportedError,
    YardError,
)
from modelyard.records.people import Grant, Need
from modelyard.records.references import CHAMPION
from modelyard.records.rollouts import RouteTable, ServedVersion
from modelyard.serving import answers, tables
from modelyard.serving.inputs import InputPlan, Inputs
from modelyard.serving.parquet import ParquetReader
from modelyard.serving.predict import Predictor
from modelyard.serving.routes import find_version
from modelyard.serving.tap import Asked

NEED = Need.PREDICT  # the policy of every address here; `find_version` decides by it

_NAME = "[a-z][a-z0-9-]{0,62}"
_PATH = re.compile(
    rf"/models/({_NAME}/{_NAME})(?:/versions/([1-9][0-9]{{0,8}})|/aliases/({_NAME}))?/predict", re.ASCII
)
_IN_A_THREAD = 256 * 1024  # bytes: a larger table is read beside the event loop,
_ROWS_IN_A_THREAD = 2_000  # and one of more rows written


class Target(Struct, frozen=True):
    """What an address names."""

    model: str
    version: int | None
    alias: str | None

    @property
    def route(self) -> str:
        """As it is recorded with the prediction."""
        return self.alias or ("version" if self.version is not None else CHAMPION)


def target_of(path: str) -> Target | None:
    """What a path names, or None if it is no prediction address.

    >>> target_of("/models/finance/fuel-cost/versions/3/predict").version
    3
    """
    found = _PATH.fullmatch(path)
    if found is None:
        return None
    model, version, alias = found.groups()
    return Target(model, int(version) if version else None, alias)


class Head(Struct, frozen=True):
    """What the head of a plain request says: a small JSON body follows it, and JSON is wanted.

    Attributes:
        length: bytes of the body.
        wait: seconds the answer may take, or None.
    """

    path: str
    target: Target
    authorization: str
    length: int
    wait: float | None


class Asker(Protocol):
    """Whom the answer to a plain request goes to."""

    def gone(self) -> bool:
        """Whether nobody waits for the answer any more."""

    def answer(self, reply: Reply, request_id: str) -> None:
        """Take the answer, once."""


class PredictDoor:
    """`POST /models/{department}/{name}/predict`, `…/versions/{n}/predict`, `…/aliases/{a}/predict`.

    Args:
        table: the routes as they are now.
        max_body: bytes of a request.
        files: which bodies are answered from a file; None: none are.
    """

    def __init__(
        self,
        table: Callable[[], RouteTable],
        predictor: Predictor,
        max_body: int,
        files: FileLimits | None = None,
    ) -> None:
        self._table = table
        self._predictor = predictor
        self._max_body = max_body
        self._parquet = ParquetReader()
        self._files = Files(predictor, files) if files else None

    async def close(self) -> None:
        """End the process that reads Parquet."""
        await self._parquet.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request_id = self._predictor.new_request_id()
        await exchange(scope, send, request_id, self._answer(scope, receive, request_id))

    async def _answer(self, scope: Scope, receive: Receive, request_id: str) -> Reply:
        table = self._table()
        authorization = header(scope, b"authorization").decode("latin-1")
        grant = identify(authorization, table)
        target = target_of(scope["path"])
        if target is None or b"%" in scope.get("raw_path", b""):
            raise NotFoundError(NOWHERE)
        if scope["method"] != "POST":
            hint = "Send the rows as the body of a POST."
            raise MethodError("Predictions are asked for with POST.", hint, allow="POST")
        served = find_version(table, grant, target.model, target.alias, target.version)
        kinds = kind_of(header(scope, b"content-type")), header(scope, b"accept")
        wait = wait_of(header(scope, b"prefer"))
        pinned = functools.partial(self._version, authorization, target.model)
        asking = Asking(grant, served, target.route, wait, pinned)
        if self._files is not None and self._files.takes(scope, kinds):
            return await self._files.reply(scope, receive, asking, kinds, request_id)
        body = await read_body(scope, receive, self._max_body)
        try:
            return await self._predict(served, grant, target, body, kinds, request_id, wait)
        except TooLargeError:  # no row has been answered
            if self._files is None or not has_tables(kinds):
                raise
            file = self._files.kept(body)
            return await self._files.reply_to(file, receive, asking, kinds, request_id)

    def _version(self, authorization: str, model: str, number: int) -> ServedVersion:
        """The version, as long as whoever asks may ask it: rights may go while a large file is answered."""
        table = self._table()
        return find_version(table, identify(authorization, table), model, None, number)

    def ask_plainly(self, head: Head, body: bytes, asker: Asker) -> bool:
        """Answer a plain request, at once or later; False where only the long way will do: in a rollout, or
        where it is too large.

        What is decided is what `__call__` decides, by the same functions.
        """
        if head.length > self._max_body:
            return False
        request_id = self._predictor.new_request_id()
        began = time.monotonic()

        def then(outcome: answers.Answer | YardError) -> None:
            if isinstance(outcome, YardError):
                reply = refusal(outcome, "POST", head.path, request_id)
            else:
                reply = Reply(answers.to_json(outcome), headers=version_header(outcome))
            asker.answer(reply, request_id)

        try:
            table = self._table()
            grant = identify(head.authorization, table)
            target, route = head.target, head.target.route
            served = find_version(table, grant, target.model, target.alias, target.version)
            if self._predictor.is_tried(served, route):
                return False
            inputs = self._predictor.plan(served).from_json(body)
            self._predictor.admit(grant, inputs.count)
            caller, wait = grant.principal, head.wait
            asked = Asked(request_id, caller, route, inputs.count, began, inputs.keys, wait)
            self._predictor.ask(served, inputs, asked, then, asker.gone)
        except (UnauthenticatedError, ForbiddenError, NotFoundError):
            return False  # the long way refuses it again, and knows for the audit where it comes from
        except Exception as error:  # noqa: BLE001  # whatever it is, it is explained and logged
            asker.answer(refusal(error, "POST", head.path, request_id), request_id)
        return True

    async def ask(
        self, grant: Grant, target: Target, body: bytes, kind: bytes, accept: bytes = JSON
    ) -> Reply:
        """The answer to a request that came in by another door, as the pages' do.

        Args:
            kind: the body's content type.
            accept: the content type wanted.

        Raises:
            YardError: as a caller of the address would meet it.
        """
        served = find_version(self._table(), grant, target.model, target.alias, target.version)
        request_id = self._predictor.new_request_id()
        return await self._predict(served, grant, target, body, (kind, accept), request_id, None)

    async def _predict(  # which version, who asks by which name, what, how, under which id, how long
        self,
        served: ServedVersion,
        grant: Grant,
        target: Target,
        body: bytes,
        kinds: tuple[bytes, bytes],
        request_id: str,
        wait: float | None,
    ) -> Reply:
        began = time.monotonic()
        kind, accept = kinds
        inputs = await read_inputs(self._predictor.plan(served), kind, body, self._parquet)
        self._predictor.admit(grant, inputs.count)
        caller, route = grant.principal, target.route
        asked = Asked(request_id, caller, route, inputs.count, began, inputs.keys, wait)
        return await write_answer(await self._predictor.answer(served, inputs, asked), accept)


async def read_inputs(plan: InputPlan, kind: bytes, body: bytes, parquet: ParquetReader) -> Inputs:
    """The rows of a body of this content type.

    Raises:
        UnsupportedError: another content type.
        YardError: see `InputPlan` and `serving.tables`.
    """
    if kind in JSON_KINDS:
        if len(body) > _IN_A_THREAD:
            return await asyncio.to_thread(plan.table_from_json, body)
        return plan.from_json(body)
    if kind not in (CSV, PARQUET):
        raise UnsupportedError(
            f"The content type {kind.decode('latin-1')!r} is not taken here.",
            "Send application/json, text/csv or application/vnd.apache.parquet.",
        )
    if kind == PARQUET:
        return await parquet.read(plan, body)
    if len(body) <= _IN_A_THREAD:
        return _from_csv(plan, body)
    return await asyncio.to_thread(_from_csv, plan, body)


def _from_csv(plan: InputPlan, body: bytes) -> Inputs:
    return tables.from_table(plan, tables.read_csv(body, plan.numbers))


async def write_answer(answer: answers.Answer, accept: bytes) -> Reply:
    """The answer as the caller wants it: JSON, unless `Accept` names CSV or Parquet."""
    version = version_header(answer)
    if CSV in accept:
        return Reply(await asyncio.to_thread(answers.to_csv, answer), CSV, headers=version)
    if PARQUET in accept:
        return Reply(await asyncio.to_thread(answers.to_parquet, answer), PARQUET, headers=version)
    if len(answer.outputs[0] if answer.outputs else ()) > _ROWS_IN_A_THREAD:
        return Reply(await asyncio.to_thread(answers.to_json, answer), headers=version)
    return Reply(answers.to_json(answer), headers=version)
