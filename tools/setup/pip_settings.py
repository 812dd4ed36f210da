"""Carries pip's settings over to uv, which does not read them.

A company's mirror, its certificates or a folder of wheels usually stand in pip's files or variables. They are
given to uv as environment variables of that one process and are never written down.
"""

from __future__ import annotations

import configparser
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

_FOR_UV = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "no-index": "UV_NO_INDEX",
    "trusted-host": "UV_INSECURE_HOST",
    "cert": "SSL_CERT_FILE",
    "proxy": "ALL_PROXY",
    "timeout": "UV_HTTP_TIMEOUT",
    "default-timeout": "UV_HTTP_TIMEOUT",
}
_LISTS_WITH_COMMAS = ("UV_FIND_LINKS",)


def settings_files(env: Mapping[str, str], home: Path) -> list[Path]:
    """Where pip looks for its settings, the last one having the last word."""
    if env.get("PIP_CONFIG_FILE") == os.devnull:
        return []
    shared = [Path(folder) / "pip/pip.conf" for folder in env.get("XDG_CONFIG_DIRS", "/etc/xdg").split(":")]
    own = Path(env.get("XDG_CONFIG_HOME") or home / ".config")
    files = [*shared, Path("/etc/pip.conf"), home / ".pip/pip.conf", own / "pip/pip.conf"]
    chosen = env.get("PIP_CONFIG_FILE")
    return [*files, Path(chosen)] if chosen else files


def read_settings(files: Iterable[Path], env: Mapping[str, str]) -> dict[str, str]:
    """Settings of pip by their long names: files first, variables (`PIP_INDEX_URL`) over them."""
    found: dict[str, str] = {}
    for file in files:
        parser = configparser.RawConfigParser()
        try:
            parser.read_string(file.read_text())
        except (OSError, UnicodeDecodeError, configparser.Error):
            continue  # pip itself will say what is wrong with its file
        for section in ("global", "install"):
            if parser.has_section(section):
                found.update({key.replace("_", "-"): value for key, value in parser.items(section)})
    for key, value in env.items():
        if key.startswith("PIP_") and value:
            found[key.removeprefix("PIP_").replace("_", "-").lower()] = value
    return found


def for_uv(settings: Mapping[str, str], env: Mapping[str, str]) -> dict[str, str]:
    r"""The variables that tell uv the same; what the person set for uv themselves stays.

    >>> for_uv({"extra-index-url": "https://a.example/simple\nhttps://b.example/simple"}, {})["UV_INDEX"]
    'https://a.example/simple https://b.example/simple'
    """
    given: dict[str, str] = {}
    for key, variable in _FOR_UV.items():
        words = settings.get(key, "").split()
        if words and variable not in env:
            given[variable] = ("," if variable in _LISTS_WITH_COMMAS else " ").join(words)
    if "UV_INDEX" in given and "UV_INDEX_STRATEGY" not in env:
        # pip takes the best version of all indexes; uv would stop at the first that knows the name.
        given["UV_INDEX_STRATEGY"] = "unsafe-best-match"
    return given


def uv_environment() -> dict[str, str]:
    """The variables for uv on this machine."""
    return for_uv(read_settings(settings_files(os.environ, Path.home()), os.environ), os.environ)
