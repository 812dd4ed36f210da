"""The doors beside the API (predictions, outcomes, protocol v2, metrics), for every role and method."""

from __future__ import annotations

import hashlib

import msgspec

from modelyard.records.people import (
    MATRIX,
    RIGHTS,
    YARD_ROLES,
    Grant,
    Need,
    Reach,
    Role,
)
from tests.contract.test_doors import TABLE, Caller, asks

BODY = [{"x": 1}]
OUTCOMES = [{"id": "boot-1", "actual": 2.0}]
TENSORS = {"inputs": [{"name": "x", "datatype": "FP64", "shape": [1], "data": [1.0]}]}
# Each address with its method, body and need; any other method is 405 for who may ask there.
DOORS = {
    "/models/finance/fuel-cost/predict": ("POST", BODY, Need.PREDICT),
    "/models/finance/fuel-cost/versions/1/predict": ("POST", BODY, Need.PREDICT),
    "/models/finance/fuel-cost/aliases/challenger/predict": ("POST", BODY, Need.PREDICT),
    "/models/finance/fuel-cost/outcomes": ("POST", OUTCOMES, Need.PREDICT),
    "/v2/models/finance.fuel-cost/infer": ("POST", TENSORS, Need.PREDICT),
    "/v2/models/finance.fuel-cost/versions/1/infer": ("POST", TENSORS, Need.PREDICT),
    "/v2/models/finance.fuel-cost": ("GET", None, Need.PREDICT),
    "/v2/models/finance.fuel-cost/ready": ("GET", None, Need.PREDICT),
    "/v2": ("GET", None, Need.SIGNED_IN),
    "/metrics": ("GET", None, Need.SIGNED_IN),
}
PLACES = ("finance", "operations")
ROLES = [(role, home) for role in Role for home in ((None,) if role in YARD_ROLES else PLACES)]
WHO = {f"{role}-{home}": Grant(f"{role}-{home}", role, home) for role, home in ROLES}
GUESTS = {
    f"guest-{right}": Grant(f"guest-{right}", Role.VIEWER, "", shares={"finance/fuel-cost": (Reach(needs),)})
    for right, needs in RIGHTS.items()
}
LATE = Grant("late", Role.VIEWER, "", shares={"finance/fuel-cost": (Reach(RIGHTS[Need.PREDICT], 1.0),)})


def expected(need: Need, grant: Grant) -> int:
    """The status that is right."""
    if need is Need.SIGNED_IN:
        return 200
    if grant.shares:
        own = {n for reaches in grant.shares.values() for r in reaches if r.until is None for n in r.needs}
    else:
        own = set(MATRIX[grant.role]) if grant.department in (None, "finance") else set()
    return 200 if need in own else 403 if Need.SEE in own else 404


async def _ask_all(client: Caller) -> None:
    everybody = WHO | GUESTS | {"late": LATE}
    tokens = {hashlib.sha256(name.encode()).hexdigest(): grant for name, grant in everybody.items()}
    client.front.table = msgspec.structs.replace(TABLE, tokens=tokens)
    wrong = []
    for path, (method, body, need) in DOORS.items():
        for name, grant in everybody.items():
            headers = {"Authorization": f"Bearer {name}"}
            right = expected(need, grant)
            asked = [(method, right)]
            if method == "GET":
                asked.append(("HEAD", right))
            others = ("OPTIONS", "PUT", "DELETE", "PATCH", "TRACE")
            asked += [(other, 405 if right == 200 else right) for other in others]
            for by, status in asked:
                got = (await client.request(by, path, json=body, headers=headers)).status_code
                if path.endswith("/outcomes"):  # 202: they are taken, and matched later
                    assert bool(client.front.came) == (got == 202)
                    client.front.came.clear()
                    got = 200 if got == 202 else got
                # the prediction address says 405 before it looks for the model: it names no department's
                if got != status and not (got == 405 and by != method and path.startswith("/models/")):
                    wrong.append(f"{by} {path} by {name}: {got}, not {status}")
        got = (await client.request(method, path, json=body)).status_code
        if got != 401:
            wrong.append(f"{method} {path} by nobody: {got}, not 401")
    assert not wrong, "\n" + "\n".join(wrong)


def test_every_door_for_every_role_department_and_single_grant() -> None:
    asks(_ask_all, None)
