"""`/metrics`: what all fronts of the node have counted, for Prometheus."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress

from modelyard.api.auth import identify
from modelyard.api.errors import MethodError
from modelyard.api.exchange import Receive, Reply, Scope, Send, exchange, header
from modelyard.records.alerts import Alert
from modelyard.records.errors import YardError
from modelyard.records.people import Need
from modelyard.records.rollouts import MANY_ROWS, RouteTable, version_of
from modelyard.serving.counters import exposition
from modelyard.serving.routes import check_confirmed
from modelyard.workers.control import Reply as EngineReply
from modelyard.workers.control import WorkerInfo

NEED = Need.SIGNED_IN  # one sees the samples of the departments one sees

_TEXT = b"text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """Answers `/metrics`.

    Args:
        report: the node's workers and counters.
        alerts: those that are open and that nobody has seen; blocking.
    """

    def __init__(
        self,
        table: Callable[[], RouteTable],
        report: Callable[[], Awaitable[EngineReply]],
        alerts: Callable[[], list[Alert]] = list,
    ) -> None:
        self._table = table
        self._report = report
        self._alerts = alerts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002  # ASGI
        """Answer one request."""
        await exchange(scope, send, "metrics", self._answer(scope))

    async def _answer(self, scope: Scope) -> Reply:
        table = self._table()
        grant = identify(header(scope, b"authorization").decode("latin-1"), table)
        check_confirmed(
            table, Need.PREDICT
        )  # what is wrong while the database is away is in the metrics, too
        if scope["method"] not in ("GET", "HEAD"):
            raise MethodError("Metrics are read with GET.", "Use GET.", allow="GET, HEAD")
        report = await self._report()
        text = exposition(report.counters, grant.seen, grant.shared_models)
        workers = [w for w in report.workers if grant.sees_model(version_of(w.version_id)[0])]
        alerts: list[Alert] = []
        with suppress(YardError):  # without its database a node has metrics all the same
            alerts = await asyncio.to_thread(self._alerts)
        seen = [alert for alert in alerts if grant.sees_model(alert.model)]
        return Reply((text + _workers(workers) + _open(seen)).encode(), _TEXT)


def _open(alerts: list[Alert]) -> str:
    counts = Counter((alert.model, alert.level.value) for alert in alerts)
    lines = [
        "# HELP modelyard_alerts_open Alerts that are open and that nobody has acknowledged.",
        "# TYPE modelyard_alerts_open gauge",
    ]
    for (model, level), count in sorted(counts.items()):
        lines.append(f'modelyard_alerts_open{{model="{model}",level="{level}"}} {count}')
    return "\n".join(lines) + "\n"


def _workers(workers: list[WorkerInfo]) -> str:
    lines = [
        "# HELP modelyard_worker_memory_bytes Resident memory of a worker.",
        "# TYPE modelyard_worker_memory_bytes gauge",
    ]
    for worker in workers:
        model, version = version_of(worker.version_id)
        labels = f'model="{model}",version="{version}",replica="{worker.replica}"'
        if worker.version_id.endswith(MANY_ROWS):
            labels += ',rows="many"'
        lines.append(f"modelyard_worker_memory_bytes{{{labels}}} {worker.memory}")
    return "\n".join(lines) + "\n"
