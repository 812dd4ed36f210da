"""A person's own code files: which ones a model needs, and what they import."""

from __future__ import annotations

import ast
import importlib.util
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from modelyard.client.packages import Installed
from modelyard.records.errors import InvalidError

_SKIPPED = {"__pycache__", ".git", ".ipynb_checkpoints", ".venv", "node_modules"}
RESERVED = {"yardbundle.toml", "example.csv", "expected.csv", "environment"}


def find_code(modules: Iterable[str], installed: Installed) -> tuple[dict[str, Path], set[str]]:
    """The code files that belong to no installed package among the modules, and what those import in turn.

    Args:
        modules: full module names, as a pickle names them.
        installed: what is installed here.

    Returns:
        Path in the bundle to file, and the top-level names of all modules that are not code of one's own.
    """
    files: dict[str, Path] = {}
    others: set[str] = set()
    due = {module.partition(".")[0] for module in modules}
    seen: set[str] = set()
    while due - seen:
        name = (due - seen).pop()
        seen.add(name)
        if name in sys.stdlib_module_names or name == "__main__":
            continue
        own = {} if installed.owns(name) else _own_files(name)
        if not own:
            others.add(name)
        files.update(own)
        for path in own.values():
            due |= imports(path)
    return files, others


def _own_files(module: str) -> dict[str, Path]:
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return {}
    if spec is None:
        return {}
    if spec.submodule_search_locations:
        folders = [Path(folder) for folder in spec.submodule_search_locations]
        return {
            f"{module}/{p.relative_to(f).as_posix()}": p
            for f in folders
            for p in files_in(f)
            if p.suffix == ".py"
        }
    path = Path(spec.origin or "")
    return {path.name: path} if path.suffix == ".py" and path.is_file() else {}


def collect(paths: Iterable[str | Path]) -> dict[str, Path]:
    """Files and folders that a person names, as path in the bundle to file.

    A file keeps its name, a folder that is a package (it has `__init__.py`) too; of another folder the
    contents go to the bundle's top.

    Raises:
        InvalidError: there is no such file, or it has a name that the bundle needs itself.
    """
    found: dict[str, Path] = {}
    for given in paths:
        path = Path(given)
        if path.is_file():
            found[path.name] = path
        elif path.is_dir():
            base = path.resolve().parent if (path / "__init__.py").exists() else path.resolve()
            found.update((p.relative_to(base).as_posix(), p) for p in files_in(path.resolve()))
        else:
            raise InvalidError(
                f"There is no file or folder {str(path)!r} to take as code.", "Correct the path."
            )
    for name in found:
        if name.split("/")[0] in RESERVED:
            raise InvalidError(f"The code has {name!r}, a name that the bundle itself needs.", "Rename it.")
    return found


def files_in(folder: Path) -> Iterator[Path]:
    """All files of a folder in order, but hidden ones and what Python and other tools leave behind."""
    for path in sorted(folder.iterdir()):
        if path.name in _SKIPPED or path.name.startswith(".") or path.suffix == ".pyc":
            continue
        if path.is_dir():
            yield from files_in(path)
        elif path.is_file():
            yield path


def imports(path: Path) -> set[str]:
    """Top-level names of the modules that a Python file imports, but for its `__main__` part.

    A file that is not Python names none: a folder may well hold one that the model never imports.
    """
    try:
        return set(_imported(ast.parse(path.read_bytes())))
    except (SyntaxError, ValueError):
        return set()


def _imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and _is_for_others(node.test):
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]
        yield from _imported(node)


def _is_for_others(test: ast.expr) -> bool:
    """`if __name__ == "__main__"` or `if TYPE_CHECKING`: not run where the file is imported."""
    text = ast.unparse(test)
    return (
        text in ("TYPE_CHECKING", "typing.TYPE_CHECKING")
        or text.replace('"', "'") == "__name__ == '__main__'"
    )
