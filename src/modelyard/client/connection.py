"""Where the yard is, and one HTTP connection to it: its answers decoded, its problems raised as errors."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, TypeVar

import httpx
import msgspec
from msgspec import Struct

from modelyard.records import errors
from modelyard.records.errors import InvalidError, UnauthenticatedError, UnavailableError, YardError

T = TypeVar("T")
_TRIES = 3
_PAUSE = 0.2  # seconds before a second try, doubled before a third
_TIMEOUT = httpx.Timeout(120.0, connect=10.0, write=600.0)
_CODES: dict[str, type[YardError]] = {
    kind.code: kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, YardError) and kind is not YardError
}
_STATUSES: dict[int, type[YardError]] = {
    400: errors.MalformedError,
    401: errors.UnauthenticatedError,
    403: errors.ForbiddenError,
    404: errors.NotFoundError,
    409: errors.ConflictError,
    413: errors.TooLargeError,
    422: errors.InvalidError,
    429: errors.BusyError,
    503: errors.UnavailableError,
    504: errors.DeadlineError,
}


class Address(Struct, frozen=True):
    """Where a yard is and the token it knows us by."""

    url: str
    token: str


def login_file() -> Path:
    """Where `yard login` remembers a yard: `$XDG_CONFIG_HOME/modelyard/login`, or under `~/.config`."""
    home = os.environ.get("XDG_CONFIG_HOME")
    return (Path(home) if home else Path.home() / ".config") / "modelyard" / "login"


def remember(address: Address) -> Path:
    """Write the login file, readable by its owner alone; the file's path."""
    path = login_file()
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    new = path.with_suffix(".new")
    new.unlink(missing_ok=True)
    handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(f"url = {address.url}\ntoken = {address.token}\n")
    new.replace(path)
    return path


def find_address(url: str | None = None, token: str | None = None) -> Address:
    """The yard to talk to: what is given, else `YARD_URL` and `YARD_TOKEN`, else what `yard login` kept.

    A remembered token is sent to the address it was remembered with, and to no other.

    Raises:
        InvalidError: no address is known, or it is none.
        UnauthenticatedError: no token is known.
    """
    remembered = _remembered()
    url = url or os.environ.get("YARD_URL") or remembered.get("url")
    if not url:
        raise InvalidError(
            "No yard is known here.", "Run `yard login URL`, or set YARD_URL and YARD_TOKEN.", field="url"
        )
    url = url.rstrip("/")
    if not url.startswith(("http://", "https://")):
        raise InvalidError(
            f"{url!r} is not the address of a yard.", "Write it as http://host:8080.", field="url"
        )
    token = token or os.environ.get("YARD_TOKEN")
    if not token and remembered.get("url", "").rstrip("/") == url:
        token = remembered.get("token")
    if not token:
        raise UnauthenticatedError(
            f"No token is known for {url}.", f"Run `yard login {url}`, or set YARD_TOKEN."
        )
    return Address(url, token)


def _remembered() -> dict[str, str]:
    try:
        lines = login_file().read_text(encoding="utf-8").splitlines()
    except (OSError, RuntimeError):  # RuntimeError: there is no home folder
        return {}
    pairs = (line.partition("=") for line in lines)
    return {key.strip(): value.strip() for key, equals, value in pairs if equals}


