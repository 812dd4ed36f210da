"""What a bundle may ask to be installed, and whether the server's own interpreter will do."""

from __future__ import annotations

import platform
from importlib import metadata
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from modelyard.records.errors import EnvironmentBuildError, InvalidError
from modelyard.workers import environments
from modelyard.workers.environments import environment_digest, own_fits, python_for, read_pins

OWN = platform.python_version()
NUMPY = metadata.version("numpy")
NAMES = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,20}[A-Za-z0-9])?", fullmatch=True)
VERSIONS = st.from_regex(r"[0-9]{1,4}(\.[0-9]{1,4}){0,3}(rc[0-9])?(\+[a-z0-9]{1,5})?", fullmatch=True)


def normal(name: str) -> str:
    return environments.normalised(name)


@given(st.dictionaries(NAMES, VERSIONS, max_size=8).filter(lambda d: len({normal(n) for n in d}) == len(d)))
def test_exact_pins_are_taken(pins: dict[str, str]) -> None:
    lines = [f"  {name}=={version}  # why\n" for name, version in pins.items()]
    assert read_pins("# made by hand\n\n" + "".join(lines)) == {normal(n): v for n, v in pins.items()}


# HARDENING 17: newline, shell or --index-url in requirements
@pytest.mark.parametrize(
    "line",
    [
        "--index-url http://evil/simple",
        "-i http://evil/simple",
        "--extra-index-url=http://evil",
        "-r other.txt",
        "-c constraints.txt",
        "-e .",
        "./local",
        "/etc/passwd",
        "../up",
        "file:///etc/passwd",
        "http://evil/x.whl",
        "git+https://evil/x",
        "numpy @ http://evil/numpy.whl",
        "numpy",
        "numpy>=1",
        "numpy==1,<3",
        "numpy==1.*",
        "numpy===1",
        "numpy[extra]==1",
        "numpy==1; python_version<'4'",
        "numpy==1 --hash=sha256:00",
        "numpy==$(id)",
        "numpy==`id`",
        "numpy==1 && id",
        "${HOME}==1",
        "numpy==1\\",
        "nümpy==1",
        "numpy==\u0661",  # a digit, but not an ASCII one
        "numpy==1\0",
        "==1",
        "numpy==",
        "-numpy==1",
    ],
)
def test_anything_else_is_refused_with_its_line(line: str) -> None:
    with pytest.raises(InvalidError) as caught:
        read_pins(f"scipy==1.0\n{line}\n")
    assert caught.value.fields["line"] == 2
    assert "exact pin" in caught.value.message


@given(st.text(max_size=60))
@example("numpy==1\u2028--index-url==x")
@example("numpy==1\x0b--pre")
@example("numpy==1\r-i")
def test_whatever_is_taken_goes_to_uv_as_pins_alone(text: str) -> None:
    try:
        pins = read_pins(text)
    except InvalidError:
        return
    for name, version in pins.items():
        written = f"{name}=={version}"
        assert written.isascii()
        assert not written.startswith(("-", ".", "/"))
        assert not set(written) & set(" \t\n\r\v\f/\\@;,$`'\"<>[]{}()#:&|*?%~")


def test_one_package_twice() -> None:
    assert read_pins("numpy==1.0\nNumPy==1.0\n") == {"numpy": "1.0"}
    with pytest.raises(InvalidError, match=r"numpy 1\.0 and, on line 2, for 2\.0"):
        read_pins("numpy==1.0\nnumpy==2.0\n")


def test_a_file_that_is_not_text(tmp_path: Path) -> None:
    (tmp_path / "environment").mkdir()
    (tmp_path / "environment/requirements.txt").write_bytes(b"numpy==1\xff")
    with pytest.raises(InvalidError, match="UTF-8"):
        python_for(tmp_path, OWN, tmp_path / "environments", print)


def test_the_servers_own_interpreter_fits() -> None:
    assert own_fits("", {})
    assert own_fits(OWN, {"numpy": NUMPY})
    assert own_fits(OWN.rpartition(".")[0] + ".99", {}), "another patch release is the same Python"


def test_it_does_not_fit() -> None:
    assert not own_fits("3.7.1", {})
    assert not own_fits(OWN.split(".")[0], {})
    assert not own_fits(OWN, {"numpy": NUMPY + ".1"})
    assert not own_fits(OWN, {"there-is-no-such-package": "1"})


def test_a_local_build_is_of_its_release(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "version", lambda _: "2.13.0+cpu")
    assert own_fits("", {"torch": "2.13.0"})
    assert own_fits("", {"torch": "2.13.0+cpu"})
    assert not own_fits("", {"torch": "2.13.0+cu126"})
    assert not own_fits("", {"torch": "2.13"})


def test_one_digest_for_one_environment() -> None:
    pins = {"numpy": "2.0", "scipy": "1.0"}
    digest = environment_digest("3.11.2", pins)
    assert len(digest) == 32
    assert environment_digest("3.11.9", dict(reversed(pins.items()))) == digest
    others = [("3.12.2", pins), ("3.11.2", pins | {"numpy": "2.1"}), ("3.11.2", {"numpy": "2.0"}), ("", pins)]
    assert len({digest, *(environment_digest(*other) for other in others)}) == 5


@pytest.mark.parametrize(
    "python", ["/bin/sh", "../python", "-h", "--help", "3", "pypy3.11", "3.11 -c", "3/.11"]
)
def test_a_python_that_is_not_a_version_never_reaches_uv(
    tmp_path: Path, python: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environments, "_find_uv", lambda: pytest.fail("uv was looked for"))
    with pytest.raises(EnvironmentBuildError, match="is not a version of Python"):
        python_for(tmp_path, python, tmp_path / "environments", print)
