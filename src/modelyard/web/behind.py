"""What pages work with beside the API's services. `app/front.py` fills it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from modelyard.api.exchange import Reply
from modelyard.api.predict import Target
from modelyard.records.people import Grant
from modelyard.web.provider import Accounts
from modelyard.web.pulse import Pulse
from modelyard.web.site import Site

Ask = Callable[[Grant, Target, bytes, bytes, bytes], Awaitable[Reply]]


@dataclass(frozen=True, kw_only=True)
class Behind:
    """The parts behind the pages.

    Attributes:
        pulse: what was asked lately.
        ask: predicts: who asks, of which model, the body, its content type, and the one wanted back.
        max_body: bytes of one prediction request.
        site: under which address people reach the yard.
        company: with whose accounts people may sign in as well, if anybody's.
        warning: what every page says above all else, for as long as it holds; "" for nothing.
    """

    pulse: Pulse
    ask: Ask
    max_body: int
    site: Site
    company: Accounts | None = None
    warning: str = ""
