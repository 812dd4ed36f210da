"""One yard a test module; tests that break it start their own."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.journeys.running import RunningYard


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
