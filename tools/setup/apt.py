"""Debian's packages: installed as root, or fetched and unpacked into a private folder by anyone.

For the second, apt-get is pointed at lists and a cache of our own, so that the machine's stay as they are.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tools.setup.machine import SetupError, run

_QUIET = {"DEBIAN_FRONTEND": "noninteractive"}
_ETC = Path("/etc/apt")
_ONE_LINE = re.compile(r"deb\s+(?:\[([^]]*)\]\s+)?(\S+)\s+(\S+)\s+(.+)")


@dataclass(frozen=True)
class Source:
    """Where packages come from: a mirror's address, a suite, and the key its lists are signed by."""

    uri: str
    suite: str
    signed_by: str = ""

    def line(self) -> str:
        """As it stands in a `sources.list`."""
        key = f"[signed-by={self.signed_by}] " if self.signed_by else ""
        return f"deb {key}{self.uri} {self.suite} main\n"


def read_sources(folder: Path = _ETC) -> list[Source]:
    """The machine's own sources that have a component `main`, in both of Debian's formats."""
    lists = [folder / "sources.list", *sorted((folder / "sources.list.d").glob("*.list"))]
    found = [source for path in lists if path.is_file() for source in parse_lines(path.read_text())]
    for path in sorted((folder / "sources.list.d").glob("*.sources")):
        found += parse_stanzas(path.read_text())
    return found


def parse_lines(text: str) -> list[Source]:
    """Sources in the one-line format.

    >>> parse_lines("deb [signed-by=/k.gpg] http://deb.example/debian bookworm main contrib")
    [Source(uri='http://deb.example/debian', suite='bookworm', signed_by='/k.gpg')]
    """
    found = []
    for line in text.splitlines():
        match = _ONE_LINE.fullmatch(line.split("#", 1)[0].strip())
        if match and "main" in match[4].split():
            options = dict(word.split("=", 1) for word in (match[1] or "").split() if "=" in word)
            found.append(Source(match[2], match[3], options.get("signed-by", "")))
    return found


def parse_stanzas(text: str) -> list[Source]:
    """Sources in the deb822 format: stanzas of `Key: value`, continued on indented lines."""
    found = []
    kept = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    for stanza in re.split(r"\n\s*\n", kept):
        pairs = re.findall(r"^([A-Za-z-]+):[ \t]*(.*(?:\n[ \t]+.*)*)", stanza, flags=re.MULTILINE)
        fields = {key.lower(): value.strip() for key, value in pairs}
        wanted = "deb" in fields.get("types", "").split() and "main" in fields.get("components", "").split()
        if not wanted or fields.get("enabled", "yes").lower() == "no":
            continue
        key = fields.get("signed-by", "")
        signed_by = key if "\n" not in key else ""  # a key written out in the stanza cannot go on one line
        for uri in fields.get("uris", "").split():
            found += [Source(uri, suite, signed_by) for suite in fields.get("suites", "").split()]
    return found


def mirror_of(suite: str, sources: Iterable[Source]) -> Source:
    """The source of a release itself (not of its updates).

    Raises:
        SetupError: the machine has none.
    """
    for source in sources:
        if source.suite == suite:
            return source
    raise SetupError(f"This machine's apt sources name no mirror for {suite}.")


def installed(packages: Iterable[str]) -> set[str]:
    """Those of the packages that dpkg has."""
    wanted = list(packages)
    if not shutil.which("dpkg-query"):
        return set()
    # It exits with 1 where one is unknown, and still lists the others.
    text = run(["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n", *wanted], check=False)
    return {name for name in wanted if re.search(rf"(?m)^{re.escape(name)} installed$", text)}


def install(packages: Sequence[str]) -> None:
    """Install packages as root; the lists are fetched only where that alone helps.

    Raises:
        SetupError: they cannot be had.
    """
    command = ["apt-get", "install", "-y", "-q", "--no-install-recommends", *packages]
    try:
        run(command, _QUIET)
    except SetupError:
        run(["apt-get", "update", "-q"], _QUIET)
        run(command, _QUIET)


class PrivateApt:
    """apt-get with state of its own, usable without root.

    Args:
        folder: where its lists and its cache go.
        extra: sources beside the machine's own.
    """

    def __init__(self, folder: Path, extra: Sequence[Source] = ()) -> None:
        self.cache = folder / "cache"
        lists = folder / "lists"
        for needed in (lists / "partial", self.cache / "archives/partial"):
            needed.mkdir(parents=True)
        own = _ETC / "sources.list"
        sources = folder / "sources.list"
        sources.write_text(
            (own.read_text() if own.is_file() else "") + "\n" + "".join(map(Source.line, extra))
        )
        options = {
            "Dir::Etc::SourceList": sources,
            "Dir::State::Lists": lists,
            "Dir::Cache": self.cache,
            "Dir::Cache::Archives": self.cache / "archives",
            "Debug::NoLocking": "1",
            "APT::Sandbox::User": "",  # root's temporary folder is closed to apt's own user
        }
        self._options = [part for key, value in options.items() for part in ("-o", f"{key}={value}")]
        run(["apt-get", *self._options, "-q", "update"], _QUIET)

    def fetch_missing(self, package: str) -> list[Path]:
        """The files of a package and of all it needs that this machine does not have."""
        command = ["install", "-y", "-q", "--no-install-recommends", "--download-only", package]
        run(["apt-get", *self._options, *command], _QUIET)
        return sorted((self.cache / "archives").glob("*.deb"))

    def fetch(self, package: str) -> Path:
        """The file of one package alone (`name` or `name/suite`)."""
        target = self.cache / "one" / package.replace("/", "-")
        target.mkdir(parents=True)
        run(["apt-get", *self._options, "-q", "download", package], _QUIET, cwd=target)
        return next(target.glob("*.deb"))


@contextmanager
def private_apt(extra: Sequence[Source] = ()) -> Iterator[PrivateApt]:
    """A `PrivateApt` in a temporary folder, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="modelyard-apt-") as folder:
        yield PrivateApt(Path(folder), extra)


def unpack(file: Path, into: Path) -> None:
    """Lay a package's files out in a folder, running none of its scripts."""
    into.mkdir(parents=True, exist_ok=True)
    run(["dpkg", "-x", file, into])
