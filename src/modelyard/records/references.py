"""Names and references: `department/name`, `department/name@alias`, `department/name/7`."""

from __future__ import annotations

import re
from typing import Self

from msgspec import Struct

from modelyard.records.errors import InvalidError

NAME = re.compile(r"[a-z][a-z0-9-]{0,62}", re.ASCII)
VERSION = re.compile(r"[1-9][0-9]{0,8}", re.ASCII)
CHAMPION = "champion"
_SHOWN = 80  # characters of a wrong name repeated back to a person


def shown(text: str) -> str:
    r"""The text, quoted, shortened and with control characters escaped, fit for a message or a log.

    >>> shown("ab\ncd")
    "'ab\\ncd'"
    """
    cut = text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
    return ascii(cut)


def check_name(text: str, what: str = "name") -> str:
    """The text itself if it is a name, `[a-z][a-z0-9-]{0,62}`.

    Args:
        text: the candidate.
        what: what it names, for the message: "department", "model name", "alias".

    Raises:
        InvalidError: it is not a name.

    >>> check_name("fuel-cost")
    'fuel-cost'
    """
    if NAME.fullmatch(text):
        return text
    raise InvalidError(
        f"{shown(text)} is not a {what}.",
        "Names have 1 to 63 characters: small letters a to z, digits and '-', beginning with a letter.",
        field=what,
    )


class Reference(Struct, frozen=True, order=True):
    """A model, and perhaps one of its versions or aliases.

    Examples:
        >>> Reference.parse("finance/fuel-cost@champion").alias
        'champion'
        >>> Reference.parse("finance/fuel-cost/7").version
        7
        >>> str(Reference("finance", "fuel-cost", version=7))
        'finance/fuel-cost/7'
    """

    department: str
    name: str
    alias: str | None = None
    version: int | None = None

    @property
    def model(self) -> str:
        """`department/name`."""
        return f"{self.department}/{self.name}"

    def __str__(self) -> str:
        if self.version is not None:
            return f"{self.model}/{self.version}"
        return f"{self.model}@{self.alias}" if self.alias else self.model

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a reference as a person types it.

        Raises:
            InvalidError: it is none; the message says which part.
        """
        path, at, alias = text.partition("@")
        department, *rest = path.split("/")
        if len(rest) not in (1, 2) or (at and rest[1:]):
            raise InvalidError(
                f"{shown(text)} is not a reference to a model.",
                "Write department/name, department/name@alias or department/name/7.",
                field="reference",
            )
        number = rest[1] if rest[1:] else None
        if number is not None and not VERSION.fullmatch(number):
            hint = "Versions are whole numbers from 1."
            raise InvalidError(f"{shown(number)} is not a version.", hint, field="version")
        return cls(
            check_name(department, "department"),
            check_name(rest[0], "model name"),
            alias=check_name(alias, "alias") if at else None,
            version=int(number) if number else None,
        )
