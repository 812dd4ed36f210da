"""Starts the system's PostgreSQL in a folder of its own, for the tests, and stops it again."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import uuid
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

import psycopg
from psycopg.sql import SQL, Identifier

_SETTINGS = "-c fsync=off -c full_page_writes=off -c max_connections=60 -c shared_buffers=16MB"


class Server:
    """A server on a Unix socket; it runs as an unprivileged user also where the tests run as root.

    Args:
        binaries: the folder with initdb and pg_ctl.
        port: of 127.0.0.1 to listen at as well, or none.
    """

    def __init__(self, binaries: Path, port: int | None = None) -> None:
        self._binaries = binaries
        self._port = port

    def __enter__(self) -> Self:
        # Not pytest's folder: a socket's path has at most 107 bytes, and the other user must get there.
        self._folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
        self._data = self._folder / "data"
        self._user = _unprivileged()
        if self._user:
            shutil.chown(self._folder, self._user)
        self._run(
            "initdb", "-D", str(self._data), "-U", "yard", "-A", "trust", "--no-sync", "--locale=C.UTF-8"
        )
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def kill(self) -> None:
        """End all its processes at once, as when its machine loses power."""
        self._signal(signal.SIGKILL)

    def start(self) -> None:
        """Start it on its folder, the first time or again."""
        listens = f"-c listen_addresses=127.0.0.1 -p {self._port}" if self._port else "-c listen_addresses=''"
        options = f"-k {self._folder} {listens} {_SETTINGS}"
        log = str(self._folder / "log")
        self._run("pg_ctl", "start", "-w", "-D", str(self._data), "-l", log, "-o", options)

    def stall(self) -> None:
        """Stop all its processes where they are: it neither answers nor hangs up."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """After `stall`."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        first = int((self._data / "postmaster.pid").read_text().split()[0])
        children = Path(f"/proc/{first}/task/{first}/children").read_text().split()
        for pid in (first, *map(int, children)):
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def stop(self) -> None:
        """Stop at once, connections or not; nothing happens where it is stopped."""
        if (self._data / "postmaster.pid").exists():
            self._run("pg_ctl", "stop", "-w", "-m", "immediate", "-D", str(self._data))

    def create(self, template: str = "template1") -> str:
        """A new database, and its name."""
        name = f"yard_{uuid.uuid4().hex[:12]}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(
                SQL("CREATE DATABASE {} TEMPLATE {}").format(Identifier(name), Identifier(template))
            )
        return name

    @property
    def socket(self) -> Path:
        """Its Unix socket."""
        return self._folder / f".s.PGSQL.{self._port or 5432}"

    def url(self, name: str) -> str:
        """The address of a database of this server."""
        port = f"&port={self._port}" if self._port else ""
        return f"postgresql://yard@/{name}?host={quote(str(self._folder), safe='')}{port}"

    def _run(self, program: str, *arguments: str) -> None:
        # LC_ALL, so that messages and sorting do not depend on the machine.
        environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "PGCTLTIMEOUT": "180"}
        subprocess.run(
            [str(self._binaries / program), *arguments],
            check=True,
            user=self._user,
            group=None if self._user is None else pwd.getpwnam(self._user).pw_gid,
            extra_groups=None if self._user is None else [],
            cwd=self._folder,
            env=environment,
            stdout=subprocess.DEVNULL,
        )


def _unprivileged() -> str | None:
    """The user to become; None where the tests are nobody special already."""
    if os.getuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"
