"""Each case of what went wrong elsewhere has a test that is named after it.

The cases are numbered 1 to 68: names and paths 1 to 7, archives to 17, model files to 24, requests to 34,
identity to 41, departments to 49, browser and export to 54, outbound to 59, workers to 64, audit and logs to
68. A test names its cases (`test_18_a_pickle…`, `test_1_to_7_…`, `test_hardening_15_…`), or its docstring or
a comment says `HARDENING 25, 26`.
"""

from __future__ import annotations

import re
from pathlib import Path

LAST = 68
NAMED = re.compile(r"def test_(?:hardening_)?((?:\d+_(?:to_|and_)?)+)")
SAID = re.compile(r"HARDENING:? ((?:\d+(?:, | and |-)?)+)")
# Cases of parts that are not built yet; whoever builds one writes its test and strikes it out here.
WAITING: dict[int, str] = {}


def covered(text: str) -> set[int]:
    """The cases that a file of tests names."""
    found: set[int] = set()
    for words in (*NAMED.findall(text), *SAID.findall(text)):
        numbers = [int(number) for number in re.findall(r"\d+", words)]
        is_span = "_to_" in words or re.search(r"\d-\d", words)
        found |= set(range(numbers[0], numbers[-1] + 1)) if is_span else set(numbers)
    return found


def test_every_case_has_a_test() -> None:
    files = [path for path in Path(__file__).parents[1].rglob("test_*.py") if path != Path(__file__)]
    tested = set[int]().union(*(covered(path.read_text()) for path in files))
    assert sorted(set(range(1, LAST + 1)) - tested - set(WAITING)) == []
    assert sorted(tested & set(WAITING)) == [], "these wait no longer"
