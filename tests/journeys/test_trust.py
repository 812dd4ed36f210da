"""A department that is not trusted with code: what it has that is code ends, what is data alone goes on."""

from __future__ import annotations

import httpx

from tests.bundles import TAR
from tests.journeys.models import times
from tests.journeys.running import publish, until

ROW = [{"x": 2}]


def ask(client: httpx.Client, model: str) -> httpx.Response:
    return client.post(f"/models/{model}/predict", json=ROW)


def test_trust_is_withdrawn_and_given_again(client: httpx.Client) -> None:
    publish(client, "shady/twice", times(2))
    publish(client, "ops/twice", times(2))
    assert ask(client, "shady/twice").json()["predictions"] == [4.0]
    assert client.put("/api/v1/trust/shady", json={"trusted": False}).json() == ["shady"]
    refused = ask(client, "shady/twice")
    assert refused.status_code == 503
    assert "is not trusted with code" in refused.json()["detail"]
    assert "yard users trust shady" in refused.json()["hint"]
    assert ask(client, "ops/twice").json()["predictions"] == [4.0]
    until(
        lambda: not [w for w in client.get("/api/v1/workers").json() if w["version_id"].startswith("shady")]
    )
    more = client.post("/api/v1/models/shady/new/versions", content=times(3), headers={"Content-Type": TAR})
    assert more.status_code == 403
    assert "data alone" in more.json()["detail"]
    assert client.get("/api/v1/models/shady/new").status_code == 404
    entries = client.get("/api/v1/audit", params={"subject": "shady"}).text
    assert "department.trust" in entries
    assert client.put("/api/v1/trust/shady", json={"trusted": True}).json() == []
    assert until(lambda: ask(client, "shady/twice").json().get("predictions")) == [4.0]
    assert client.put("/api/v1/trust/nowhere", json={"trusted": True}).status_code == 404
