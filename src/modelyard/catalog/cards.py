"""Model cards: what a model is for, what it must not be used for, whom to ask. Kept with the versions."""

from __future__ import annotations

from datetime import UTC, datetime

from modelyard.catalog import looked_up
from modelyard.records.errors import InvalidError, TooLargeError
from modelyard.records.models import Card
from modelyard.store import audit, cards
from modelyard.store.database import Database

MAX_CARD = 64 * 1024  # characters
NOBODY = ""  # who wrote a card that was never written


class Cards:
    """Cards by model. Every method is one transaction.

    Methods raise NotFoundError for an unknown model or version.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def card(self, model: str, version: int | None = None) -> Card:
        """The card of a version (None: the one in use, else the newest); empty if none was written."""
        with self._database.read() as connection:
            known = looked_up.known(connection, looked_up.model_name(model))
            number = (known.champion or known.latest) if version is None else version
            found = cards.of_version(connection, model, number)
            return found or Card(model, number, "", known.created_at, NOBODY)

    def write(self, model: str, text: str, version: int | None = None, *, by: str) -> Card:
        """Keep a card from a version on (None: the one in use, else the newest).

        The same text again changes nothing.

        Raises:
            TooLargeError, InvalidError: it is too long, or has a NUL.
        """
        checked = _text(text)
        with self._database.write() as connection:
            looked_up.lock(connection, model)
            known = looked_up.known(connection, model)
            number = (known.champion or known.latest) if version is None else version
            looked_up.found(connection, model, number)
            before = cards.of_version(connection, model, number)
            if before is not None and before.text == checked:
                return before
            card = Card(model, number, checked, datetime.now(UTC), by)
            cards.add(connection, card)
            subject, old = f"{model}/{number}", before and before.text
            audit.append(connection, by=by, action="card.write", subject=subject, before=old, after=checked)
            return card


def _text(text: str) -> str:
    lines = text.replace("\r\n", "\n").strip()
    if len(lines) > MAX_CARD:
        message = f"The card has {len(lines):,} characters; the limit is {MAX_CARD:,}."
        raise TooLargeError(message, "Link to what is longer.")
    if "\0" in lines or any("\ud800" <= c <= "\udfff" for c in lines):
        raise InvalidError("The card has a NUL or half a character.", "Save it as UTF-8.", field="text")
    return lines
