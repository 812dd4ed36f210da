"""The decision by itself: who, and whether they may."""

from __future__ import annotations

import itertools

import pytest

from modelyard.api.auth import authorise, identify, take_used
from modelyard.catalog.people import hash_secret
from modelyard.records.errors import ForbiddenError, NotFoundError, UnauthenticatedError
from modelyard.records.people import YARD_ROLES, Grant, Need, Role
from modelyard.records.rollouts import RouteTable

SECRET = "yard_secret"
ANNA = Grant("anna", Role.CALLER, "finance", expires=1000.0)
TABLE = RouteTable(1, {}, {hash_secret(SECRET): ANNA})


@pytest.mark.parametrize("header", [f"Bearer {SECRET}", f"bearer {SECRET}", f"BEARER {SECRET}"])
def test_a_token_is_known_by_its_hash(header: str) -> None:
    assert identify(header, TABLE, now=999.9) is ANNA


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        SECRET,
        f"Basic {SECRET}",
        "Bearer",
        "Bearer ",
        f"Bearer  {SECRET}",
        f"Bearer {SECRET} ",
        f"Bearer {hash_secret(SECRET)}",
        f"Bearer {SECRET},Bearer {SECRET}",
        "Bearer \udc80",
    ],
)
def test_anything_else_is_nobody(header: str | None) -> None:
    with pytest.raises(UnauthenticatedError):
        identify(header, TABLE, now=0.0)


@pytest.mark.parametrize("now", [1000.0, 1000.1, 1e12])
def test_a_token_ends_at_its_time(now: float) -> None:
    with pytest.raises(UnauthenticatedError):
        identify(f"Bearer {SECRET}", TABLE, now=now)


def test_no_role_of_a_department_may_anything_elsewhere() -> None:
    for role, need in itertools.product(set(Role) - YARD_ROLES, Need):
        if need in (Need.NOTHING, Need.SIGNED_IN):
            continue
        with pytest.raises((NotFoundError, ForbiddenError)) as refused:
            authorise(Grant("anna", role, "finance"), need, "operations")
        assert isinstance(refused.value, NotFoundError)
        assert "operations" not in str(refused.value)


def test_a_right_of_the_yard_is_refused_with_the_role_that_has_it() -> None:
    with pytest.raises(ForbiddenError, match=r"caller in finance.*role administrator in the yard"):
        authorise(ANNA, Need.ADMINISTER)
    with pytest.raises(ForbiddenError, match="role owner or administrator in the department finance"):
        authorise(ANNA, Need.PROMOTE, "finance")
    with pytest.raises(ForbiddenError, match=r"\(auditor\)"):
        authorise(Grant("otto", Role.AUDITOR), Need.PREDICT, "finance")


def test_what_is_allowed_passes() -> None:
    authorise(ANNA, Need.PREDICT, "finance")
    authorise(Grant("root", Role.ADMINISTRATOR), Need.PROMOTE, "finance")
    authorise(Grant("root", Role.ADMINISTRATOR), Need.ADMINISTER)


def test_tokens_that_came_in_are_known_once() -> None:
    table = RouteTable(1, {}, {hash_secret("a"): Grant("a", Role.CALLER, "d", 7), hash_secret("s"): ANNA})
    take_used()
    for secret in ("a", "a", "s"):
        identify(f"Bearer {secret}", table, now=1.0)
    with pytest.raises(UnauthenticatedError):
        identify("Bearer other", table, now=1.0)
    assert take_used() == {7}
    assert take_used() == frozenset()
