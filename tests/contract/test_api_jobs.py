"""The addresses of jobs: what is sent, refused, listed, followed and cancelled, and by whom."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from anyio.from_thread import start_blocking_portal

from modelyard.catalog.jobs import Queue
from modelyard.catalog.people import People
from modelyard.catalog.registry import Registry
from modelyard.catalog.training import Begun, News, Training
from modelyard.records.jobs import Point
from modelyard.records.people import Role
from modelyard.store import duties
from modelyard.store.database import Database
from modelyard.store.duties import Duty
from tests.bundles import TAR, tar_of
from tests.contract.api_house import ELSEWHERE, MODEL, House

JOBS = f"/api/v1/models/{MODEL}/jobs"
LATER = datetime(2100, 1, 1, tzinfo=UTC)
YARD = f'model = "{MODEL}"\nlanguage = "python"\n[train]\nrun = "python train.py"\n'


@pytest.fixture
def house(registry: Registry, people: People, tmp_path: Path) -> Iterator[House]:
    with start_blocking_portal() as portal, House(portal, registry, people, tmp_path) as house:
        yield house


def send(house: House, text: str = YARD, who: Role = Role.BUILDER, place: str = MODEL, **params: str) -> Any:
    body = tar_of({"yard.toml": text.encode(), "train.py": b""})
    path = f"/api/v1/models/{place}/jobs"
    return house.ask("POST", path, who, content=body, params=params, headers={"Content-Type": TAR})


def begin(house: House) -> tuple[Training, Duty]:
    """Have the oldest job run, as the loop does."""
    database: Database = house.services.jobs._database
    with database.write() as connection:
        duty = duties.claim(connection, ["train"], "one", LATER, timedelta(minutes=1))
    assert duty is not None
    training = Training(database, Queue())
    assert isinstance(training.begin(duty, LATER), Begun)
    return training, duty


@pytest.mark.parametrize("address", [f"{JOBS}/1?wait=30", f"{JOBS}/1/log?wait=30"])
def test_36_rights_that_go_while_one_waits_for_a_job_are_gone(house: House, address: str) -> None:
    send(house)
    headers = house.signed(Role.VIEWER)
    waiting = house.portal.start_task_soon(lambda: house._client.get(address, headers=headers))
    for token in house.people.tokens():
        if token.role is Role.VIEWER:
            house.people.revoke_token(token.id, by="test")
    house.swap()
    assert waiting.result().status_code == 401


def test_a_project_is_sent_listed_and_shown(house: House) -> None:
    sent = send(house, code="git 4f1c2e", why="more trees", parameters='{"trees": 80}')
    assert sent.status_code == 201, sent.text
    assert sent.headers["location"] == f"{JOBS}/1"
    job = sent.json()
    assert (job["state"], job["parameters"], job["code"]) == ("queued", {"trees": 80}, "git 4f1c2e")
    assert (job["reason"], job["by"]) == ("more trees", "builder-finance")
    assert house.ask("GET", f"{JOBS}/1", Role.VIEWER).json() == job
    again = house.ask("POST", f"{JOBS}/again", Role.BUILDER, json={"why": "so", "parameters": {"trees": 1}})
    assert (again.status_code, again.json()["code"]) == (201, "git 4f1c2e")

    def listed(**params: Any) -> list[int]:
        answer = house.ask("GET", "/api/v1/jobs", Role.VIEWER, params=params)
        return [each["id"] for each in answer.json()]

    assert listed() == [2, 1]
    assert listed(job=1) == [1]
    assert listed(most=1) == [2]
    assert listed(below=2) == [1]
    assert listed(model=MODEL, state="queued") == [2, 1]
    assert listed(state="failed") == listed(model="finance/none") == listed(job=9) == []


def test_a_project_that_is_wrong_is_422_with_file_line_and_key(house: House) -> None:
    answer = send(house, YARD.replace("run =", "rum ="))
    assert answer.status_code == 422
    problem = answer.json()
    assert (problem["file"], problem["line"], problem["key"]) == ("yard.toml", 4, "train.rum")
    for text, words in (
        ("{", "no JSON object"),
        ("[1]", "no JSON object"),
        ('{"a": [1]}', "a finite number"),
    ):
        answer = send(house, parameters=text)
        assert (answer.status_code, words in answer.text) == (422, True)
    assert send(house, place="finance/other").status_code == 422
    assert house.ask("GET", "/api/v1/jobs", Role.BUILDER).json() == []


def test_data_of_another_department_is_not_there_for_who_may_not_read_it(house: House) -> None:
    text = YARD + f'data = {{ pay = "{ELSEWHERE}/pay" }}\n'
    answer = send(house, text)
    assert (answer.status_code, "There is no dataset operations/pay" in answer.text) == (404, True)
    assert send(house, text, Role.ADMINISTRATOR).status_code == 201
    again = house.ask("POST", f"{JOBS}/again", Role.BUILDER, json={})
    assert again.status_code == 404, "nor by training again what another sent"


def test_a_model_of_another_department_is_named_as_upstream_by_who_may_see_it_alone(house: House) -> None:
    for model in (f"{ELSEWHERE}/fuel-cost", f"{ELSEWHERE}/none"):
        answer = send(house, YARD + f'[retrain]\nupstream = ["{model}"]\n', Role.OWNER)
        assert (answer.status_code, f"There is no model {model}, " in answer.text) == (404, True)
    named = YARD + f'[retrain]\nupstream = ["{ELSEWHERE}/fuel-cost"]\n'
    assert send(house, named, Role.ADMINISTRATOR).status_code == 201
    assert house.ask("POST", f"{JOBS}/again", Role.OWNER, json={}).status_code == 404


def test_42_a_job_of_another_department_looks_like_none(house: House) -> None:
    send(house)
    place = f"/api/v1/models/{ELSEWHERE}/fuel-cost/jobs"
    for rest in ("", "/log", "/metrics"):
        there, nowhere = (
            house.ask("GET", f"{place}/{number}{rest}", Role.OWNER, ELSEWHERE) for number in (1, 9)
        )
        assert there.status_code == nowhere.status_code == 404
        assert there.text == nowhere.text.replace("9", "1")


def test_a_policy_comes_with_the_job_of_who_may_set_it_alone(house: House) -> None:
    for role in (Role.BUILDER, Role.OWNER):
        send(house, YARD + '[promote]\napproval = "owner"\n', role)
    database: Database = house.services.jobs._database
    with database.read() as connection:
        from modelyard.store import jobs  # noqa: PLC0415 - of this test alone

        assert [jobs.sets_policy(connection, number) for number in (1, 2)] == [False, True]


def test_an_owner_approves_the_hosts_of_a_job(house: House) -> None:
    place = f"/api/v1/models/{MODEL}/hosts"
    assert send(house, YARD + 'hosts = ["files.example.org:443"]').json()["hosts"] == [
        "files.example.org:443"
    ]
    told = house.ask("GET", place, Role.VIEWER).json()
    assert (told["approved"], told["asked"]) == ([], [{"job": 1, "hosts": ["files.example.org:443"]}])
    wanted = {"hosts": ["files.example.org:443"], "why": "the price list"}
    assert house.ask("PUT", place, Role.BUILDER, json=wanted).status_code == 403, (
        "who sends it does not decide"
    )
    answer = house.ask("PUT", place, Role.OWNER, json=wanted)
    assert (answer.status_code, answer.json()["approved"]) == (200, ["files.example.org:443"])
    assert answer.json()["by"] == "owner-finance"
    wrong = house.ask("PUT", place, Role.OWNER, json={"hosts": ["https://files.example.org"]})
    assert (wrong.status_code, wrong.json()["key"]) == (422, "hosts")
    assert house.ask("GET", "/api/v1/models/finance/none/hosts", Role.VIEWER).status_code == 404


def test_a_log_is_followed_as_it_comes_and_metrics_are_told(house: House) -> None:
    send(house)
    training, duty = begin(house)
    first = house.ask("GET", f"{JOBS}/1/log", Role.VIEWER).json()
    assert (first["state"], "begins" in first["text"]) == ("running", True)
    teller = threading.Timer(0.2, training.tell, (duty, 1, News("epoch 1\n", [Point(1, LATER, "mae", 2.5)])))
    teller.start()
    after = house.ask("GET", f"{JOBS}/1/log", Role.VIEWER, params={"since": first["next"], "wait": 30}).json()
    teller.join()
    assert after["text"] == "epoch 1\n"
    empty = house.ask("GET", f"{JOBS}/1/log", Role.VIEWER, params={"since": after["next"]}).json()
    assert (empty["text"], empty["next"]) == ("", after["next"])
    (point,) = house.ask("GET", f"{JOBS}/1/metrics", Role.VIEWER).json()
    assert (point["name"], point["value"], point["line"]) == ("mae", 2.5, 1)


def test_a_job_is_cancelled_once_and_only_through_its_own_model(house: House) -> None:
    send(house)
    house.publish("finance/other")
    for method, path in (("GET", ""), ("GET", "/log"), ("GET", "/metrics"), ("POST", "/cancel")):
        body: dict[str, Any] = {"json": {}} if method == "POST" else {}
        answer = house.ask(method, f"/api/v1/models/finance/other/jobs/1{path}", Role.OWNER, **body)
        assert answer.status_code == 404
    assert house.ask("POST", f"{JOBS}/1/cancel", Role.VIEWER, json={}).status_code == 403
    ended = house.ask("POST", f"{JOBS}/1/cancel", Role.BUILDER, json={"why": "wrong data"})
    assert ended.json()["state"] == "cancelled"
    assert ended.json()["words"] == "Cancelled by builder-finance. wrong data"
    assert house.ask("POST", f"{JOBS}/1/cancel", Role.BUILDER, json={}).status_code == 409
    for number in ("0", "x", "99999999999999999999"):
        assert house.ask("GET", f"{JOBS}/{number}", Role.VIEWER).status_code in (404, 422)


def test_a_full_queue_says_when_to_come_again(house: House) -> None:
    house.services.jobs.queue = Queue(waiting=1)
    assert send(house).status_code == 201
    answer = send(house)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "60")
    assert "1 jobs waiting" in answer.text


def test_what_others_change_is_in_the_audit(house: House) -> None:
    send(house)
    house.ask("POST", f"{JOBS}/1/cancel", Role.BUILDER, json={"why": "wrong data"})
    answer = house.ask("GET", "/api/v1/audit", Role.AUDITOR)
    said = answer.text
    assert answer.status_code == 200, said
    assert "job.submit" in said
    assert "job.cancel" in said
    assert f"{MODEL}/jobs/1" in said
