"""A catalog and the step that runs jobs, for tests: real processes within real walls, on SQLite."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path

from modelyard.catalog.datasets import Datasets
from modelyard.catalog.hosts import Approvals
from modelyard.catalog.jobs import Jobs, Queue
from modelyard.catalog.registry import Registry
from modelyard.catalog.training import Training
from modelyard.loop.tick import now
from modelyard.loop.train import Holdings, TrainStep
from modelyard.records.jobs import Job
from modelyard.records.people import Kind, Need, Share
from modelyard.store import departments, duties, shares
from modelyard.store.blobs import Blobs
from modelyard.store.database import Database
from modelyard.store.duties import Duty
from modelyard.workers.recipes import Recipes
from modelyard.workers.tasks import Grounds, LocalGrounds
from tests.bundles import TAR, tar_of
from tests.journeys.running import until as wait_until

MODEL = "finance/fuel-cost"
LEASE = timedelta(minutes=5)


def described(train: str = "", language: str = "python", run: str = "python train.py", more: str = "") -> str:
    """The text of a yard.toml."""
    return f'model = "{MODEL}"\nlanguage = "{language}"\n{more}[train]\nrun = "{run}"\n{train}\n'


class TrainingHouse:
    """A yard's training on a folder, with neither fronts nor workers.

    Args:
        environments: where environments are kept, so that tests share them.
        more: further fields of the recipes: `outbound`, `r_repository`.
        grounds: where jobs run; by default this machine.
    """

    def __init__(
        self,
        folder: Path,
        environments: Path,
        programs: Mapping[str, str] | None = None,
        grounds: Grounds | None = None,
        **more: str,
    ) -> None:
        self.folder = folder
        self.database = Database(f"sqlite:///{folder / 'yard.sqlite'}")
        self.database.upgrade()
        blobs, scratch, queue = Blobs(str(folder / "blobs")), folder / "scratch", Queue()
        scratch.mkdir(exist_ok=True)
        self.jobs = Jobs(self.database, blobs, scratch, queue)
        self.registry = Registry(self.database, blobs, scratch)
        self.datasets = Datasets(self.database, blobs, scratch)
        self.training = Training(self.database, queue)
        recipes = Recipes(programs=dict(programs or {}), environments=environments, **more)  # type: ignore[arg-type]
        self._grounds = grounds or LocalGrounds(recipes, folder)
        self.approvals = Approvals(self.database)
        self.step = self.new_step()

    def new_step(self) -> TrainStep:
        """The step as an engine that has just started has it."""
        holdings = Holdings(self.jobs, self.training, self.registry, self.datasets)
        return TrainStep(holdings, self._grounds, self.folder / "jobs", 3_600.0, now)

    def push(self, name: str, csv: str) -> None:
        """Keep a dataset, which the model's department may read."""
        self.datasets.push(name, [csv.encode()], "text/csv", by="ann", may_create_department=True)
        department, at = MODEL.partition("/")[0], now()
        with self.database.write(unaudited="a test") as connection:
            departments.add(connection, department, by="root", at=at)
            share = Share(0, Kind.DATASET, name, Need.READ_DATA, department, None, at, "root")
            shares.add(connection, share)

    def submit(self, files: Mapping[str, str | bytes], **told: object) -> Job:
        """Queue a job of these files."""
        project = tar_of(
            {name: text.encode() if isinstance(text, str) else text for name, text in files.items()}
        )
        return self.jobs.submit(MODEL, [project], TAR, by="ann", may_create_department=True, **told)  # type: ignore[arg-type]

    def claim(self) -> Duty:
        """Take the next duty to train."""
        with self.database.write() as connection:
            duty = duties.claim(connection, ["train"], "one", now() + timedelta(minutes=1), LEASE)
        assert duty is not None
        return duty

    def run(self, files: Mapping[str, str | bytes], **told: object) -> Job:
        """Queue a job and do its step; the job as it is then."""
        job = self.submit(files, **told)
        self.due = self.do()
        return self.jobs.job(job.id)

    def do(self) -> datetime | None:
        """Do the next step; when it is due again."""
        duty = self.claim()
        due = self.step(duty)
        with self.database.write() as connection:
            duties.finish(connection, duty, due)
        return due

    def begin(self, files: Mapping[str, str | bytes], until: str) -> tuple[threading.Thread, int]:
        """Start a job in a thread, and wait until its log says so; the thread and the job's number."""
        job = self.submit(files)
        thread = threading.Thread(target=self.do)
        thread.start()
        wait_until(lambda: until in self.jobs.log(job.id).text or not thread.is_alive())
        assert until in self.jobs.log(job.id).text, self.jobs.log(job.id).text
        return thread, job.id
