"""Roles in words, and what forms say of them."""

from __future__ import annotations

from collections.abc import Mapping

from modelyard.records.errors import InvalidError
from modelyard.records.people import Role
from modelyard.web.requests import chosen

WORDS = {
    Role.VIEWER: "sees models and histories",
    Role.CALLER: "sees, and asks for predictions",
    Role.BUILDER: "publishes, trains, reads data",
    Role.OWNER: "promotes, gives roles and tokens",
    Role.AUDITOR: "sees all but data",
    Role.ADMINISTRATOR: "may do everything",
}


def role_of(typed: Mapping[str, str]) -> Role:
    """The role that a form says.

    Raises:
        InvalidError: it is none.
    """
    try:
        return Role(chosen(typed, "role"))
    except ValueError as error:
        raise InvalidError("That is no role.", "Choose from the list.", field="role") from error


def days_of(typed: Mapping[str, str]) -> float | None:
    """The days that a form says; None where it is left empty.

    Raises:
        InvalidError: it is no number above 0.
    """
    text = chosen(typed, "days")
    try:
        days = float(text) if text else None
    except ValueError as error:
        raise InvalidError("That is no number of days.", "Write it as 90.", field="days") from error
    if days is not None and not 0 < days <= 3_650:  # noqa: PLR2004
        raise InvalidError("Something ends in more than 0 and at most 3650 days.", "Write 90.", field="days")
    return days
