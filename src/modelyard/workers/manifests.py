"""Julia packages of a job: the project's own `Project.toml`, as far as its packages are here.

Packages that lie in the project (`path = "…"` in its manifest, as `Pkg.develop` writes it), Julia's own, and
those in a depot that the operator has filled for all are found. Nothing is fetched from a registry.
"""

from __future__ import annotations

import tomllib
from pathlib import Path

from modelyard.records.errors import EnvironmentBuildError, InvalidError
from modelyard.workers import building, sdks

_FILES = ("JuliaProject.toml", "Project.toml")  # in the order in which Julia looks
_LOST = "foreach(n -> Base.find_package(n) === nothing && println(n), ARGS)"
_SECONDS = 120


def julia_project(work: Path, program: str, folder: Path) -> dict[str, str]:
    """The variables that make a project's `Project.toml` that of its job; none where it has no such file.

    Args:
        work: the project's files.
        program: julia.
        folder: where environments are kept, in the data folder.

    Raises:
        EnvironmentBuildError: packages are not here; they are named.
        InvalidError: the file is no TOML.
    """
    file = next((work / name for name in _FILES if (work / name).is_file()), None)
    if file is None:
        return {}
    variables = {"JULIA_PROJECT": str(work), "JULIA_LOAD_PATH": sdks.julia_path()}
    if names := _needed(file):
        lost = building.run(
            building.Step(
                command=[program, "--startup-file=no", "--history-file=no", "-e", _LOST, *names],
                program=program,
                hidden=folder.parent,
                why=f"Julia cannot read {file.name}.",
                seconds=_SECONDS,
                read_only=(str(work), str(sdks.sdk_folder() / "julia")),
                environment=variables,
            )
        ).split()
        if lost:
            raise EnvironmentBuildError(
                f"The Julia packages {', '.join(lost)} of {file.name} are not here; jobs fetch none.",
                'Put their source into the project, Pkg.develop(path = "packages/NAME"), or have an operator '
                "add them to a depot that all may read, as /usr/local/share/julia.",
            )
    return variables


def _needed(file: Path) -> list[str]:
    try:
        found = tomllib.loads(file.read_text("utf-8")).get("deps", {})
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidError(f"{file.name} is no TOML: {error}.", "Correct it.", file=file.name) from error
    names = list(found) if isinstance(found, dict) else []
    return sorted(name for name in names if name.isidentifier())
