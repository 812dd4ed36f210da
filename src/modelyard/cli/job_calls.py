"""What the API says and takes of jobs; an SDK of few verbs leaves them out."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from modelyard.records.errors import NotFoundError
from modelyard.records.jobs import Job, LogPart, Point
from modelyard.records.models import Version, VersionState
from modelyard.records.projects import Parameter
from modelyard.records.references import Reference

if TYPE_CHECKING:
    from modelyard.client.connection import Connection  # brings httpx: `yard --help` does without
    from modelyard.client.projects import Packed

_WAIT = 30  # seconds the yard may wait for something new


class JobCalls:
    """Jobs over HTTP."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def send(self, folder: Path, why: str, parameters: Mapping[str, Parameter]) -> tuple[Job, Packed]:
        """Send a project's folder; its job, and what was sent."""
        from modelyard.client.projects import pack_project  # noqa: PLC0415 - pathspec and git are for this alone

        with tempfile.NamedTemporaryFile(suffix=".tar") as tar:
            packed = pack_project(folder, tar)
            tar.flush()
            told = {"why": why, "code": packed.code}
            if parameters:
                told["parameters"] = msgspec.json.encode(dict(parameters)).decode()
            path = f"/api/v1/models/{packed.project.model}/jobs"
            said = {name: text for name, text in told.items() if text}
            job = self._connection.upload(path, Job, Path(tar.name), "application/x-tar", **said)
        return job, packed

    def again(self, model: str, why: str, parameters: Mapping[str, Parameter]) -> Job:
        """Train with the model's last project."""
        path = f"/api/v1/models/{Reference.parse(model).model}/jobs/again"
        return self._connection.send("POST", path, Job, {"why": why, "parameters": dict(parameters)})

    def jobs(self, **told: str | int) -> list[Job]:
        """Jobs, newest first."""
        return self._connection.get("/api/v1/jobs", list[Job], **told)

    def job(self, number: int) -> Job:
        """One job."""
        found = self.jobs(job=number)
        if not found:
            raise NotFoundError(f"There is no job {number}.", "See what there is: yard jobs.")
        return found[0]

    def points(self, job: Job) -> list[Point]:
        """What it measured."""
        return self._connection.get(f"{_path(job)}/metrics", list[Point])

    def cancel(self, job: Job, why: str) -> Job:
        """End it."""
        return self._connection.send("POST", f"{_path(job)}/cancel", Job, {"why": why})

    def checked(self, job: Job) -> Version:
        """The version that a job has published, once its check has ended."""
        path = f"/api/v1/models/{job.model}/versions/{job.version}"
        while True:
            version = self._connection.get(path, Version, wait=_WAIT)
            if version.state in (VersionState.CHECKED, VersionState.FAILED):
                return version

    def log(self, job: Job, *, follow: bool) -> Iterator[str]:
        """Its log in parts: what there is, or until it ends."""
        since, wait = 0, _WAIT if follow else 0
        while True:
            part = self._connection.get(f"{_path(job)}/log", LogPart, since=since, wait=wait)
            since = part.next
            if part.text:
                yield part.text
            elif not (follow and part.state.goes_on):
                return


def _path(job: Job) -> str:
    return f"/api/v1/models/{job.model}/jobs/{job.id}"
