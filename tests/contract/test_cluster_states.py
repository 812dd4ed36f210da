"""How a node stands with a Ray cluster, for the doctor: found out without joining it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from modelyard.records.clusters import Cluster
from modelyard.records.errors import UnavailableError
from modelyard.workers import cluster as module
from modelyard.workers.cluster import RayCluster


class Place(NamedTuple):
    """A head that listens, as far as that is seen from outside, and the file with its token."""

    ray: RayCluster
    token: Path
    head: socket.socket

    def code(self) -> str:
        finding = self.ray.look()
        assert finding.state == "ok" or (finding.words and finding.hint and finding.command)
        return finding.code


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    token = tmp_path / "token"
    token.write_text("x" * 40)
    token.chmod(0o600)
    with socket.create_server(("127.0.0.1", 0)) as head:
        address = f"127.0.0.1:{head.getsockname()[1]}"
        yield Place(RayCluster("main", Cluster(address, str(token)), tmp_path / "log"), token, head)


def test_a_cluster_that_answers(place: Place) -> None:
    assert place.code() == ""


def test_a_token_that_is_missing_or_open_to_others(place: Place) -> None:
    place.token.chmod(0o644)
    assert place.code() == "ray-token"
    place.token.unlink()
    assert place.code() == "ray-token"
    assert "cannot be read" in place.ray.look().words


def test_a_head_that_does_not_answer(place: Place) -> None:
    place.head.close()
    assert place.code() == "ray-away"
    assert place.ray.look().words.startswith("Nothing answers at 127.0.0.1:")


def test_a_yard_without_ray(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "find_spec", lambda _: None)
    assert place.code() == "ray-missing"


@pytest.mark.parametrize("code", ["ray-room", "ray-version", "ray-away"])
def test_what_went_wrong_is_told_until_it_goes_well_or_is_long_ago(
    place: Place, monkeypatch: pytest.MonkeyPatch, code: module.Trouble
) -> None:
    place.ray.note(code, UnavailableError("It went wrong.", "Mend it."))
    assert place.code() == code
    place.ray.note("ray-away", None)
    assert place.code() == ""
    place.ray.note(code, UnavailableError("It went wrong.", "Mend it."))
    monkeypatch.setattr(module, "_REMEMBERED", -1.0)
    assert place.code() == ""
