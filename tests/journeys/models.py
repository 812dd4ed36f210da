"""Small real models for journeys: Python code in a bundle, served by the real Python runtime."""

from __future__ import annotations

import sys

from tests.bundles import tar_of

_VERSION = ".".join(map(str, sys.version_info[:3]))


def code_bundle(
    source: str,
    inputs: str = "x:float64",
    example: str = "x\n1.0\n2.0\n",
    *,
    entry: str = "mine:predict",
    options: str = 'input = "columns"',
    files: dict[str, bytes] | None = None,
) -> bytes:
    """The tar of a bundle of Python code.

    Args:
        source: the module `mine`.
        inputs: `name:type` or `name:type?` (may be missing) or `name:levels=A|B`, separated by spaces.
        example: the example's CSV.
    """
    text = f'format = 1\nlanguage = "python"\nlanguage_version = "{_VERSION}"\nentry = "{entry}"\n'
    text += f"[options]\n{options}\n"
    for word in inputs.split():
        name, _, kind = word.partition(":")
        missing = "missing = true\n" if kind.endswith("?") else ""
        kind = kind.rstrip("?")
        levels = ""
        if kind.startswith("levels="):
            levels = f"levels = {kind.removeprefix('levels=').split('|')}\n"
            kind = "string"
        text += f'[[signature.inputs]]\nname = "{name}"\ntype = "{kind}"\n{missing}{levels}'
    members = {"yardbundle.toml": text.encode(), "mine.py": source.encode(), "example.csv": example.encode()}
    return tar_of(members | (files or {}))


def times(factor: float) -> bytes:
    """A model that answers x times a factor."""
    return code_bundle(f"def predict(columns):\n    return columns['x'] * {factor}\n")
