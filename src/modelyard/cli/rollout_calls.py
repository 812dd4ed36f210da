"""What the API says and takes of rollouts and policies; an SDK of few verbs leaves them out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from modelyard.records.policies import Policy
from modelyard.records.references import Reference
from modelyard.records.rollouts import Rollout

if TYPE_CHECKING:
    from modelyard.client.connection import Connection  # brings httpx: `yard --help` does without


class RolloutCalls:
    """What the API says and takes of one model's rollouts and policy.

    Args:
        model: `department/name`.
    """

    def __init__(self, connection: Connection, model: str) -> None:
        self._connection = connection
        self._path = f"/api/v1/models/{Reference.parse(model).model}"

    def rollouts(self) -> list[Rollout]:
        """All of them, newest first."""
        return self._connection.get(f"{self._path}/rollouts", list[Rollout])

    def start(
        self, version: int, why: str, rollout: Sequence[str] | None = None, approval: str | None = None
    ) -> Rollout:
        """Begin one; stages and approval are the policy's where they are None."""
        body: dict[str, Any] = {"version": version, "why": why}
        if rollout is not None:
            body["rollout"] = list(rollout)
        if approval is not None:
            body["approval"] = approval
        return self._connection.send("POST", f"{self._path}/rollouts", Rollout, body)

    def approve(self, why: str) -> Rollout:
        """Let the candidate become champion."""
        return self._connection.send("POST", f"{self._path}/rollouts/approve", Rollout, {"why": why})

    def stop(self, why: str) -> Rollout:
        """End the one that goes on."""
        return self._connection.send("POST", f"{self._path}/rollouts/stop", Rollout, {"why": why})

    def policy(self) -> Policy:
        """The model's policy."""
        return self._connection.get(f"{self._path}/policy", Policy)

    def set_policy(self, retrain: dict[str, Any], promote: dict[str, Any]) -> Policy:
        """Set it."""
        body = {"retrain": retrain, "promote": promote}
        return self._connection.send("PUT", f"{self._path}/policy", Policy, body)

    def pause(self, *, paused: bool) -> Policy:
        """Pause or resume trainings that the yard starts by itself."""
        return self._connection.send("PUT", f"{self._path}/policy/paused", Policy, {"paused": paused})


def going_on(connection: Connection) -> list[Rollout]:
    """The rollouts that go on in all departments that you may see."""
    return connection.get("/api/v1/rollouts", list[Rollout])
