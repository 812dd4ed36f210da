"""The certificates of servers that are talked to, looked at before they end."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from modelyard.records.diagnosis import Finding

_SOON = timedelta(days=21)
_CONNECT_SECONDS = 5.0


def certificates(addresses: Iterable[str], *, must_answer: bool = True) -> Iterator[Finding]:
    """The certificates of servers that are reached by https://: that they are trusted, and for how long.

    Args:
        must_answer: False passes over a server that does not: it may be one that others reach alone.
    """
    hosts = {
        (parts.hostname, parts.port or 443)
        for address in addresses
        if (parts := urlsplit(address)).scheme == "https" and parts.hostname
    }
    for host, port in sorted(hosts):
        if (found := _certificate(host, port, must_answer=must_answer)) is not None:
            yield found


def _certificate(host: str, port: int, *, must_answer: bool) -> Finding | None:
    what = f"certificate of {host}:{port}"
    command = f"openssl s_client -connect {host}:{port} -servername {host} </dev/null"
    try:
        ends = _ends(host, port)
    except ssl.SSLCertVerificationError as error:
        hint = "Renew it, or have this machine trust who signed it (SSL_CERT_FILE)."
        return Finding("problem", what, f"not trusted: {error.verify_message}", hint, "certificate", command)
    except OSError as error:
        if not must_answer:
            return None
        hint = "See that the server runs and can be reached from here."
        return Finding("problem", what, f"cannot be looked at: {error}", hint, "certificate", command)
    left = ends - datetime.now(UTC)
    if left < _SOON:
        hint = "Renew it; after that day nobody can connect."
        words = f"ends on {ends:%d %B %Y}, in {left.days} days"
        return Finding("problem", what, words, hint, "certificate", command)
    return Finding("ok", what, f"trusted, ends on {ends:%d %B %Y}")


def _ends(host: str, port: int) -> datetime:
    context = ssl.create_default_context()
    with (
        socket.create_connection((host, port), _CONNECT_SECONDS) as plain,
        context.wrap_socket(plain, server_hostname=host) as secure,
    ):
        told: Any = (secure.getpeercert() or {})["notAfter"]
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(told), UTC)
