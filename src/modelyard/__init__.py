"""Modelyard: where a company's departments build, keep, launch and refit their models.

    import modelyard as yard

    yard.publish(model, "operations/arrival-delay", example=X.head(20), metrics={"mae": 12.1})
    yard.predict("operations/arrival-delay", rows)

The names come from `modelyard.client` when they are first used, so that a server's process, which has no
use for them, does not load an HTTP client.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from modelyard.client import (
        CheckError,
        Yard,
        alias,
        answer,
        datasets,
        history,
        log,
        models,
        outcomes,
        parameter,
        predict,
        promote,
        publish,
        publish_path,
        pull_data,
        push_data,
        rollback,
        save,
        show,
        show_data,
        versions,
        whoami,
    )

__all__ = [
    "CheckError",
    "Yard",
    "alias",
    "answer",
    "datasets",
    "history",
    "log",
    "models",
    "outcomes",
    "parameter",
    "predict",
    "promote",
    "publish",
    "publish_path",
    "pull_data",
    "push_data",
    "rollback",
    "save",
    "show",
    "show_data",
    "versions",
    "whoami",
]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'modelyard' has no attribute {name!r}")
    from modelyard import client  # noqa: PLC0415  # see above

    return getattr(client, name)
