"""haproxy and nginx before a yard, as docs/ shows them, each a process of its own on a free port."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.conftest import ROOT, find_free_port
from tests.journeys.running import PATIENCE, until

PROGRAMS = ("haproxy", "nginx")
EXAMPLES = {"haproxy": "haproxy.cfg", "nginx": "nginx.conf"}
# nginx alone would write its own files where only root may.
_OWN_FILES = """
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
"""
_OWN_FOLDERS = "access_log off;" + "".join(
    f"{kind}_temp_path {{folder}}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
)


def configuration(program: str, port: int, nodes: tuple[int, ...], folder: Path) -> str:
    """The example in docs/, with these ports in place of its own."""
    lines = []
    servers = iter(nodes)
    for line in (ROOT / "docs/examples" / EXAMPLES[program]).read_text().splitlines():
        if re.match(r" *server (node\d+ )?127", line):
            if node := next(servers, None):
                lines.append(re.sub(r"127.0.0.1:\d+", f"127.0.0.1:{node}", line))
        else:
            lines.append(line.replace("127.0.0.1:8000", f"127.0.0.1:{port}"))
    text = "\n".join(lines) + "\n"
    if program == "nginx":
        text = text.replace("http {", "http { " + _OWN_FOLDERS.format(folder=folder), 1)
        text = _OWN_FILES.format(folder=folder) + text
    return text


def find_proxy(program: str) -> str | None:
    """The program's path; Debian has it where only root looks."""
    return shutil.which(program, path=os.environ.get("PATH", "") + os.pathsep + "/usr/sbin")


@contextmanager
def before(program: str, yard: int, folder: Path, *others: int) -> Iterator[int]:
    """Start a proxy before the yard on this port, and others (haproxy only); the proxy's port."""
    path = find_proxy(program)
    assert path
    port = find_free_port()
    text = configuration(program, port, (yard, *others), folder)
    written = folder / f"{program}.conf"
    written.write_text(text)
    command = {"haproxy": [path, "-db", "-f"], "nginx": [path, "-c"]}[program]
    with (folder / f"{program}.log").open("wb") as log:
        process = subprocess.Popen([*command, str(written)], stdout=log, stderr=log)
    try:
        until(lambda: process.poll() is None and _listens(port))
        yield port
    finally:
        process.terminate()
        process.wait(PATIENCE)


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True
