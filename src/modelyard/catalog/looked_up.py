"""Models and versions looked up inside a transaction, or the error that says what is not there."""

from __future__ import annotations

from sqlalchemy import Connection

from modelyard.records.errors import NotFoundError
from modelyard.records.models import Model, Version
from modelyard.records.references import check_name
from modelyard.records.signatures import Signature
from modelyard.store import models, versions

_MAX_NUMBER = 999_999_999


def model_name(text: str) -> str:
    """`department/name`, checked.

    Raises:
        InvalidError: it is not the name of a model.
    """
    department, _, name = text.partition("/")
    return f"{check_name(department, 'department')}/{check_name(name, 'model name')}"


def lock(connection: Connection, model: str) -> None:
    """Lock a model until the transaction ends.

    Raises:
        NotFoundError: there is none.
    """
    if not models.lock(connection, model_name(model)):
        raise unknown(model)


def held(connection: Connection, model: str, number: int) -> Version:
    """A version of a model that stays locked until the transaction ends."""
    lock(connection, model)
    return found(connection, model, number)


def known(connection: Connection, model: str) -> Model:
    """A model.

    Raises:
        NotFoundError: there is none.
    """
    if there := models.get(connection, model):
        return there
    raise unknown(model)


def found(connection: Connection, model: str, number: int) -> Version:
    """A version.

    Raises:
        NotFoundError: there is none.
    """
    there = versions.get(connection, model, number) if 1 <= number <= _MAX_NUMBER else None
    if there is None:
        known(connection, model)
        raise NotFoundError(f"{model} has no version {number}.", f"See what there is: yard show {model}.")
    return there


def signature(connection: Connection, model: str) -> Signature | None:
    """What a model takes and answers: its champion, else its newest version; None where none is checked."""
    there = known(connection, model)
    for number in (there.champion, there.latest):
        version = versions.get(connection, model, number) if number else None
        if version is not None and version.bundle.signature.outputs:
            return version.bundle.signature
    return None


def unknown(model: str) -> NotFoundError:
    """What is said of a model that is not there, or not for who asks."""
    return NotFoundError(f"There is no model {model}.", "See what there is: yard models.")
