"""The SDK as the commands use it: a yard that is closed when the command ends."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

import modelyard

OPEN = ExitStack()  # of one command; `main.run` closes it


def open_yard(
    url: str | None = None, token: str | None = None, progress: Callable[[str], None] | None = None
) -> modelyard.Yard:
    """A yard: the one given, or the one that the environment or `yard login` says."""
    yard = modelyard.Yard(url, token, progress)
    OPEN.callback(yard.close)
    return yard
