"""haproxy and nginx before a yard, as docs/ shows them, each a process of its own on a free port."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.journeys.running import until

PROGRAMS = ("haproxy", "nginx")
_HAPROXY = """
global
    maxconn 200
defaults
    mode http
    timeout connect 5s
    timeout client 30s
    timeout server 30s
frontend door
    bind 127.0.0.1:{port}
    default_backend yard
backend yard
    option httpchk GET /health/ready
    server one 127.0.0.1:{yard} check inter 200ms
"""
_NGINX = """
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 200; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    upstream yard {{ server 127.0.0.1:{yard}; keepalive 16; }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://yard;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $http_host;
        }}
    }}
}}
"""


def find_proxy(program: str) -> str | None:
    """The program's path; Debian has it where only root looks."""
    return shutil.which(program, path=os.environ.get("PATH", "") + os.pathsep + "/usr/sbin")


@contextmanager
def before(program: str, yard: int, folder: Path) -> Iterator[int]:
    """Start a proxy before the yard on this port; the proxy's port."""
    path = find_proxy(program)
    assert path
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    text = (_HAPROXY if program == "haproxy" else _NGINX).format(port=port, yard=yard, folder=folder)
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
        process.wait(20)


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True
