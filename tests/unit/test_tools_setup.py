"""The parts of tools/setup that decide; that they install is shown by `.ci/run` on a fresh machine."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tools.setup import apt, julia, languages, pip_settings, python
from tools.setup.apt import Source
from tools.setup.machine import LOCK, SetupError, run


class TestSources:
    def test_one_line_format(self) -> None:
        text = (
            "# deb http://commented.example/debian bookworm main\n"
            "deb http://a.example/debian bookworm main contrib # note\n"
            "deb [arch=amd64 signed-by=/usr/share/k.gpg] http://b.example/debian bookworm-updates main\n"
            "deb-src http://a.example/debian bookworm main\n"
            "deb http://c.example/debian bookworm non-free\n"
        )
        assert apt.parse_lines(text) == [
            Source("http://a.example/debian", "bookworm"),
            Source("http://b.example/debian", "bookworm-updates", "/usr/share/k.gpg"),
        ]

    def test_stanzas(self) -> None:
        text = (
            "# a remark\nTypes: deb deb-src\nURIs: http://a.example/debian\n"
            "Suites: bookworm bookworm-updates\n# within\nComponents: main\nSigned-By: /k.gpg\n"
            "\n\nTypes: deb\nURIs: http://off.example/debian\nSuites: sid\nComponents: main\nEnabled: no\n"
            "\nTypes: deb-src\nURIs: http://src.example/debian\nSuites: bookworm\nComponents: main\n"
        )
        assert apt.parse_stanzas(text) == [
            Source("http://a.example/debian", "bookworm", "/k.gpg"),
            Source("http://a.example/debian", "bookworm-updates", "/k.gpg"),
        ]

    def test_a_key_written_into_a_stanza_is_not_put_on_a_line(self) -> None:
        text = (
            "Types: deb\nURIs: http://a.example/debian\nSuites: bookworm\nComponents: main\n"
            "Signed-By:\n -----BEGIN PGP-----\n .\n mQINBF\n -----END PGP-----\n"
        )
        (source,) = apt.parse_stanzas(text)
        assert source.line() == "deb http://a.example/debian bookworm main\n"

    def test_both_formats_are_found_on_a_machine(self, tmp_path: Path) -> None:
        (tmp_path / "sources.list.d").mkdir()
        (tmp_path / "sources.list").write_text("deb http://a.example/debian bookworm main\n")
        (tmp_path / "sources.list.d/b.sources").write_text(
            "Types: deb\nURIs: http://b.example/debian\nSuites: sid\nComponents: main\n"
        )
        found = apt.read_sources(tmp_path)
        assert [source.suite for source in found] == ["bookworm", "sid"]
        assert apt.mirror_of("sid", found).uri == "http://b.example/debian"
        with pytest.raises(SetupError, match="no mirror for trixie"):
            apt.mirror_of("trixie", found)

    def test_a_machine_without_apt_has_none(self, tmp_path: Path) -> None:
        assert apt.read_sources(tmp_path) == []

    @pytest.mark.parametrize(
        "source", [Source("http://a.example/d", "s"), Source("http://a.example/d", "s", "/k")]
    )
    def test_a_line_reads_back(self, source: Source) -> None:
        assert apt.parse_lines(source.line()) == [source]


class TestPipSettings:
    def test_files_then_variables(self, tmp_path: Path) -> None:
        first, second = tmp_path / "1.conf", tmp_path / "2.conf"
        first.write_text(
            "[global]\nindex-url = http://one.example\ncert = /c.pem\n[install]\nno_index = yes\n"
        )
        second.write_text("[global]\nindex-url = http://two.example\n[freeze]\ntimeout = 1\n")
        found = pip_settings.read_settings(
            [first, second, tmp_path / "absent"], {"PIP_CERT": "/d.pem", "PATH": "/"}
        )
        assert found == {"index-url": "http://two.example", "cert": "/d.pem", "no-index": "yes"}

    def test_a_broken_file_is_passed_over(self, tmp_path: Path) -> None:
        (tmp_path / "pip.conf").write_text("index-url without a section")
        assert pip_settings.read_settings([tmp_path / "pip.conf"], {}) == {}

    def test_a_percent_sign_in_a_password_is_kept(self, tmp_path: Path) -> None:
        (tmp_path / "pip.conf").write_text("[global]\nindex-url = http://u:p%40ss@one.example\n")
        found = pip_settings.read_settings([tmp_path / "pip.conf"], {})
        assert found["index-url"] == "http://u:p%40ss@one.example"

    def test_lists_become_uv_lists(self) -> None:
        settings = {
            "extra-index-url": "\nfile:///a\nfile:///b",
            "find-links": "/one\n/two",
            "index-url": "http://i",
        }
        assert pip_settings.for_uv(settings, {}) == {
            "UV_DEFAULT_INDEX": "http://i",
            "UV_INDEX": "file:///a file:///b",
            "UV_FIND_LINKS": "/one,/two",
            "UV_INDEX_STRATEGY": "unsafe-best-match",
        }

    def test_what_was_set_for_uv_stays(self) -> None:
        settings = {"index-url": "http://pip", "cert": "/pip.pem"}
        env = {"UV_DEFAULT_INDEX": "http://own", "SSL_CERT_FILE": "/own.pem"}
        assert pip_settings.for_uv(settings, env) == {}

    def test_where_pip_looks(self, tmp_path: Path) -> None:
        files = pip_settings.settings_files({"PIP_CONFIG_FILE": "/x.conf", "XDG_CONFIG_HOME": "/h"}, tmp_path)
        assert files[-2:] == [Path("/h/pip/pip.conf"), Path("/x.conf")]
        assert tmp_path / ".pip/pip.conf" in files
        assert pip_settings.settings_files({"PIP_CONFIG_FILE": os.devnull}, tmp_path) == []


class TestPython:
    def test_the_lock_pins_uv_with_hashes_and_names_no_host(self) -> None:
        lock = LOCK.read_text()
        pin = python.locked("uv", lock)
        assert pin.startswith("uv==")
        assert pin.count("--hash=sha256:") > 1
        assert pin.count("==") == 1
        assert "://" not in lock

    def test_a_package_that_is_not_locked(self) -> None:
        with pytest.raises(SetupError, match="does not pin nothing"):
            python.locked("nothing", "uv==1\n")

    @pytest.mark.parametrize(
        ("text", "version"), [("uv 0.4.30", (0, 4, 30)), ("uv 1.0 (x)", (1, 0)), ("command not found", ())]
    )
    def test_uv_version(self, text: str, version: tuple[int, ...]) -> None:
        assert python.uv_version(text) == version


class TestLanguages:
    need = languages.Need("R", ("r-base-core", "r-cran-ranger"), "…")

    def test_only_what_is_missing_is_installed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("shutil.which", lambda _: "/usr/bin/Rscript")
        assert languages.missing_of(self.need, ["r-base-core"]) == ["r-cran-ranger"]
        assert languages.missing_of(self.need, self.need.packages) == []

    def test_a_program_from_elsewhere_is_left_alone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("shutil.which", lambda _: "/opt/R/4.5/bin/Rscript")
        assert languages.missing_of(self.need, []) == []

    @pytest.mark.skipif(not Path("/var/lib/dpkg/status").exists(), reason="needs Debian's dpkg")
    def test_dpkg_is_asked(self) -> None:
        assert apt.installed(["libc6", "no-such-package"]) == {"libc6"}

    def test_links_to_the_machines_libraries_are_mended(self, tmp_path: Path) -> None:
        unpacked, system = tmp_path / "lib/julia", tmp_path / "system"
        unpacked.mkdir(parents=True)
        system.mkdir()
        (system / "libgmp.so.10").write_text("")
        (unpacked / "libgmp.so").symlink_to("../libgmp.so.10")
        (unpacked / "sys.so").write_text("")
        (unpacked / "own.so").symlink_to("sys.so")
        julia.mend_links(unpacked, system)
        assert (unpacked / "libgmp.so").resolve() == (system / "libgmp.so.10").resolve()
        assert (unpacked / "own.so").readlink() == Path("sys.so")

    def test_a_program_that_is_no_julia_has_no_version(self) -> None:
        assert julia.version("/bin/false") == ""
        assert julia.version("/nowhere/julia") == ""

    @pytest.mark.julia
    def test_a_julia_that_works_says_its_version(self, julia: list[str]) -> None:
        from tools.setup.julia import version  # noqa: PLC0415  # the fixture has the module's name

        assert version(julia[0])[0].isdigit()


def test_a_failed_program_is_shown_with_its_last_words() -> None:
    with pytest.raises(SetupError, match=r"(?s)exit code 3.*last words"):
        run(["sh", "-c", "echo last words >&2; exit 3"])
    with pytest.raises(SetupError, match="cannot be started"):
        run(["/nowhere/program"])
