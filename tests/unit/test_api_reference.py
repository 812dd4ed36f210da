"""The reference pages say what the code does: they are made from it, and not forgotten."""

from __future__ import annotations

import pytest
from tests.contract.test_api_policies import POLICIES
from tools import reference


@pytest.mark.parametrize(("name", "page"), [("http.md", reference.http_page), ("cli.md", reference.cli_page)])
def test_a_page_is_as_the_code_makes_it(name: str, page: object) -> None:
    assert callable(page)
    made = page()
    kept = (reference.FOLDER / name).read_text(encoding="utf-8")
    assert kept == made, "run `python -m tools.reference`"


def test_every_route_and_every_command_is_named() -> None:
    http, cli = reference.http_page(), reference.cli_page()
    for method, path in POLICIES:
        assert f"## {method} {path}\n" in http
    for path, _ in reference.commands():
        assert f"## {path}\n" in cli
