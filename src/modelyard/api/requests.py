"""Bodies and path parameters of control requests."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

import msgspec
from litestar import Request
from litestar.params import FromPath
from litestar.types import Scope

from modelyard.records.errors import InvalidError, MalformedError
from modelyard.records.references import VERSION, check_name, shown

MAX_BODY = 1024 * 1024
_MAX_ADDRESS = 100


class YardRequest(Request[Any, Any, Any]):
    """Decodes a body straight into the handler's record: strict, in one pass, unknown fields refused."""

    async def json(self) -> Any:  # noqa: ANN401 - as Litestar declares it
        """The body as the type of the handler's `data`.

        Raises:
            InvalidError: it is JSON but not of that type; the message says where.
            MalformedError: it is no JSON.
        """
        field = self.route_handler.parsed_data_field
        try:
            return msgspec.json.decode(await self.body(), type=field.annotation if field else Any)
        except msgspec.ValidationError as error:
            raise InvalidError(
                f"The body is not as it must be: {error}.", "See /api/openapi.json."
            ) from error
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise MalformedError(f"The body is not JSON: {error}.", "Send valid JSON in UTF-8.") from error


def caller_address(scope: MutableMapping[str, Any] | Scope) -> str:
    """The address that a request comes from: the connection's, or, where that is one of the operator's own
    proxies (`YARD_PROXIES`), what it says. At most 100 characters: a proxy may pass on anything.
    """
    client = scope.get("client")
    return str(client[0])[:_MAX_ADDRESS] if client else ""


def model_of(department: FromPath[str], name: FromPath[str]) -> str:
    """`department/name` out of two path parameters.

    Raises:
        InvalidError: one is not a name.
    """
    return f"{check_name(department, 'department')}/{check_name(name, 'model name')}"


def version_of(version: FromPath[str]) -> int:
    """A version's number out of the path parameter."""
    return number_of(version, "version")


def number_of(text: str, what: str) -> int:
    """A whole number out of a path parameter.

    Raises:
        InvalidError: it is not a whole number from 1.
    """
    if not VERSION.fullmatch(text):
        raise InvalidError(f"{shown(text)} is not a {what}.", "It is a whole number from 1.", field=what)
    return int(text)
