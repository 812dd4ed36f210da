"""Which yard, and who one is there."""

from __future__ import annotations

import getpass
import ipaddress
import sys
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer

from modelyard.cli import output
from modelyard.cli.sdk import open_yard
from modelyard.records.errors import InvalidError


def login(
    url: Annotated[str, typer.Argument(metavar="URL", help="Address of the yard, as http://127.0.0.1:8080.")],
    token_file: Annotated[Path | None, typer.Option(help="Read the token from this file.")] = None,
) -> None:
    """Remember a yard and your token for it.

    The token is asked for without echo, or read from standard input or --token-file; never give it as an
    argument, where others can see it. It is tried, then kept in a file that only you can read.

    Example: yard login http://127.0.0.1:8080 --token-file yard-data/admin.token
    """
    from modelyard.client.connection import find_address, remember  # noqa: PLC0415 - see modelyard/__init__.py

    address = find_address(url, _token(token_file))
    me = open_yard(address.url, address.token).whoami()
    path = remember(address)
    if not _is_private(address.url):
        output.note("Note: this address is not https, so your token can be read on the way.")
    output.note(f"You are {me.principal} ({_place(me.role, me.department)}) at {address.url}.")
    output.note(f"Remembered in {path}; `yard logout` forgets it.")


def logout() -> None:
    """Forget the yard and the token that `yard login` remembered.

    The token itself stays valid: `yard token revoke` ends it.

    Example: yard logout
    """
    from modelyard.client.connection import login_file  # noqa: PLC0415 - see modelyard/__init__.py

    path = login_file()
    if not path.exists():
        output.note("Nothing is remembered.")
        return
    path.unlink()
    output.note(f"Forgotten: {path} is removed. The token itself stays valid until it is revoked.")


def whoami(as_json: output.Json = False) -> None:
    """Say who you are for the yard, and which yard that is.

    Example: yard whoami
    """
    yard = open_yard()
    me = yard.whoami()
    facts = {
        "url": yard.connection.address.url,
        "principal": me.principal,
        "role": me.role,
        "department": me.department,
    }
    if as_json:
        output.print_json(facts)
    else:
        output.print_facts(facts.items())


def _token(file: Path | None) -> str:
    if file is not None:
        try:
            token = file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidError(
                f"The token cannot be read from {file}: {error}.", "Correct the path."
            ) from error
    elif sys.stdin.isatty():
        token = getpass.getpass("Token: ").strip()
    else:
        token = sys.stdin.readline().strip()
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise InvalidError(
            "That is no token.",
            "A token is one word, as `yard token create` prints it or admin.token holds it.",
        )
    return token


def _place(role: str, department: str | None) -> str:
    return f"{role} in {department}" if department else f"{role} of the whole yard"


def _is_private(url: str) -> bool:
    parts = urlsplit(url)
    if parts.scheme == "https" or parts.hostname in (None, "localhost"):
        return True
    try:
        return ipaddress.ip_address(parts.hostname).is_loopback
    except ValueError:
        return False
