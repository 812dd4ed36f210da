"""The exact packages that a model needs: those that its modules come from, and what these require in turn."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import metadata
from pathlib import Path

from modelyard.records.errors import InvalidError

# Tools that put packages in place; no model needs them, and pinning them breaks environments.
NEVER = frozenset({"pip", "setuptools", "wheel", "uv", "modelyard"})
# What a module needs beyond what its package says it requires.
_UNSAID = {"xgboost.sklearn": "sklearn", "lightgbm.sklearn": "sklearn"}
_NAME = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:\[([^\]]*)\])?")
_EXTRA = re.compile(r"""extra\s*==\s*['"]([^'"]+)['"]""")
_PIN = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)\s*==\s*([A-Za-z0-9][A-Za-z0-9._!+-]*)\s*")


class Installed:
    """What is installed in this Python."""

    def __init__(self) -> None:
        places = (Path(path) for path in sys.path if path.endswith("-packages"))  # site-, dist-
        self._by_module = _packages_by_module(tuple((p, p.stat().st_mtime) for p in places if p.exists()))

    def owns(self, module: str) -> bool:
        """Whether a module is an installed package's; one that is installed for editing is own code."""
        return any(not _is_editable(name) for name in self._by_module.get(module, ()))

    def providers(self, module: str) -> set[str]:
        """The packages a module comes from; where several share its top-level name, those that have it."""
        names = set(self._by_module.get(module.partition(".")[0], ()))
        if len(names) <= 1 or "." not in module:
            return names
        place = module.replace(".", "/")
        having = {
            n
            for n in names
            if any(str(f).startswith((place + "/", place + ".")) for f in metadata.files(n) or ())
        }
        return having or names

    def pins(self, modules: Iterable[str]) -> dict[str, str]:
        """Name to exact version of all packages these modules need, in order of their names.

        A local part of a version (2.13.0+cpu) names a build that no index may have, and is left out.
        """
        modules = set(modules)
        modules |= {_UNSAID[module] for module in modules & _UNSAID.keys()}
        due = [(name, "") for module in modules for name in self.providers(module)]
        seen: set[tuple[str, str]] = set()
        found: dict[str, str] = {}
        while due:
            name, extra = due.pop()
            name = normalised(name)
            if (name, extra) in seen or name in NEVER:
                continue
            seen.add((name, extra))
            try:
                distribution = metadata.distribution(name)
            except metadata.PackageNotFoundError:
                continue  # required elsewhere (another system, another Python), not here
            found[name] = distribution.version.partition("+")[0]
            due += [each for line in distribution.requires or () for each in _required(line, extra)]
        return dict(sorted(found.items()))


@cache
def _packages_by_module(_places: tuple[tuple[Path, float], ...]) -> Mapping[str, list[str]]:
    """Top-level module to packages. It takes a fifth of a second, so it is kept until a place has changed."""
    return metadata.packages_distributions()


def _required(line: str, extra: str) -> list[tuple[str, str]]:
    """The requirement of a line as (name, extra) pairs, if it holds without extras or for this one."""
    text, _, marker = line.partition(";")
    asked = _EXTRA.search(marker)
    found = _NAME.match(text)
    if not found or (asked and asked[1] != extra):
        return []
    extras = [each.strip() for each in (found[2] or "").split(",") if each.strip()]
    return [(found[1], ""), *((found[1], each) for each in extras)]


def _is_editable(name: str) -> bool:
    try:
        text = metadata.distribution(name).read_text("direct_url.json")
        return bool(text and json.loads(text).get("dir_info", {}).get("editable"))
    except (metadata.PackageNotFoundError, ValueError, AttributeError):
        return False


def normalised(name: str) -> str:
    """A package's name as comparisons need it.

    >>> normalised("Scikit_Learn")
    'scikit-learn'
    """
    return re.sub(r"[-_.]+", "-", name).lower()


def read_pins(packages: Mapping[str, str] | Iterable[str]) -> dict[str, str]:
    """Exact versions as a person gives them: a mapping, or lines `name==version`, with comments perhaps.

    Raises:
        InvalidError: a line that is no exact pin.

    >>> read_pins(["Scikit_Learn==1.9.1  # the model"])
    {'scikit-learn': '1.9.1'}
    """
    lines = [f"{n}=={v}" for n, v in packages.items()] if isinstance(packages, Mapping) else packages
    pins = {}
    for line in lines:
        stripped = line.partition("#")[0].strip()
        if not stripped:
            continue
        pin = _PIN.fullmatch(stripped)
        if not pin:
            raise InvalidError(
                f"{stripped[:200]!r} is not an exact package version.",
                "Write each as name==version, as `pip freeze` does, without options or addresses.",
                field="packages",
            )
        pins[normalised(pin[1])] = pin[2].partition("+")[0]
    return pins


def requirements_text(pins: Mapping[str, str]) -> str:
    r"""`environment/requirements.txt`.

    >>> requirements_text({"numpy": "2.4.6"})
    'numpy==2.4.6\n'
    """
    return "".join(f"{name}=={version}\n" for name, version in pins.items())
