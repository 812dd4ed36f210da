"""One yard a test module; tests that break it start their own."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.journeys.running import RunningYard
from tests.releases import has_previous


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """In a clone without the history (of depth 1, say) the tests that need it are left out, and counted as
    such: nothing could bring it back.
    """
    if any(item.get_closest_marker("history") for item in items) and not has_previous():
        without = [item for item in items if item.get_closest_marker("history")]
        config.hook.pytest_deselected(items=without)
        items[:] = [item for item in items if item not in without]


@pytest.fixture(scope="module")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningYard]:
    """A running yard with an empty data folder."""
    with RunningYard(tmp_path_factory.mktemp("yard")) as running:
        yield running


@pytest.fixture
def client(yard: RunningYard) -> Iterator[httpx.Client]:
    """The administrator's HTTP client."""
    with yard.client() as found:
        yield found
