"""How a job's command is run in each language: which interpreter, and what its script finds around it."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Self

import msgspec
from msgspec import Struct

from modelyard.records.errors import EnvironmentBuildError, InvalidError
from modelyard.records.projects import Parameter
from modelyard.settings import Settings
from modelyard.workers import environments, sandbox, sdks
from modelyard.workers.commands import Command, Limits, Place
from modelyard.workers.environments import Progress
from modelyard.workers.libraries import r_packages
from modelyard.workers.manifests import julia_project
from modelyard.workers.runtimes import find_runtime, installed_version, program_of

REQUIREMENTS = "requirements.txt"
_PATH = "/usr/local/bin:/usr/bin:/bin"
_OWN_WORDS = {"python": ("python", "python3"), "r": ("Rscript",), "julia": ("julia",)}
_THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "JULIA_NUM_THREADS",
    "R_DATATABLE_NUM_THREADS",
)


class Recipes(Struct, frozen=True):
    """How commands are run on this node.

    Attributes:
        programs: language to interpreter, where an operator chose one.
        environments: the folder environments are kept in.
        threads: that one job may use.
        allow_uncontained: whether jobs run where no walls can be had.
        outbound: networks within the house that a job's hosts may be in; see `Settings.outbound`.
        r_repository: where R packages are fetched that a project does not bring; see `Settings`.
    """

    programs: dict[str, str]
    environments: Path
    threads: int = 1
    allow_uncontained: bool = False
    outbound: str = ""
    r_repository: str = ""

    @classmethod
    def of(cls, settings: Settings, environments: Path, threads: int) -> Self:
        """As a machine's settings say."""
        return cls(
            programs=settings.programs,
            environments=environments,
            threads=threads,
            allow_uncontained=settings.allow_uncontained,
            outbound=settings.outbound,
            r_repository=settings.r_repository,
        )

    def command(  # what is run, where, with what
        self,
        language: str,
        words: list[str],
        place: Place,
        limits: Limits,
        told: Mapping[str, str],
        parameters: Mapping[str, Parameter],
        progress: Progress,
    ) -> Command:
        """The command of a project that is laid out.

        Args:
            told: further variables.
            parameters: for `yard.parameter()`.
            progress: told, in words, what is being done.

        Raises:
            EnvironmentBuildError: the language or a package cannot be had here, or there are no walls.
            InvalidError: a line of requirements.txt is no exact pin.
        """
        self._refuse_without_walls()
        program, needs, variables = self._of(language, place, progress)
        first = program if words[0] in _OWN_WORDS[language] else words[0]
        beside = str(Path(program).parent) if os.sep in program else ""
        environment = {
            "LANG": "C.UTF-8",
            "TZ": "UTC",
            "HOME": sandbox.HOME,
            "TMPDIR": sandbox.HOME,
            **find_runtime(language).environment,
            **dict.fromkeys(_THREADS, str(self.threads)),
            **variables,
            **told,
            "PATH": os.pathsep.join(filter(None, [beside, _PATH])),
            "YARD_DATA": str(place.data),
            "YARD_OUTPUT": str(place.output),
            "YARD_PARAMETERS": msgspec.json.encode(dict(parameters)).decode(),
        }
        seen = (*sandbox.needs(program), *needs)
        return Command([first, *words[1:]], environment, seen, limits, self.outbound)

    def _of(self, language: str, place: Place, progress: Progress) -> tuple[str, list[str], dict[str, str]]:
        """The interpreter, what it needs to see, and its variables."""
        if language == "python":
            path = sdks.python_path(self.environments)
            return self._python(place, progress), [path], {"PYTHONPATH": path}
        runtime = find_runtime(language)
        program = program_of(runtime, self.programs)
        installed_version(runtime, program)
        program = shutil.which(program) or program
        if language == "r":
            own = r_packages(place.work, program, self.environments, self.r_repository, progress)
            seen = [*filter(None, [own]), sdks.r_library(program, self.environments, progress)]
            return program, seen, {"R_LIBS": os.pathsep.join(seen), "YARD_R_LIBRARY": own}
        variables = {"JULIA_LOAD_PATH": sdks.julia_path()}
        variables |= julia_project(place.work, program, self.environments)
        return program, [str(sdks.sdk_folder() / "julia")], variables

    def _python(self, place: Place, progress: Progress) -> str:
        if "python" in self.programs:
            return shutil.which(self.programs["python"]) or self.programs["python"]
        file = place.work / REQUIREMENTS
        if not file.is_file():
            return sys.executable
        try:
            pins = environments.read_pins(file.read_text("utf-8"), REQUIREMENTS)
        except UnicodeDecodeError as error:
            raise InvalidError(f"{REQUIREMENTS} is not UTF-8: {error}.", "Save it as UTF-8.") from error
        if not environments.own_fits("", pins):
            for name in sdks.PYTHON_NEEDS:
                pins.setdefault(name, metadata.version(name))
        return environments.python_with(pins, "", self.environments, progress)

    def _refuse_without_walls(self) -> None:
        why = sandbox.missing()
        if why and not self.allow_uncontained:
            raise EnvironmentBuildError(
                f"Jobs are not run here: they cannot be contained, for {why}.",
                "Install bubblewrap and util-linux on the server and start the yard again. An administrator "
                "who trusts everybody who can publish may set YARD_ALLOW_UNCONTAINED=true instead.",
            )
