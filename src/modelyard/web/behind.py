"""What pages work with beside the API's services. `app.py` fills it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from modelyard.api.exchange import Reply
from modelyard.api.predict import Target
from modelyard.records.people import Grant
from modelyard.web.pulse import Pulse

Ask = Callable[[Grant, Target, bytes, bytes, bytes], Awaitable[Reply]]


@dataclass(frozen=True, kw_only=True)
class Behind:
    """The parts behind the pages.

    Attributes:
        pulse: what was asked lately.
        ask: predicts: who asks, of which model, the body, its content type, and the one wanted back.
        max_body: bytes of one prediction request.
    """

    pulse: Pulse
    ask: Ask
    max_body: int
