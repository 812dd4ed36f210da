"""One tree of errors. Each says what happened and why, and `hint` says what to do next.

Nothing here knows HTTP: `modelyard.api.errors` alone turns these into statuses.
"""

from __future__ import annotations


class YardError(Exception):
    """Something a person can meet.

    Args:
        message: what happened and why, in whole sentences.
        hint: what to do next, or an empty string where the message says it.
        fields: where in the input it is, as `{"column": "age", "row": 3}`.
    """

    code = "error"

    def __init__(self, message: str, hint: str = "", **fields: object) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.fields = fields

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class InvalidError(YardError):
    """The input breaks a rule; the same input will never be accepted."""

    code = "invalid"


class MalformedError(YardError):
    """The input cannot be read at all: cut short, not JSON, not a frame."""

    code = "malformed"


class TooLargeError(YardError):
    """The input is over a limit that the message names."""

    code = "too-large"


class UnsupportedError(YardError):
    """The input is of a kind that is not taken here; the message says which are."""

    code = "unsupported"


class UnauthenticatedError(YardError):
    """No token, or one that is not valid (any longer)."""

    code = "unauthenticated"


class ForbiddenError(YardError):
    """Known who it is, but this is not theirs to do (only within what they may see)."""

    code = "forbidden"


class NotFoundError(YardError):
    """There is no such thing, or none that this person may know of."""

    code = "not-found"


class ConflictError(YardError):
    """The state does not allow it now: a failed version cannot become champion."""

    code = "conflict"


class BusyError(YardError):
    """A queue is full. Ask again after `retry_after` seconds."""

    code = "busy"

    def __init__(self, message: str, hint: str = "", retry_after: float = 1.0, **fields: object) -> None:
        super().__init__(message, hint, **fields)
        self.retry_after = retry_after


class LimitedError(BusyError):
    """Somebody tries too often. Ask again after `retry_after` seconds."""

    code = "limited"


class QuotaError(BusyError):
    """More was asked for than the token's limit allows. Ask again after `retry_after` seconds."""

    code = "over-limit"


class UnavailableError(BusyError):
    """A part that is needed does not answer at the moment: the database, the engine, a worker."""

    code = "unavailable"


class DeadlineError(YardError):
    """The model did not answer in time."""

    code = "deadline"


class ModelError(YardError):
    """The model's own code failed on these rows, or answered what it must not."""

    code = "model-failed"


class WorkerLostError(YardError):
    """The worker died before it answered; nobody knows whether these rows are the cause."""

    code = "worker-lost"


class WorkerStartError(YardError):
    """A worker could not be started or could not load its model. `log` is the end of its output."""

    code = "worker-start"

    def __init__(self, message: str, hint: str = "", log: str = "", **fields: object) -> None:
        super().__init__(message, hint, **fields)
        self.log = log


class UntrustedError(WorkerStartError):
    """A version is not what the yard has signed, so it is not loaded."""

    code = "untrusted"


class EnvironmentBuildError(WorkerStartError):
    """A model's environment cannot be had on this machine."""

    code = "environment"


class ReleaseError(EnvironmentBuildError):
    """The machine that should run it has another release of the yard."""

    code = "release"
