"""R packages of a job: those of `renv.lock` that the server's R has not, in a library of their own.

Sources come out of the project (`packages/` or `renv/cellar/`, as `NAME_VERSION.tar.gz`) or from the
operator's repository. Installing runs what a package brings, so that is done within walls, without network;
libraries are kept by the digest of all that is in them. What `renv.lock` says of addresses is not read.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import tarfile
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import msgspec
from msgspec import Struct

from modelyard.records.errors import EnvironmentBuildError, InvalidError
from modelyard.records.references import shown
from modelyard.workers import building, sandbox
from modelyard.workers.environments import Progress, only_one

LOCK = "renv.lock"
PLACES = ("packages", "renv/cellar")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9.]{0,100}", re.ASCII)
_VERSION = re.compile(r"[0-9]+(?:[.-][0-9]+){0,10}", re.ASCII)
_LISTED = 'p <- installed.packages(noCache = TRUE); cat(paste(p[, "Package"], p[, "Version"]), sep = "\\n")'
_LIST_SECONDS, _BUILD_SECONDS, _FETCH_SECONDS = 60, 1_800, 300
_LARGEST = 300 * 1024**2  # bytes of a source
_LARGEST_DESCRIPTION = 1024**2
_NEEDS = ("Depends", "Imports", "LinkingTo")


class Locked(Struct, frozen=True):
    """A package as `renv.lock` names it."""

    name: str = msgspec.field(name="Package")
    version: str = msgspec.field(name="Version")


class Lock(Struct, frozen=True):
    """What of a `renv.lock` is read."""

    packages: dict[str, Locked] = msgspec.field(name="Packages", default_factory=dict)


class Needed(Struct, frozen=True):
    """A package that is to be installed; `source` is its file in the project, None where there is none."""

    name: str
    version: str
    source: Path | None

    @property
    def file(self) -> str:
        """What its source is called."""
        return f"{self.name}_{self.version}.tar.gz"


def read_lock(text: bytes) -> dict[str, str]:
    """Package to exact version.

    Raises:
        InvalidError: it is no `renv.lock`, or names something that is no package.
    """
    try:
        lock = msgspec.json.decode(text, type=Lock)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidError(f"{LOCK} cannot be read: {error}.", "Write it anew: renv::snapshot().") from error
    for each in lock.packages.values():
        if not _NAME.fullmatch(each.name) or not _VERSION.fullmatch(each.version):
            raise InvalidError(
                f"{LOCK} names {shown(each.name)} {shown(each.version)}: no package and its version.",
                "Write it anew: renv::snapshot().",
            )
    return {each.name: each.version for each in lock.packages.values()}


def is_same(one: str, other: str) -> bool:
    """Whether two versions are the same to R.

    >>> is_same("1.5-3", "1.5.3"), is_same("1.5", "1.5.0")
    (True, False)
    """
    return re.split("[.-]", one) == re.split("[.-]", other)


def r_packages(work: Path, program: str, folder: Path, repository: str, progress: Progress) -> str:
    """The library that a project's job needs beside the server's own; "" where it needs none.

    Args:
        work: the project's files.
        program: Rscript.
        folder: where environments are kept, in the data folder.
        repository: where sources are fetched that the project does not bring, as a CRAN mirror has them; ""
            for nowhere.
        progress: told, in words, what is being done.

    Raises:
        EnvironmentBuildError: a package cannot be had or installed; `log` has R's words.
        InvalidError: `renv.lock` is none.
    """
    lock = work / LOCK
    if not lock.is_file():
        return ""
    have = _installed(program, folder)
    wanted = read_lock(lock.read_bytes()).items()
    missing = [(name, v) for name, v in wanted if name not in have or not is_same(have[name], v)]
    if not missing:
        return ""
    needed = [Needed(name, version, _brought(work, name, version)) for name, version in sorted(missing)]
    home = folder / f"r-{_digest(program, have, needed)}"
    if not home.is_dir():
        with only_one(folder, home.name):
            if not home.is_dir():
                progress(f"installs {len(needed)} R packages: {', '.join(n.name for n in needed)[:500]}")
                _build(home, program, needed, repository)
    return str(home)


def _brought(work: Path, name: str, version: str) -> Path | None:
    paths = (work / place / f"{name}_{version}.tar.gz" for place in PLACES)
    return next((path for path in paths if path.is_file()), None)


def _digest(program: str, have: dict[str, str], needed: Iterable[Needed]) -> str:
    lines = [f"{program} {have.get('base', '')}"]
    for each in needed:
        held = hashlib.sha256(each.source.read_bytes()).hexdigest() if each.source else "repository"
        lines.append(f"{each.name}=={each.version} {held}")
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:32]


def _installed(program: str, folder: Path) -> dict[str, str]:
    """The packages that the server's R finds, to their versions."""
    said = building.run(
        building.Step(
            command=[program, "--vanilla", "-e", _LISTED],
            program=program,
            hidden=folder.parent,
            why="R does not tell which packages it has.",
            seconds=_LIST_SECONDS,
        )
    )
    have: dict[str, str] = {}
    for line in said.splitlines():
        name, _, version = line.partition(" ")
        have.setdefault(name, version)  # of two libraries the first counts
    return have


