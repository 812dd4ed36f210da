"""A browser's request: its form, what it takes, who asks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

from modelyard.api.requests import YardRequest
from modelyard.api.services import Services
from modelyard.records.errors import MalformedError
from modelyard.records.people import Grant

FORM = "application/x-www-form-urlencoded"
_LONGEST_NUMBER = 9  # digits
_MOST_FIELDS = 5_000  # a form has a few for each column of a signature, which has up to 2,000


class PageRequest(YardRequest):
    """What a page's handler asks of its request."""

    @property
    def services(self) -> Services:
        """The parts behind the pages."""
        services: Services = self.app.state.services
        return services

    @property
    def grant(self) -> Grant | None:
        """Who asks; None for a stranger."""
        return self.scope.get("state", {}).get("grant")

    @property
    def takes_gzip(self) -> bool:
        """Whether the answer may be compressed."""
        return "gzip" in self.headers.get("accept-encoding", "")

    @property
    def is_part(self) -> bool:
        """Whether htmx asks for a part of a page, to put it into the one that is there."""
        return self.headers.get("hx-request") == "true"

    @property
    def address(self) -> str:
        """The path with the query, to come back to."""
        query = self.scope.get("query_string", b"").decode("latin-1")
        return f"{self.scope['path']}?{query}" if query else self.scope["path"]

    @property
    def site(self) -> str:
        """This yard's address, as the person's browser has it."""
        return f"{self.scope['scheme']}://{self.headers.get('host', 'localhost')}"

    async def fields(self) -> dict[str, str]:
        """The form's fields; of several with one name the last."""
        return read_fields(await self.body())

    async def all_fields(self) -> list[tuple[str, str]]:
        """The form's fields in order, also those of one name."""
        return _pairs(await self.body())


def read_fields(body: bytes) -> dict[str, str]:
    """A form's fields out of a body.

    Raises:
        MalformedError: it is no form.

    >>> read_fields(b"why=a+try&version=2")
    {'why': 'a try', 'version': '2'}
    """
    return dict(_pairs(body))


def _pairs(body: bytes) -> list[tuple[str, str]]:
    try:
        return parse_qsl(
            body.decode("ascii"), keep_blank_values=True, max_num_fields=_MOST_FIELDS, errors="strict"
        )
    except (UnicodeDecodeError, ValueError) as error:
        raise MalformedError(f"The form cannot be read: {error}.", "Go back and send it again.") from error


def whole(text: str | None, otherwise: int = 1) -> int:
    """A whole number out of a query, or `otherwise` where it is none.

    >>> whole("12"), whole("-1"), whole(None, 0)
    (12, 1, 0)
    """
    return int(text) if text and text.isdecimal() and len(text) < _LONGEST_NUMBER else otherwise


def chosen(fields: Mapping[str, Any], name: str, otherwise: str = "") -> str:
    """A field without spaces around it."""
    return str(fields.get(name, otherwise)).strip()
