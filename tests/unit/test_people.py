"""Who may do what, as pure decisions: the matrix, roles capped by roles, grants on single things."""

from __future__ import annotations

import itertools
import time
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.records.errors import InvalidError
from modelyard.records.people import (
    MATRIX,
    NOWHERE,
    RIGHTS,
    YARD_ROLES,
    Grant,
    Held,
    Kind,
    Need,
    Role,
    Share,
    check_person,
    matrix_rows,
    thing_of,
    with_shares,
)

MODEL = "finance/fuel-cost"
CHANGES = {Need.PUBLISH, Need.PROMOTE, Need.MANAGE, Need.ADMINISTER}
LADDER = [Role.VIEWER, Role.CALLER, Role.BUILDER, Role.OWNER]


def share(right: Need = Need.PREDICT, kind: Kind = Kind.MODEL, **to: object) -> Share:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    made = Share(1, kind, MODEL, right, None, None, at, "olga")
    return msgspec.structs.replace(made, **to)


def test_each_role_of_a_department_has_all_that_the_one_below_has() -> None:
    for low, high in itertools.pairwise(LADDER):
        assert MATRIX[low] < MATRIX[high]


def test_an_auditor_reads_all_but_data_and_changes_nothing() -> None:
    assert MATRIX[Role.AUDITOR] == {Need.SEE, Need.REVIEW, Need.OVERSEE}
    assert not MATRIX[Role.AUDITOR] & CHANGES
    assert Need.READ_DATA not in MATRIX[Role.AUDITOR]


def test_the_printed_matrix_is_the_one_that_decides() -> None:
    rows = matrix_rows()
    for need, row in rows.items():
        for role, has in zip(Role, row, strict=True):
            assert Grant("x", role, None if role in YARD_ROLES else "d").allows(need, "d") is has
    assert set(rows) == set(Need) - {Need.NOTHING, Need.SIGNED_IN}


def test_nothing_that_changes_can_be_granted_on_one_thing() -> None:
    for right, needs in RIGHTS.items():
        assert right in needs
        assert Need.SEE in needs
        assert not needs & CHANGES


@pytest.mark.parametrize(
    ("held", "scope", "place", "left"),
    [
        (Held(departments={"finance": Role.CALLER}), Role.OWNER, "finance", Role.CALLER),
        (Held(departments={"finance": Role.OWNER}), Role.CALLER, "finance", Role.CALLER),
        (Held(departments={"finance": Role.OWNER}), Role.CALLER, "operations", None),
        (Held(departments={"finance": Role.OWNER}), Role.ADMINISTRATOR, None, None),
        (Held(), Role.VIEWER, "finance", None),
        (Held(yard=Role.ADMINISTRATOR), Role.OWNER, "finance", Role.OWNER),
        (Held(yard=Role.ADMINISTRATOR), Role.ADMINISTRATOR, None, Role.ADMINISTRATOR),
        (Held(yard=Role.ADMINISTRATOR), Role.AUDITOR, None, Role.AUDITOR),
        (Held(yard=Role.AUDITOR), Role.ADMINISTRATOR, None, Role.AUDITOR),
        (Held(yard=Role.AUDITOR), Role.OWNER, "finance", Role.VIEWER),
        (Held(Role.AUDITOR, {"finance": Role.BUILDER}), Role.OWNER, "finance", Role.BUILDER),
    ],
)
def test_36_a_token_is_never_wider_than_its_holder(
    held: Held, scope: Role, place: str | None, left: Role | None
) -> None:
    assert held.capped(scope, place) is left
    assert held.covers(scope, place) is (left is scope)


