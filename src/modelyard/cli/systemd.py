"""`yard systemd`: the unit that keeps a yard running on a machine."""

from __future__ import annotations

import getpass
import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer

from modelyard.cli.server import Data
from modelyard.records.errors import InvalidError

# What is not here is left out on purpose: bubblewrap needs user namespaces and a /proc of its own, so no
# RestrictNamespaces, ProtectProc, ProcSubset, ProtectKernelTunables or ProtectKernelLogs.
_UNIT = """\
# Written by `yard systemd`. Settings: /etc/modelyard.env, a line each, as YARD_BACKUP=/mnt/backups.
[Unit]
Description=Modelyard
Documentation=man:systemd.service(5)
Wants=network-online.target
After=network-online.target postgresql.service

[Service]
Type=notify
NotifyAccess=main
User={user}
EnvironmentFile=-/etc/modelyard.env
ExecStart={program} up --data {data}
# SIGTERM goes to the supervisor alone, which lets balancers go (YARD_DRAIN), then ends fronts and engine.
KillMode=mixed
TimeoutStartSec=120
TimeoutStopSec=60
Restart=on-failure
RestartSec=2
# A model that runs out of memory is replaced by the yard; its end is not the yard's.
OOMPolicy=continue
Delegate=yes
LimitNOFILE=65536
UMask=0077
NoNewPrivileges=yes
ProtectSystem=strict
ReadWritePaths={writable}
PrivateTmp=yes
ProtectHome={home}
ProtectClock=yes
ProtectHostname=yes
RestrictSUIDSGID=yes
RestrictRealtime=yes
LockPersonality=yes
CapabilityBoundingSet=

[Install]
WantedBy=multi-user.target
"""


def systemd(
    data: Data = None,
    user: Annotated[str | None, typer.Option(help="Who runs it; by default you.")] = None,
    also: Annotated[
        list[Path] | None,
        typer.Option("--write", help="A further folder that it writes to, such as that of the backups."),
    ] = None,
) -> None:
    """Print a systemd unit that runs this yard, for /etc/systemd/system/modelyard.service.

    Example: yard systemd --data /srv/yard --user yard --write /mnt/backups
    """
    folder = (data or Path("yard-data")).resolve()
    sys.stdout.write(
        unit(folder, user or getpass.getuser(), _program(), tuple(p.resolve() for p in also or ()))
    )


def unit(data: Path, user: str, program: Path, also: tuple[Path, ...] = ()) -> str:
    """The unit's text.

    Raises:
        InvalidError: a path has signs that mean something else in a unit.
    """
    for path in (data, program, *also):
        if any(sign in str(path) for sign in " %$'\"\\\n"):
            raise InvalidError(
                f"The path {path} has a space or a sign that systemd reads otherwise.",
                "Choose a folder without spaces, quotes, $ and %.",
            )
    home = "read-only" if any(map(_is_at_home, (data, program, *also))) else "yes"
    writable = " ".join(map(str, (data, *also)))
    return _UNIT.format(user=user, program=program, data=data, writable=writable, home=home)


def _is_at_home(path: Path) -> bool:
    return path.is_relative_to("/home") or path.is_relative_to("/root")


def _program() -> Path:
    beside = Path(sys.executable).parent / "yard"
    found = str(beside) if beside.exists() else shutil.which("yard")
    if not found:
        raise InvalidError(
            "The program `yard` is not there.", "Install Modelyard: pip install 'modelyard[server]'."
        )
    return Path(found)
