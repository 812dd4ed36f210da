"""`oidc.toml` and the pure parts of OpenID Connect."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelyard.records.errors import InvalidError
from modelyard.records.people import Role
from modelyard.web.provider import GroupRole, Provider, is_safe, read_provider, roles_of

GOOD = """
issuer = "https://login.example.com/realms/acme"
client = "modelyard"
secret = "s"
name = "Acme"
roles = [
    { group = "ml-admins", role = "administrator" },
    { group = "analysts", role = "builder", department = "finance" },
]
"""


def test_the_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "oidc.toml"
    path.write_text(GOOD)
    found = read_provider(path)
    assert (found.client, found.name, found.groups) == ("modelyard", "Acme", "groups")
    assert found.roles[1] == GroupRole("analysts", Role.BUILDER, "finance")


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ('issuer = "https', 'issuer = "http', "not an https:// address"),
        ('client = "modelyard"', "", "client"),
        ('"administrator"', '"king"', "king"),
        ('"builder", department = "finance"', '"builder"', "must have a department"),
        ('"finance"', '"../x"', "not a department"),
        ("name", "nmae", "nmae"),
        ("roles = [", "roles = [[", "cannot be used"),
    ],
)
def test_what_is_wrong_in_it_is_named(tmp_path: Path, before: str, after: str, says: str) -> None:
    path = tmp_path / "oidc.toml"
    path.write_text(GOOD.replace(before, after))
    with pytest.raises(InvalidError, match=says):
        read_provider(path)
    with pytest.raises(InvalidError, match=r"nowhere\.toml"):
        read_provider(tmp_path / "nowhere.toml")


def test_of_several_groups_the_highest_role_counts() -> None:
    roles = (
        GroupRole("a", Role.VIEWER, "finance"),
        GroupRole("b", Role.OWNER, "finance"),
        GroupRole("c", Role.ADMINISTRATOR),
        GroupRole("d", Role.AUDITOR),
    )
    provider = Provider("https://x", "y", roles=roles)
    assert roles_of(provider, ["a", "b"]) == (("finance", Role.OWNER),)
    assert roles_of(provider, ["d", "c", "a"]) == ((None, Role.ADMINISTRATOR), ("finance", Role.VIEWER))
    assert roles_of(provider, ["A", "", "a "]) == ()


@pytest.mark.parametrize("address", ["https://login.example.com", "http://localhost:9", "http://127.0.0.1/x"])
def test_addresses_that_nobody_on_the_way_reads(address: str) -> None:
    assert is_safe(address)


@pytest.mark.parametrize(
    "address",
    [
        "http://login.example.com",
        "http://127.1",
        "http://0x7f.1",
        "ftp://localhost",
        "https://",
        "",
        "file:///x",
    ],
)
def test_other_addresses(address: str) -> None:
    assert not is_safe(address)
