"""The examples for Prometheus and Grafana ask for metrics that there are."""

from __future__ import annotations

import inspect
import json
import re

from tests.conftest import ROOT

from modelyard.api import metrics
from modelyard.serving import counters

_METRIC = re.compile(r"modelyard_[a-z_]+")
_ENDS = ("_bucket", "_sum", "_count")


def known() -> set[str]:
    said = set(_METRIC.findall(inspect.getsource(counters) + inspect.getsource(metrics)))
    return said | {f"{name}{end}" for name in said for end in _ENDS}


def test_the_rules_ask_for_metrics_that_there_are() -> None:
    text = (ROOT / "examples/prometheus/modelyard.rules.yml").read_text()
    asked = set(_METRIC.findall(text))
    assert asked
    assert asked <= known(), asked - known()
    assert text.count("- alert:") == text.count("expr:") == text.count("summary:")


def test_the_board_asks_for_metrics_that_there_are() -> None:
    board = json.loads((ROOT / "examples/grafana/modelyard-models.json").read_text())
    for panel in board["panels"]:
        asked = set(_METRIC.findall(panel["targets"][0]["expr"]))
        assert asked, panel["title"]
        assert asked <= known(), panel["title"]
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
