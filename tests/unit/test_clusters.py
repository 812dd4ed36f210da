"""`ray.toml`: which cluster a department's workers are placed on."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.journeys.running import PATIENCE, until

from modelyard.records.capacity import Demand
from modelyard.records.clusters import Cluster, parse_clusters
from modelyard.records.errors import InvalidError, UnavailableError
from modelyard.workers.cluster import RayCluster
from modelyard.workers.clusters import read_clusters

MAIN = '[clusters.main]\naddress = "10.0.0.4:6379"\ntoken_file = "/etc/yard/ray.token"\n'
FINANCE = (
    '[clusters.finance]\naddress = "[fd00::4]:6379"\ntoken_file = "/etc/yard/f"\n'
    'departments = ["finance", "controlling"]\n'
)


def test_a_department_has_its_own_cluster_or_everybodys() -> None:
    clusters = parse_clusters(MAIN + FINANCE, "ray.toml")
    assert [clusters.of(d) for d in ("finance", "controlling", "operations")] == [
        "finance",
        "finance",
        "main",
    ]
    assert clusters.by_name["finance"].address == "[fd00::4]:6379"


def test_a_department_without_a_cluster_is_told_so() -> None:
    with pytest.raises(UnavailableError, match="operations has no cluster"):
        parse_clusters(FINANCE, "ray.toml").of("operations")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no [clusters.NAME]"),
        ("clusters = 3", "no [clusters.NAME]"),
        ("[clusters]\nmain = 3", "main is"),
        ("oops", "no TOML"),
        (MAIN + "[other]", "something else"),
        (MAIN.replace(":6379", ""), "line 2: address is"),
        (MAIN.replace("10.0.0.4", "ray://head"), "line 2: address is"),
        (MAIN.replace("/etc/yard/ray.token", "ray.token"), "line 3: token_file is"),
        (MAIN.replace("token_file", "token"), "a key that is not known"),
        ('[clusters.main]\naddress = "a:1"', "has no token_file"),
        (MAIN + 'departments = ["Finance"]', "Finance"),
        (MAIN.replace("clusters.main", 'clusters."Ma in"'), "Ma in"),
        (MAIN + MAIN.replace("main", "other"), "All other departments are on two clusters"),
        (FINANCE + FINANCE.replace("clusters.finance", "clusters.other"), "finance is on two clusters"),
    ],
)
def test_what_is_wrong_is_said(text: str, words: str) -> None:
    with pytest.raises(InvalidError) as caught:
        parse_clusters(text, "ray.toml")
    assert words in str(caught.value)
    assert str(caught.value).startswith("ray.toml")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InvalidError, match="cannot be read"):
        read_clusters(tmp_path / "ray.toml")


@pytest.mark.ray
def test_a_cluster_that_does_not_answer_does_not_hold_up_the_end(tmp_path: Path) -> None:
    """Who joins it waits for up to a minute; a yard that goes down does not."""
    token = tmp_path / "token"
    token.write_text("x" * 40)
    token.chmod(0o600)
    with socket.create_server(("127.0.0.1", 0)) as silent, ThreadPoolExecutor(1) as pool:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        ray = RayCluster("main", Cluster(address, str(token)), tmp_path / "log")
        placing = pool.submit(ray.place, "a-worker", "", Demand(), 60.0)
        until(lambda: ray._joining)
        ray.close()
        with pytest.raises(UnavailableError, match="going down"):
            placing.result(PATIENCE)