class Connection:
    """Requests to one yard.

    Args:
        address: where it is, and the token.
    """

    def __init__(self, address: Address) -> None:
        self.address = address
        headers = {"Authorization": f"Bearer {address.token}", "User-Agent": "modelyard-python"}
        self._http = httpx.Client(base_url=address.url, headers=headers, timeout=_TIMEOUT)

    def close(self) -> None:
        """Close the sockets."""
        self._http.close()

    def get(self, path: str, type: type[T], **parameters: str | int | list[str]) -> T:  # noqa: A002  # as msgspec calls it
        """What stands at a path, decoded. A GET whose connection broke is asked again.

        Raises:
            YardError: the yard answers a problem, or does not answer.
        """
        return _decoded(self._answer("GET", path, params=parameters), type)

    def send(
        self,
        method: str,
        path: str,
        type: type[T],  # noqa: A002  # as msgspec calls it
        body: object = None,
        **parameters: str | int,
    ) -> T:
        """Send JSON (a Struct, dict or list) and decode the answer.

        Raises:
            YardError: the yard answers a problem, or does not answer.
        """
        content = None if body is None else body if isinstance(body, bytes) else msgspec.json.encode(body)
        headers = {"Content-Type": "application/json"} if content is not None else {}
        return _decoded(self._answer(method, path, params=parameters, content=content, headers=headers), type)

    def upload(
        self,
        path: str,
        type: type[T],  # noqa: A002  # as msgspec calls it
        file: Path,
        content_type: str,
        **parameters: str | list[str],
    ) -> T:
        """POST a file's bytes and decode the answer.

        Raises:
            YardError: the yard answers a problem, or does not answer.
        """
        headers = {"Content-Type": content_type, "Content-Length": str(file.stat().st_size)}
        with file.open("rb") as content:
            return _decoded(
                self._answer("POST", path, params=parameters, content=content, headers=headers), type
            )

    def post(self, path: str, content: bytes, content_type: str, accept: str = "application/json") -> bytes:
        """POST bytes of any kind; the answer's bytes.

        Raises:
            YardError: the yard answers a problem, or does not answer.
        """
        return self.ask(path, content, content_type, accept)[0]

    def ask(
        self, path: str, content: bytes, content_type: str, accept: str = "application/json"
    ) -> tuple[bytes, Mapping[str, str]]:
        """As `post`, with the answer's headers (their names in lower case)."""
        headers = {"Content-Type": content_type, "Accept": accept}
        answer = self._answer("POST", path, content=content, headers=headers)
        return answer.content, dict(answer.headers)

    def download(self, path: str, file: IO[bytes], **parameters: str) -> int:
        """Write what stands at a path into a file, in pieces; how many bytes it has.

        Raises:
            YardError: the yard answers a problem, does not answer, or ends the answer before it is whole.
        """
        size = 0
        try:
            with self._http.stream("GET", path, params=parameters) as answer:
                if not answer.is_success:
                    raise problem(answer.status_code, answer.read(), answer.headers)
                for piece in answer.iter_bytes():
                    size += file.write(piece)
        except httpx.TransportError as error:
            raise _unreachable(self.address.url, error) from error
        return size

    def _answer(self, method: str, path: str, **request: Any) -> httpx.Response:
        for attempt in range(_TRIES):
            try:
                answer = self._http.request(method, path, **request)
            except httpx.InvalidURL as error:
                raise InvalidError(f"{self.address.url!r} is not the address of a yard: {error}.") from error
            except httpx.TransportError as error:
                # Nothing has been sent where the connection was refused, so anything may be tried again.
                again = isinstance(error, httpx.ConnectError) or method == "GET"
                if isinstance(error, httpx.TimeoutException) or not again or attempt == _TRIES - 1:
                    raise _unreachable(self.address.url, error) from None  # it has the reason in its words
                time.sleep(_PAUSE * 2**attempt)
            else:
                if answer.is_success:
                    return answer
                raise problem(answer.status_code, answer.content, answer.headers)
        raise AssertionError("unreachable")  # pragma: no cover


def _unreachable(url: str, error: httpx.TransportError) -> UnavailableError:
    if isinstance(error, httpx.ConnectError):
        return UnavailableError(
            f"No yard answers at {url}: {error}.", "Start one with `yard up`, or correct YARD_URL."
        )
    what = "did not answer in time" if isinstance(error, httpx.TimeoutException) else "ended the connection"
    return UnavailableError(
        f"The yard at {url} {what} ({type(error).__name__}: {error}).",
        "Try again; `yard doctor` may say more.",
    )


def _decoded(answer: httpx.Response, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(answer.content or b"null", type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise errors.MalformedError(
            f"What answers at {answer.url.copy_with(query=None)} does not speak as a yard does: {error}.",
            "Correct YARD_URL, or use an SDK of the yard's version.",
        ) from error


def problem(status: int, content: bytes, headers: Mapping[str, str]) -> YardError:
    """A problem+json answer as the error of the house it stands for.

    >>> problem(404, b'{"detail": "There is no model a/b.", "hint": "See yard models."}', {})
    NotFoundError('There is no model a/b.')
    """
    try:
        said = msgspec.json.decode(content, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError):
        said = {}
    code = str(said.get("type", "")).replace("#", "/").replace(":", "/").rpartition("/")[2]
    kind = _CODES.get(code) or _STATUSES.get(status) or YardError
    message = str(said.get("detail") or said.get("title") or f"The yard answered with status {status}.")
    known = {"type", "title", "status", "detail", "hint", "instance", "message", "log", "retry_after"}
    fields = {key: value for key, value in said.items() if key not in known}
    error = kind(message, str(said.get("hint") or ""), **fields)
    if isinstance(error, errors.BusyError):
        error.retry_after = _seconds(headers.get("retry-after"), error.retry_after)
    if isinstance(error, errors.WorkerStartError):
        error.log = str(said.get("log") or "")
    return error


def _seconds(text: str | None, otherwise: float) -> float:
    try:
        return max(0.0, float(text)) if text else otherwise
    except ValueError:
        return otherwise
