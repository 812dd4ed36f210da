"""What a model needs beside itself: a person's own code files, and exact versions of packages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from modelyard.client import code as code_files
from modelyard.client.packages import Installed, read_pins


class Needs(NamedTuple):
    """Code files as path in the bundle to file, and packages as name to version."""

    files: dict[str, Path]
    pins: dict[str, str]


def find_needs(
    modules: Iterable[str],
    code: Sequence[str | Path] | None = None,
    packages: Mapping[str, str] | Iterable[str] | None = None,
) -> Needs:
    """What modules need: those of installed packages become pins, a person's own become files.

    Args:
        modules: full module names.
        code: files and folders to take in any case; what they import counts too.
        packages: versions that go before those found here.
    """
    given = code_files.collect(code or ())
    due = {"numpy", *modules}
    for path in given.values():
        due |= code_files.imports(path) if path.suffix == ".py" else set()
    tops = {name.partition("/")[0].removesuffix(".py") for name in given}
    due = {module for module in due if module.partition(".")[0] not in tops}
    installed = Installed()
    found, others = code_files.find_code(due, installed)
    pins = installed.pins(others | {module for module in due if module.partition(".")[0] in others})
    pins |= read_pins(packages or {})
    return Needs({**found, **given}, dict(sorted(pins.items())))