@given(
    st.lists(st.tuples(st.sampled_from(["a", "b"]), st.sampled_from(LADDER)), max_size=4),
    st.sampled_from([None, Role.AUDITOR, Role.ADMINISTRATOR]),
    st.sampled_from(["a", "b", "c"]),
    st.sampled_from(Need),
)
def test_a_session_may_what_one_of_its_roles_may(
    roles: list[tuple[str, Role]], yard: Role | None, place: str, need: Need
) -> None:
    held = Held()
    for department, role in roles:
        held = held.plus(department, role)
    if yard:
        held = held.plus(None, yard)
    grant = held.grant("anna")
    own = [role for department, role in roles if department == place] + ([yard] if yard else [])
    right = need in (Need.NOTHING, Need.SIGNED_IN) or any(need in MATRIX[role] for role in own)
    assert grant.allows(need, place) is right


def test_who_holds_nothing_sees_nothing() -> None:
    grant = Held().grant("anna")
    assert (grant.department, grant.seen, grant.words) == (NOWHERE, frozenset(), "no role")
    for need in set(Need) - {Need.NOTHING, Need.SIGNED_IN}:
        assert not grant.allows(need)
        assert not grant.allows(need, "finance", MODEL)


def test_one_thing_is_granted_and_no_other() -> None:
    given_ = share(to_principal="anna")
    grant = with_shares(Held().grant("anna"), [given_])
    assert grant.allows(Need.SEE, "finance", MODEL)
    assert grant.allows(Need.PREDICT, "finance", MODEL)
    assert not grant.allows(Need.READ_DATA, "finance", MODEL)
    assert not grant.allows(Need.SEE, "finance")
    assert not grant.sees("finance")
    assert grant.seen == frozenset()
    assert not grant.allows(Need.SEE, "finance", MODEL + "-2")
    assert not grant.allows(Need.SEE, "finance", thing_of(Kind.DATASET, MODEL))
    assert grant.shared_models == {MODEL}
    assert not grant.shared_datasets
    assert not with_shares(Held().grant("bert"), [given_]).shares


@pytest.mark.parametrize("role", LADDER)
def test_a_departments_members_have_a_grant_as_far_as_their_role_goes(role: Role) -> None:
    given_ = [
        share(to_department="operations"),
        share(Need.READ_DATA, Kind.DATASET, to_department="operations"),
    ]
    grant = with_shares(Held(departments={"operations": role}).grant("anna"), given_)
    dataset = thing_of(Kind.DATASET, MODEL)
    assert grant.allows(Need.PREDICT, "finance", MODEL) is (Need.PREDICT in MATRIX[role])
    assert grant.allows(Need.READ_DATA, "finance", dataset) is (Need.READ_DATA in MATRIX[role])
    assert grant.shared_datasets == {MODEL}
    assert not with_shares(Held(departments={"sales": role}).grant("anna"), given_).shares


def test_48_a_token_has_its_holders_grants_as_far_as_its_own_role_goes() -> None:
    token = Grant("anna", Role.VIEWER, "operations", token_id=7)
    grant = with_shares(token, [share(to_principal="anna")])
    assert grant.allows(Need.SEE, "finance", MODEL)
    assert not grant.allows(Need.PREDICT, "finance", MODEL)


def test_a_grant_ends_by_itself() -> None:
    soon = datetime.fromtimestamp(time.time() + 3600, UTC)
    for ends, holds in ((soon, True), (soon - timedelta(hours=2), False)):
        grant = with_shares(Held().grant("anna"), [share(to_principal="anna", expires_at=ends)])
        assert grant.allows(Need.SEE, "finance", MODEL) is holds
        assert bool(grant.shared_models) is holds


def test_a_grant_survives_the_route_tables_encoding() -> None:
    grant = with_shares(Grant("anna", Role.CALLER, "operations"), [share(to_department="operations")])
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(grant), type=Grant) == grant


@pytest.mark.parametrize("name", ["maria", "maria@example.com", "m.lopez-2", "7", "a" * 200])
def test_names_of_persons(name: str) -> None:
    assert check_person(name) == name


@pytest.mark.parametrize("name", ["", "Maria", "ma ria", "maria/7", "../x", "márïa", "a" * 201, "-x", "a\n"])
def test_hardening_6_a_person_has_one_spelling(name: str) -> None:
    with pytest.raises(InvalidError, match="person's name"):
        check_person(name)