def _build(home: Path, program: str, needed: list[Needed], repository: str) -> None:
    new = home.with_name(f".{home.name}")
    shutil.rmtree(new, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=home.parent, prefix=".sources-") as own:
        sources = Path(own)
        for each in needed:
            _fetch(each, sources / each.file, repository)
        new.mkdir()
        sandbox.hand_over(new)
        sandbox.show(sources)
        for each in _in_order(needed, sources):
            _install(each, new, sources / each.file, program)
    sandbox.show(new)
    new.chmod(0o755)
    new.rename(home)


def _install(package: Needed, library: Path, source: Path, program: str) -> None:
    beside = str(Path(program).with_name("R")) if Path(program).is_absolute() else "R"
    options = ["--no-docs", "--no-lock", f"--library={library}"]
    building.run(
        building.Step(
            command=[beside, "CMD", "INSTALL", *options, str(source)],
            program=program,
            hidden=library.parents[1],
            why=f"The R package {package.name} {package.version} cannot be installed.",
            seconds=_BUILD_SECONDS,
            writable=(str(library),),
            read_only=(str(source.parent),),
            environment={"R_LIBS": str(library)},
        )
    )


def _fetch(package: Needed, path: Path, repository: str) -> None:
    """Put a package's source there, out of the project or from the repository."""
    if package.source is not None:
        shutil.copyfile(package.source, path)
        return
    if not repository:
        raise EnvironmentBuildError(
            f"The R package {package.name} {package.version} of {LOCK} is not here.",
            f"Put its source into the project as {PLACES[0]}/{package.file}, or have the operator install it "
            "in the server's R or name a repository: YARD_R_REPOSITORY.",
        )
    root = repository.rstrip("/")
    for place in ("src/contrib", f"src/contrib/Archive/{package.name}"):
        if _downloaded(f"{root}/{place}/{package.file}", path):
            return
    raise EnvironmentBuildError(
        f"The repository has no R package {package.name} {package.version}.",
        f"Put its source into the project as {PLACES[0]}/{package.file}, or lock another version.",
    )


def _downloaded(address: str, path: Path) -> bool:
    import httpx  # noqa: PLC0415 - 0.1 s, and few jobs need it

    try:
        with (
            httpx.stream("GET", address, timeout=_FETCH_SECONDS, follow_redirects=True) as answer,
            path.open("wb") as file,
        ):
            if answer.status_code == httpx.codes.NOT_FOUND:
                return False
            answer.raise_for_status()
            for piece in answer.iter_bytes():
                file.write(piece)
                if file.tell() > _LARGEST:
                    raise EnvironmentBuildError(f"{path.name} is larger than {_LARGEST >> 20} MiB.")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise EnvironmentBuildError(
            f"{path.name} cannot be fetched ({type(error).__name__}).",
            "The operator looks at YARD_R_REPOSITORY.",
        ) from error
    return True


def _in_order(needed: list[Needed], sources: Path) -> Iterator[Needed]:
    """Each after those it needs."""
    known = {each.name: each for each in needed}
    graph = {each.name: known.keys() & set(needs_of(sources / each.file, each.name)) for each in needed}
    try:
        for name in TopologicalSorter(graph).static_order():
            yield known[name]
    except CycleError as error:
        names = ", ".join(error.args[1])
        raise EnvironmentBuildError(f"The R packages {names} need each other.", f"Correct {LOCK}.") from None


def needs_of(source: Path, name: str) -> list[str]:
    """The packages that a source says it needs.

    Raises:
        EnvironmentBuildError: it is no package's source.
    """
    text = None
    with suppress(tarfile.TarError, OSError, KeyError, UnicodeDecodeError), tarfile.open(source) as archive:
        member = archive.getmember(f"{name}/DESCRIPTION")
        if member.isreg() and member.size <= _LARGEST_DESCRIPTION:
            file = archive.extractfile(member)
            text = file.read().decode() if file else None
    if text is None:
        raise EnvironmentBuildError(
            f"{source.name} is no source of the R package {name}.", "Build it: R CMD build."
        )
    # Lines that begin with a space go on with the field above.
    fields = dict(re.findall(r"^([A-Za-z@/]+):((?:.*(?:\n[ \t].*)*))", text, re.MULTILINE))
    listed = ",".join(fields.get(field, "") for field in _NEEDS)
    return [found for part in listed.split(",") if (found := part.partition("(")[0].strip()) and found != "R"]
