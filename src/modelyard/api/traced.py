"""A front whose requests are traced: a span for each, and one inside for the time of the model."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from modelyard.api.predict import target_of
from modelyard.logs import without_secrets
from modelyard.records.rollouts import ServedVersion
from modelyard.serving.answers import Answer
from modelyard.serving.counters import Counters
from modelyard.serving.inputs import Inputs
from modelyard.serving.pool import Pool
from modelyard.serving.predict import Predictor
from modelyard.serving.tap import Asked
from modelyard.serving.trials import Trials
from modelyard.traces import Tracing, Value

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

_FAILED = 500
_SHOWN = 4  # steps of a path that a span is named by: /api/v1/models


class TracedFront:
    """ASGI middleware around a front.

    Args:
        app: what answers.
    """

    def __init__(self, app: App, tracing: Tracing) -> None:
        self._app = app
        self._tracing = tracing

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request within a span."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        target = target_of(scope["path"])
        known: dict[str, Value] = {
            "http.request.method": scope["method"],
            "url.path": without_secrets(scope["path"]),
        }
        if target is not None:
            known["yard.model"] = target.model
        with self._tracing.span(_name(scope), known, scope["headers"], serves=True) as span:

            async def noted(message: Message) -> None:
                if message["type"] == "http.response.start":
                    span.set_attribute("http.response.status_code", message["status"])
                    for name, value in message.get("headers", ()):
                        if name == b"x-request-id":
                            span.set_attribute("yard.request_id", value.decode("latin-1"))
                    if message["status"] >= _FAILED:
                        span.set_attribute("error.type", str(message["status"]))
                await send(message)

            await self._app(scope, receive, noted)


def _name(scope: Message) -> str:
    """What a span is called: few different names, so that they can be counted."""
    if target_of(scope["path"]) is not None:
        return f"{scope['method']} /models/…/predict"
    return f"{scope['method']} {'/'.join(without_secrets(scope['path']).split('/')[:_SHOWN])}"


class TracedPredictor(Predictor):
    """A predictor that makes a span of the time between checked rows and the recorded answer."""

    def __init__(self, tracing: Tracing, pool: Pool, counters: Counters, trials: Trials) -> None:
        super().__init__(pool, counters, trials)
        self._tracing = tracing

    async def answer(self, served: ServedVersion, inputs: Inputs, asked: Asked) -> Answer:
        """See `Predictor.answer`."""
        known: dict[str, Value] = {
            "yard.model": served.model,
            "yard.rows": inputs.count,
            "yard.route": asked.route,
        }
        with self._tracing.span("predict", known) as span:
            answer = await super().answer(served, inputs, asked)
            span.set_attribute("yard.version", answer.version)
            return answer
