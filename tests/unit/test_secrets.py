"""Secrets at rest: only what was sealed, only for what it was sealed for, also after a rotation."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelyard.records.errors import UnavailableError
from modelyard.store.secrets import Keyring, Secrets


@pytest.fixture
def secrets(tmp_path: Path) -> Secrets:
    return Secrets(Keyring(tmp_path / "keys"))


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(secret=st.binary(max_size=100), context=st.text(max_size=20), data=st.data())
def test_it_opens_what_it_sealed_and_nothing_changed(
    secrets: Secrets, secret: bytes, context: str, data: st.DataObject
) -> None:
    sealed = secrets.seal(secret, context)
    assert secrets.open(sealed, context) == secret
    assert sealed != secrets.seal(secret, context)
    changed = bytearray(sealed)
    changed[data.draw(st.integers(0, len(sealed) - 1))] ^= data.draw(st.integers(1, 255))
    for bad in (bytes(changed), sealed[: data.draw(st.integers(0, len(sealed) - 1))]):
        with pytest.raises(UnavailableError):
            secrets.open(bad, context)
    with pytest.raises(UnavailableError):
        secrets.open(sealed, context + "x")


def test_a_rotated_keyring_opens_old_and_new(tmp_path: Path) -> None:
    keyring = Keyring(tmp_path / "keys")
    old = Secrets(keyring).seal(b"old", "x")
    keyring.rotate()
    again = Secrets(Keyring(tmp_path / "keys"))
    new = again.seal(b"new", "x")
    assert old[1:9] != new[1:9]
    assert (again.open(old, "x"), again.open(new, "x")) == (b"old", b"new")


def test_the_key_is_for_its_owner_alone(tmp_path: Path) -> None:
    Keyring(tmp_path / "keys")
    assert (tmp_path / "keys").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("content", ["", "abcd\n", "not hexadecimal", "é"])
def test_a_damaged_key_file_says_so(tmp_path: Path, content: str) -> None:
    (tmp_path / "keys").write_text(content)
    with pytest.raises(UnavailableError, match="key file"):
        Secrets(Keyring(tmp_path / "keys")).seal(b"x", "x")


def test_another_yards_key_opens_nothing(secrets: Secrets, tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="key is not here"):
        Secrets(Keyring(tmp_path / "other")).open(secrets.seal(b"x", "x"), "x")
