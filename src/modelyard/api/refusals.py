"""Attempts that were refused, for the audit, so that whoever makes many costs the yard little.

A refusal is counted in memory, under who made it, from which address, on which kind of address of ours, and
why: half a dozen microseconds, on the refused request's own time. The first of a kind is written within
seconds; those that follow are one further entry with their number after ten minutes, then after twenty and so
on up to some hours. At most `KINDS` are told apart at a time, all further ones are counted as one. So the
audit of a front grows by a few hundred kilobytes a day at most, whatever is done to it.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Callable, MutableMapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, NamedTuple

from modelyard.api.requests import caller_address
from modelyard.records.audit import YARD
from modelyard.records.errors import (
    ForbiddenError,
    NotFoundError,
    UnauthenticatedError,
    YardError,
)
from modelyard.records.people import Grant
from modelyard.records.references import NAME
from modelyard.store.audit import Origin

log = logging.getLogger(__name__)

KINDS = 64
_LOOK_EVERY = 2.0  # seconds
_FIRST_WAIT = 600.0
_LONGEST_WAIT = 4 * 3600.0
_REFUSALS = (UnauthenticatedError, ForbiddenError)

Row = tuple[Origin, str, str, object]


class _Kind(NamedTuple):
    by: str
    address: str
    why: str
    where: str
    subject: str


_OTHERS = _Kind("", "", "further", "", YARD)


class _Count:
    """What is known of one kind; `due` and `wait` in seconds of the monotonic clock."""

    def __init__(self, now: float) -> None:
        self.times = 0
        self.wait = _FIRST_WAIT
        self.due = now
        self.request = ""
        self.via = ""
        self.begin = self.end = datetime.now(UTC)

    def add(self, request: str, via: str) -> None:
        self.end = datetime.now(UTC)
        if not self.times:
            self.request, self.via, self.begin = request, via, self.end
        self.times += 1


class Refusals:
    """Counts refused attempts and has them written.

    Args:
        write: keeps rows in the audit; blocking. One that fails is tried again later.
        whose: the grant behind an `Authorization` header, or UnauthenticatedError.
    """

    def __init__(self, write: Callable[[list[Row]], None], whose: Callable[[str], Grant]) -> None:
        self._write = write
        self._whose = whose
        self._counts: dict[_Kind, _Count] = {}

    def note(self, scope: MutableMapping[str, Any], error: YardError, request_id: str) -> None:
        """Count a request that ended with this error, if that refused it."""
        if not isinstance(error, (*_REFUSALS, NotFoundError)):
            return  # before anybody is looked up: a yard that is busy answers many such
        grant = scope.get("state", {}).get("grant") or self._grant(scope)
        department = _department(scope)
        hidden = isinstance(error, NotFoundError) and grant and department and not grant.sees(department)
        if not (isinstance(error, _REFUSALS) or hidden):
            return
        by, via = (grant.principal, f"token {grant.token_id}") if grant else ("", "")
        kind = _Kind(by, caller_address(scope), error.code, _where(scope), (grant and department) or YARD)
        now = time.monotonic()
        if kind not in self._counts and len(self._counts) >= KINDS:
            kind = _OTHERS
        self._counts.setdefault(kind, _Count(now)).add(request_id, via)

    def due(self, now: float, *, all_of_them: bool = False) -> list[Row]:
        """What is to be written at this time of the monotonic clock; kinds that were quiet are forgotten."""
        rows: list[Row] = []
        for kind, count in list(self._counts.items()):
            if count.due > now and not all_of_them:
                continue
            if not count.times:
                del self._counts[kind]
                continue
            rows.append(_row(kind, count))
            count.times = 0
            count.due, count.wait = now + count.wait, min(count.wait * 2, _LONGEST_WAIT)
        return rows

    async def run(self) -> None:
        """Write what is due, until cancelled; then all that is left."""
        waiting: list[Row] = []
        try:
            while True:
                await asyncio.sleep(_LOOK_EVERY)
                waiting = await self._written(waiting + self.due(time.monotonic()))
        finally:
            with suppress(YardError):
                if rows := waiting + self.due(time.monotonic(), all_of_them=True):
                    self._write(rows)

    async def _written(self, rows: list[Row]) -> list[Row]:
        """The rows that could not be written: all of them or none."""
        if rows:
            try:
                await asyncio.to_thread(self._write, rows)
            except YardError as error:
                log.warning("refused attempts are not in the audit yet: %s", error)
                return rows[: 4 * KINDS]
        return []

    def _grant(self, scope: MutableMapping[str, Any]) -> Grant | None:
        sent = [value for name, value in scope.get("headers", ()) if name == b"authorization"]
        with suppress(UnauthenticatedError):
            return self._whose(sent[0].decode("latin-1")) if len(sent) == 1 else None
        return None


def _where(scope: MutableMapping[str, Any]) -> str:
    """The kind of address: of ours there are some dozens, whatever is sent."""
    path = scope["path"]
    template = scope.get("path_template") or (f"/{path.split('/')[1]}/…" if path.startswith(_DOORS) else "")
    return f"{scope['method']} {template}"


_DOORS = ("/models/", "/v2/")
_OF_DOOR = re.compile(r"/(?:v2/)?models/([^/.]+)")


def _department(scope: MutableMapping[str, Any]) -> str:
    """The department it was about, as the address has it; empty where it names none."""
    given = (scope.get("path_params") or {}).get("department") or ""
    if not given and (found := _OF_DOOR.match(scope["path"])):
        given = found[1]
    return given if NAME.fullmatch(given) else ""


def _row(kind: _Kind, count: _Count) -> Row:
    told = {
        "why": kind.why,
        "where": kind.where,
        "times": count.times,
        "from": count.begin,
        "to": count.end,
    }
    return Origin(kind.address, count.request, count.via), kind.by, kind.subject, told
