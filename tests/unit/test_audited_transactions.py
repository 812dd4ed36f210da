"""Every transaction of the house that changes something writes to the audit: read from the code itself."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import modelyard

ROOT = Path(modelyard.__file__).parent
APPEND = ("modelyard.store.audit", "append")
Function = tuple[str, str]  # module, name


class Site(NamedTuple):
    """A transaction: where it is, and what is done in it."""

    place: str
    body: list[ast.stmt]
    module: str


def modules() -> dict[str, ast.Module]:
    found = {}
    for path in ROOT.rglob("*.py"):
        parts = path.relative_to(ROOT.parent).with_suffix("").parts
        found[".".join(parts).removesuffix(".__init__")] = ast.parse(path.read_text())
    return found


def names_of(tree: ast.Module) -> dict[str, tuple[str, str]]:
    """What each imported name is: (module, name), or (module, "") for a module."""
    known = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                known[alias.asname or alias.name] = (node.module, alias.name)
    return known


def called(
    module: str, body: ast.AST, names: dict[str, tuple[str, str]], all_modules: set[str]
) -> Iterator[Function]:
    """The functions of the house that are called inside, as far as their names tell."""
    for node in ast.walk(body):
        if not isinstance(node, ast.Call):
            continue
        match node.func:
            case ast.Name(id=name):
                yield names.get(name, (module, name))
            case ast.Attribute(value=ast.Name(id="self"), attr=name):
                yield (module, name)
            case ast.Attribute(value=ast.Name(id=base), attr=name) if base in names:
                source, item = names[base]
                if f"{source}.{item}" in all_modules:
                    yield (f"{source}.{item}", name)


def writes(item: ast.expr) -> bool:
    """Whether this opens a transaction that writes, and gives no reason why it needs no audit."""
    return (
        isinstance(item, ast.Call)
        and isinstance(item.func, ast.Attribute)
        and item.func.attr == "write"
        and "database" in ast.unparse(item.func.value)
        and not item.keywords
    )


def unaudited() -> tuple[list[str], int]:
    """The transactions from which no way leads to `audit.append`, and how many there are in all."""
    trees = modules()
    imports = {module: names_of(tree) for module, tree in trees.items()}
    calls: dict[Function, set[Function]] = {}
    sites: list[Site] = []
    openers: set[Function] = set()  # context managers around a transaction: `changing`
    for module, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                key = (module, node.name)
                calls.setdefault(key, set()).update(called(module, node, imports[module], set(trees)))
                for inner in ast.walk(node):
                    if isinstance(inner, ast.With) and any(writes(item.context_expr) for item in inner.items):
                        if any(isinstance(part, ast.Yield) for part in ast.walk(inner)):
                            openers.add(key)
                        else:
                            sites.append(Site(f"{module}.{node.name}", inner.body, module))
    reaching = {APPEND}
    while more := {f for f, to in calls.items() if to & reaching} - reaching:
        reaching |= more
    opened = {f for f, to in calls.items() if to & openers and f not in openers}
    missing = [
        site.place
        for site in sites
        if not any(
            set(called(site.module, part, imports[site.module], set(trees))) & reaching for part in site.body
        )
    ]
    missing += [".".join(f) for f in sorted(opened - reaching) if f[1] != "_changing"]
    return missing, len(sites) + len(opened)


def test_every_transaction_that_changes_something_writes_to_the_audit() -> None:
    missing, found = unaudited()
    assert found > 30
    assert not missing, (
        "These transactions change something and tell the audit nothing. Call audit.append in them (see "
        f"store/audit.py), or say why not: database.write(unaudited='…'): {sorted(set(missing))}"
    )
