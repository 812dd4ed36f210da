"""A project's folder as it is sent: what git ignores stays, and the commit it is of is told."""

from __future__ import annotations

import os
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

from pathspec import GitIgnoreSpec

from modelyard.client.folders import unmarked
from modelyard.records.errors import InvalidError, NotFoundError, TooLargeError
from modelyard.records.projects import PROJECT_FILE, Project, read_project
from modelyard.records.references import shown

LARGEST = 1024**3  # bytes of a project, as the yard takes it
# What is never part of a project: a tool's own, results, and where secrets usually lie.
_NEVER = GitIgnoreSpec.from_lines(
    [
        ".git", ".hg", ".svn", ".venv", "venv", "node_modules", "__pycache__", "*.pyc", ".ipynb_checkpoints",
        ".Rhistory", ".RData", ".Rproj.user", ".mypy_cache", ".pytest_cache", ".ruff_cache", ".DS_Store",
        "yard-output", ".env", ".netrc", "id_rsa", "id_ed25519",
    ]
)  # fmt: skip
_GIT_SECONDS = 30


class Packed(NamedTuple):
    """What was packed: the project, the commit in words, how many files, and bytes of them all."""

    project: Project
    code: str
    files: int
    size: int


def load_project(folder: Path) -> Project:
    """The project of a folder.

    Raises:
        NotFoundError: there is no yard.toml.
        InvalidError: it is wrong; the message names the line and the key.
    """
    path = folder / PROJECT_FILE
    if not path.is_file():
        raise NotFoundError(
            f"There is no {PROJECT_FILE} in {folder.resolve()}.",
            "Write one; docs/training.md shows how.",
        )
    try:
        return read_project(path.read_text(encoding="utf-8"), str(path))
    except UnicodeDecodeError as error:
        raise InvalidError(f"{path} is not UTF-8: {error}.", "Save it as UTF-8.") from error


def pack_project(folder: Path, to: IO[bytes]) -> Packed:
    """Write a project's files as a tar.

    Raises:
        InvalidError: a link leads out of the folder.
        TooLargeError: over what the yard takes; the message names the largest file.
    """
    project = load_project(folder)
    files = list(project_files(folder))
    sizes = {path: path.stat().st_size for path in files}
    if (size := sum(sizes.values())) > LARGEST:
        largest = max(files, key=sizes.__getitem__)
        raise TooLargeError(
            f"The project has {size / 1e9:.1f} GB; the yard takes {LARGEST / 1e9:.1f}. The largest file is "
            f"{largest.relative_to(folder)}.",
            "Push data as a dataset (yard data push), and name in .gitignore what is not needed.",
        )
    with tarfile.open(fileobj=to, mode="w", format=tarfile.PAX_FORMAT, dereference=True) as tar:
        for path in files:
            tar.add(path, path.relative_to(folder).as_posix(), recursive=False, filter=unmarked)
    return Packed(project, commit_of(folder), len(files), size)


def project_files(folder: Path) -> Iterator[Path]:
    """The files of a project by path, without those that git ignores and what is never sent.

    Raises:
        InvalidError: a link leads out of the folder.
    """
    root = _git_root(folder)
    above = [] if root is None else [root, *(p for p in reversed(folder.parents) if p.is_relative_to(root))]
    specs = {at: spec for at in dict.fromkeys(above) if at != folder and (spec := _spec(at))}
    yield from _walk(folder, folder, specs)


def commit_of(folder: Path) -> str:
    """The commit that a folder is of, as `git 4f1c2e… (with changes)`; empty outside git."""
    commit = _git(folder, "rev-parse", "HEAD")
    if not commit:
        return ""
    changes = _git(folder, "status", "--porcelain", "--", ".")
    return f"git {commit}{' (with changes)' if changes else ''}"


def _walk(folder: Path, at: Path, specs: dict[Path, GitIgnoreSpec]) -> Iterator[Path]:
    if spec := _spec(at):
        specs = {**specs, at: spec}
    for path in sorted(at.iterdir()):
        is_folder = path.is_dir() and not path.is_symlink()
        if path != folder / PROJECT_FILE and _is_left_out(path, specs, is_folder=is_folder):
            continue
        if path.is_symlink() and not path.resolve().is_relative_to(folder.resolve()):
            raise InvalidError(
                f"{shown(str(path.relative_to(folder)))} is a link that leads out of the project.",
                "Copy the file into the project, or name the link in .gitignore.",
            )
        if is_folder:
            yield from _walk(folder, path, specs)
        elif path.is_file():
            yield path


def _is_left_out(path: Path, specs: dict[Path, GitIgnoreSpec], *, is_folder: bool) -> bool:
    """As git decides: the file nearest to the path that says something of it."""
    slash = "/" if is_folder else ""
    if _NEVER.match_file(path.name + slash):
        return True
    for at in sorted(specs, key=lambda p: len(p.parts), reverse=True):
        said = specs[at].check_file(path.relative_to(at).as_posix() + slash).include
        if said is not None:
            return said
    return False


def _spec(folder: Path) -> GitIgnoreSpec | None:
    path = folder / ".gitignore"
    if not path.is_file():
        return None
    return GitIgnoreSpec.from_lines(path.read_text(encoding="utf-8", errors="replace").splitlines())


def _git_root(folder: Path) -> Path | None:
    found = _git(folder, "rev-parse", "--show-toplevel")
    if not found:
        return None
    # By its own name for it, lest a link on the way makes them strangers.
    depth = len(folder.resolve().relative_to(Path(found).resolve()).parts)
    return folder.absolute().parents[depth - 1] if depth else folder.absolute()


def _git(folder: Path, *words: str) -> str:
    command = ["git", "-C", str(folder), *words]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            timeout=_GIT_SECONDS,
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},
        )
    except (OSError, subprocess.TimeoutExpired):  # no git here: then there is no commit to tell
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
