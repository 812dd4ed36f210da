"""Publish, check, serve, promote, roll back: the main line, over HTTP."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import httpx
import polars as pl

from tests.journeys.models import code_bundle, times
from tests.journeys.running import publish


def ask(client: httpx.Client, model: str, rows: list[dict[str, object]], **kwargs: str) -> httpx.Response:
    return client.post(f"/models/{model}/{kwargs.get('of', '')}predict", json=rows)


def test_the_first_checked_version_answers_at_once(client: httpx.Client) -> None:
    version = publish(client, "ops/first", times(2))
    assert version["state"] == "checked", version
    assert version["aliases"] == ["champion"]
    assert version["bundle"]["signature"]["outputs"] == [{"name": "prediction", "type": "float64"}]
    answer = ask(client, "ops/first", [{"x": 1.5}, {"x": -1}]).json()
    assert answer["predictions"] == [3.0, -2.0]
    assert (answer["model"], answer["version"]) == ("ops/first", 1)


def test_the_same_content_published_twice_says_so(client: httpx.Client) -> None:
    publish(client, "ops/twice", times(2))
    again = client.post(
        "/api/v1/models/ops/twice/versions", content=times(2), headers={"Content-Type": "application/x-tar"}
    )
    assert again.status_code == 200
    assert again.json()["version"] == 1
    assert len(client.get("/api/v1/models/ops/twice/versions").json()) == 1


def test_promote_history_and_rollback(client: httpx.Client) -> None:
    for factor in (1, 2, 3):
        assert publish(client, "ops/story", times(factor))["state"] == "checked"
    assert ask(client, "ops/story", [{"x": 10}]).json()["predictions"] == [10.0]
    promoted = client.put(
        "/api/v1/models/ops/story/aliases/champion", json={"version": 3, "why": "it is better"}
    )
    assert promoted.status_code == 200, promoted.text
    assert ask(client, "ops/story", [{"x": 10}]).json()["predictions"] == [30.0]
    client.put("/api/v1/models/ops/story/aliases/challenger", json={"version": 2})
    assert ask(client, "ops/story", [{"x": 10}], of="aliases/challenger/").json()["predictions"] == [20.0]
    assert ask(client, "ops/story", [{"x": 10}], of="versions/1/").json()["predictions"] == [10.0]
    back = client.post("/api/v1/models/ops/story/rollback", json={"why": "it was not"})
    assert back.json()["after"] == 1
    assert ask(client, "ops/story", [{"x": 10}]).json()["version"] == 1
    history = client.get("/api/v1/models/ops/story/history").json()
    assert [(h["alias"], h["before"], h["after"]) for h in history] == [
        ("champion", 3, 1),
        ("challenger", None, 2),
        ("champion", 1, 3),
        ("champion", None, 1),
    ]
    assert history[0]["why"] == "it was not"
    assert history[0]["by"] == "administrator"


def test_a_failed_check_keeps_the_version_with_reason_and_log(client: httpx.Client) -> None:
    source = "import sys\nprint('loading now', file=sys.stderr)\nraise RuntimeError('no licence file')\n"
    version = publish(client, "ops/broken", code_bundle(source))
    assert version["state"] == "failed"
    assert "no licence file" in version["reason"]
    assert "loading now" in version["log"]
    refused = client.put("/api/v1/models/ops/broken/aliases/champion", json={"version": 1})
    assert refused.status_code == 409
    assert ask(client, "ops/broken", [{"x": 1}]).status_code == 409
    assert ask(client, "ops/broken", [{"x": 1}], of="versions/1/").status_code == 404


def test_a_failed_version_published_again_is_checked_again(client: httpx.Client, tmp_path: Path) -> None:
    licence = Path(sys.prefix) / f".{tmp_path.name}-{os.getpid()}.licence"  # what workers see of the server
    source = f"open({str(licence)!r}).close()\ndef predict(columns):\n    return columns['x']\n"
    tar = code_bundle(source)
    assert publish(client, "ops/again", tar)["state"] == "failed"
    assert publish(client, "ops/again", tar)["state"] == "failed"
    licence.touch()
    try:
        version = publish(client, "ops/again", tar)
    finally:
        licence.unlink()
    assert (version["version"], version["state"], version["reason"]) == (1, "checked", "")
    assert ask(client, "ops/again", [{"x": 1}]).status_code == 200


def test_publishing_with_an_alias_moves_it_after_the_check(client: httpx.Client) -> None:
    publish(client, "ops/direct", times(1))
    version = publish(client, "ops/direct", times(5), alias="champion", why="asked for at publishing")
    assert version["aliases"] == ["champion"]
    assert ask(client, "ops/direct", [{"x": 1}]).json()["predictions"] == [5.0]


def test_classification_and_several_outputs(client: httpx.Client) -> None:
    labels = (
        "def predict(columns):\n"
        "    late = columns['x'] > 0\n"
        "    return {'label': late, 'probabilities': {False: 1.0 - 0.75 * late, True: 0.75 * late}}\n"
    )
    publish(client, "ops/late", code_bundle(labels))
    assert ask(client, "ops/late", [{"x": 1}]).json()["predictions"] == [
        {"label": True, "probabilities": {"false": 0.25, "true": 0.75}}
    ]
    both = "def predict(columns):\n    return {'fuel': columns['x'] * 2, 'time': columns['x'] + 1}\n"
    publish(client, "ops/both", code_bundle(both))
    assert ask(client, "ops/both", [{"x": 1}]).json()["predictions"] == [{"fuel": 2.0, "time": 2.0}]


def test_extra_columns_are_kept_as_keys_and_exported(client: httpx.Client) -> None:
    publish(client, "ops/keys", times(2))
    answer = ask(client, "ops/keys", [{"x": 1, "customer": "c-7"}, {"x": 2, "customer": "c-8"}]).json()
    exported = client.get("/api/v1/models/ops/keys/predictions")
    assert exported.status_code == 200, exported.text
    table = pl.read_parquet(io.BytesIO(exported.content))
    assert table["request"].to_list() == [answer["request_id"]] * 2
    assert table["keys"].to_list() == ['{"customer":"c-7"}', '{"customer":"c-8"}']
    assert table["x"].to_list() == [1.0, 2.0]
    assert table["prediction"].to_list() == [2.0, 4.0]
    assert set(table["caller"]) == {"administrator"}


def test_csv_and_parquet_ways(client: httpx.Client) -> None:
    publish(client, "ops/ways", times(2))
    csv = client.post(
        "/models/ops/ways/predict",
        content="id,x\n7,1.5\n8,2\n",
        headers={"Content-Type": "text/csv", "Accept": "text/csv"},
    )
    assert csv.text == "id,prediction\n7,3.0\n8,4.0\n"
    out = io.BytesIO()
    pl.DataFrame({"x": [1, 2, 3]}).write_parquet(out)
    parquet = client.post(
        "/models/ops/ways/predict",
        content=out.getvalue(),
        headers={
            "Content-Type": "application/vnd.apache.parquet",
            "Accept": "application/vnd.apache.parquet",
        },
    )
    assert pl.read_parquet(io.BytesIO(parquet.content))["prediction"].to_list() == [2.0, 4.0, 6.0]
