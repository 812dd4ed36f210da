"""A real yard sends an alert by itself: the loop finds what has happened, and a webhook gets it, signed."""

from __future__ import annotations

import json
import queue
import threading
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from modelyard.records.policies import Level
from modelyard.records.predictions import Finding
from modelyard.store import watch
from modelyard.store.database import Database
from modelyard.workers.sending import signature
from tests.journeys.running import PATIENCE, RunningYard

CHANNEL = "/api/v1/departments/finance/channels/hook"


def test_a_finding_reaches_a_webhook_and_metrics(tmp_path: Path) -> None:
    came: queue.Queue[tuple[dict[str, str], bytes]] = queue.Queue()

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            came.put((dict(self.headers), self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Hook) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        address = f"http://127.0.0.1:{server.server_address[1]}/hook"
        allowed = {"YARD_OUTBOUND": "127.0.0.0/8"}
        with RunningYard(tmp_path / "data", allowed, ("--fronts", "1")) as yard, yard.client() as client:
            headers = {"Content-Type": "text/csv"}
            client.post("/api/v1/datasets/finance/fuel/versions", content=b"a\n1\n", headers=headers)
            made = client.put(CHANNEL, json={"kind": "webhook", "address": address, "level": "low"})
            assert made.status_code == 200, made.text
            now = datetime.now(UTC)
            moved = Finding("finance/fuel", 1, "drift", Level.HIGH, "km has moved", now, now, now, now)
            database = Database(f"sqlite:///{yard.data / 'yard.sqlite'}")
            with database.write(unaudited="a test: as the watch writes it") as connection:
                watch.notice(connection, moved)
            database.close()
            told, body = came.get(timeout=PATIENCE)
            alert = json.loads(body)["data"]["alerts"][0]
            assert (alert["words"], alert["model"]) == ("km has moved", "finance/fuel")
            secret, moment = bytes.fromhex(made.json()["secret"]), int(told["webhook-timestamp"])
            assert told["webhook-signature"] == signature(secret, told["webhook-id"], moment, body)
            metrics = client.get("/metrics").text
            assert 'modelyard_alerts_open{model="finance/fuel",level="high"} 1' in metrics
            seen = client.post(f"/api/v1/departments/finance/alerts/{alert['id']}/acknowledge", json={})
            assert seen.json()["acknowledged_by"] == "administrator"
            assert client.get("/api/v1/alerts").json() == []
        server.shutdown()
        thread.join()
