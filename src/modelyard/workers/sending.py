"""Messages that leave the house: webhooks and mail, within seconds, to addresses that were looked at.

A web request goes to the very address that `outbound.check` let pass, with the name in `Host` and for the
certificate; redirects are not followed, of the answer nothing is kept but its status, and the whole may take
some seconds however slowly it comes.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import smtplib
import ssl
from collections.abc import Sequence
from email.message import EmailMessage
from email.utils import make_msgid
from urllib.parse import unquote, urlsplit

import httpx

from modelyard.records.errors import InvalidError, UnavailableError
from modelyard.workers import outbound

SECONDS = 10.0  # a message may take
_PORTS = (443, 8443)  # of public addresses; others where the operator allows the network
_LONGEST = 2_000  # characters of an address
_MAX_MAIL = 254


def signature(secret: bytes, identity: str, moment: int, body: bytes) -> str:
    """The header `webhook-signature` of Standard Webhooks: HMAC-SHA256 over id, time and body.

    >>> signature(b"key", "msg_1", 1, b"{}")[:5]
    'v1,jK'
    """
    signed = f"{identity}.{moment}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode()


def check_web(address: str) -> tuple[str, str, int, str]:
    """Scheme, host, port and the rest of a web address.

    Raises:
        InvalidError: it is none that is sent to; the message does not repeat it, for it may hold a secret.
    """
    try:
        parts = urlsplit(address)
        host = parts.hostname or ""
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        raise _no_address() from None
    is_plain = address.isascii() and address.isprintable() and " " not in address and "\\" not in address
    if parts.scheme not in ("https", "http") or not host or parts.username or not is_plain or parts.fragment:
        raise _no_address()
    if len(address) > _LONGEST:
        raise _no_address()
    path = parts.path or "/"
    return parts.scheme, host, port, f"{path}?{parts.query}" if parts.query else path


def post(
    address: str, body: bytes, headers: dict[str, str], allowed: Sequence[outbound.Network] = ()
) -> None:
    """POST to a web address of others.

    Raises:
        InvalidError: the address is inward, or not encrypted.
        UnavailableError: it did not take it; the words are the same whatever is there.
    """
    scheme, host, port, path = check_web(address)
    to = outbound.check(host, port, allowed)
    if not outbound.is_named(to, allowed) and (scheme != "https" or port not in _PORTS):
        words = "Alerts leave the house encrypted alone: https on port 443 or 8443."
        raise InvalidError(words, "Give such an address.", field="target")
    asyncio.run(_post(scheme, host, port, path, to, body, headers))


async def _post(
    scheme: str, host: str, port: int, path: str, to: str, body: bytes, headers: dict[str, str]
) -> None:
    place = f"[{to}]" if ":" in to else to
    named = f"[{host}]" if ":" in host else host
    told = {"Host": named if port in (80, 443) else f"{named}:{port}", "User-Agent": "Modelyard", **headers}
    client = httpx.AsyncClient(trust_env=False, follow_redirects=False, timeout=SECONDS)
    try:
        async with asyncio.timeout(SECONDS), client:
            request = client.build_request(
                "POST",
                f"{scheme}://{place}:{port}{path}",
                content=body,
                headers=told,
                extensions={"sni_hostname": host},
            )
            answer = await client.send(request, stream=True)  # the body is not read
            await answer.aclose()
    except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, OSError) as error:
        raise _not_taken(type(error).__name__) from error
    if not answer.is_success:
        raise _not_taken(f"status {answer.status_code}")


def check_mail(address: str) -> str:
    """The address itself if mail can be sent there.

    Raises:
        InvalidError: it is none.
    """
    name, at, domain = address.rpartition("@")
    plain = address.isascii() and address.isprintable() and not set(address) & set(' ,;:<>()[]"\\')
    if not (name and at and "." in domain.strip(".")) or not plain or len(address) > _MAX_MAIL:
        raise InvalidError("This is no mail address.", "Write it as anna@example.org.", field="target")
    return address


def mail(server: str, to: str, subject: str, text: str) -> None:
    """Send a mail through the operator's server.

    Args:
        server: `smtp://user:password@host:587?from=yard@example.org`, or `smtps://…:465`.

    Raises:
        InvalidError: no server is set, or its address is none.
        UnavailableError: it did not take the mail.
    """
    parts = urlsplit(server)
    sender = dict(pair.partition("=")[::2] for pair in parts.query.split("&")).get("from", "")
    if parts.scheme not in ("smtp", "smtps") or not parts.hostname or not sender:
        words = "No mail server is set, so no mail can be sent."
        raise InvalidError(words, "The operator sets YARD_SMTP=smtp://USER:PASSWORD@HOST:587?from=ADDRESS.")
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = unquote(sender), to, subject
    message["Message-ID"] = make_msgid(domain="modelyard.invalid")
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(text)
    try:
        with _connected(parts.scheme, parts.hostname, parts.port) as connection:
            if parts.username:
                connection.login(unquote(parts.username), unquote(parts.password or ""))
            connection.send_message(message)
    except (OSError, smtplib.SMTPException) as error:
        raise _not_taken(type(error).__name__) from error


def _connected(scheme: str, host: str, port: int | None) -> smtplib.SMTP:
    context = ssl.create_default_context()
    if scheme == "smtps":
        return smtplib.SMTP_SSL(host, port or 465, timeout=SECONDS, context=context)
    connection = smtplib.SMTP(host, port or 587, timeout=SECONDS)
    connection.ehlo()
    if connection.has_extn("starttls"):
        connection.starttls(context=context)
    return connection


def _not_taken(why: str) -> UnavailableError:
    return UnavailableError(f"The message was not taken ({why}).", "It is tried again by itself.")


def _no_address() -> InvalidError:
    hint = "Write https://host/path, without a user and password in it."
    return InvalidError("This is no web address that alerts are sent to.", hint, field="target")
