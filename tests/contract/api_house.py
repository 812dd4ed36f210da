"""A real yard behind its door for the API's tests: real database, blobs, tokens; only the engine is away."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, MutableMapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self
from urllib.parse import unquote

import httpx
import msgspec
from anyio.from_thread import BlockingPortal
from litestar import Router

from modelyard.api.application import create_api
from modelyard.api.services import Services
from modelyard.catalog.alerts import Alerts
from modelyard.catalog.audit import Audit
from modelyard.catalog.backups import Backups
from modelyard.catalog.checkup import Checkups
from modelyard.catalog.history import History
from modelyard.catalog.hosts import Approvals
from modelyard.catalog.jobs import Jobs
from modelyard.catalog.ledger import Ledgers
from modelyard.catalog.nodes import Nodes
from modelyard.catalog.people import People
from modelyard.catalog.registry import Registry
from modelyard.catalog.sharing import Sharing
from modelyard.catalog.signing import Signing
from modelyard.catalog.sources import Sources
from modelyard.catalog.watch import Watching
from modelyard.records.errors import UnavailableError
from modelyard.records.models import Version
from modelyard.records.people import YARD_ROLES, Role
from modelyard.settings import Settings, shown_settings
from modelyard.store.blobs import Blobs
from modelyard.store.secrets import Keyring, Secrets
from modelyard.workers import outbound
from modelyard.workers.clerk import Clerk
from modelyard.workers.control import WorkerInfo
from tests.bundles import SIGNATURE, TAR, bundle_tar

HERE, ELSEWHERE = "finance", "operations"
MODEL = "finance/fuel-cost"
WORKER = WorkerInfo("finance.fuel-cost.1", 0, "r", 7, "socket", "ready", 0.0)


class Answer(msgspec.Struct, frozen=True):
    """An answer to a request made byte by byte."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return msgspec.json.decode(self.body)


class House:
    """A yard with two departments, a model in the first, and a token for every role.

    Attributes:
        secrets: (role, department) to a token's secret.
        engine_away: whether telling the engine fails.
        checked, warmed: what the engine was told.
    """

    def __init__(
        self,
        portal: BlockingPortal,
        registry: Registry,
        people: People,
        folder: Path,
        pages: Callable[[], Router] | None = None,
    ) -> None:
        self.portal, self.registry, self.people = portal, registry, people
        self.engine_away = False
        self.checked: list[str] = []
        self.warmed: list[str] = []
        self.secrets: dict[tuple[Role, str | None], str] = {}
        for department in (HERE, ELSEWHERE):
            self.publish(f"{department}/fuel-cost")
        for role in Role:
            for place in (None,) if role in YARD_ROLES else (HERE, ELSEWHERE):
                self.secrets[role, place] = self.token(role, place)
        self.services = Services(
            registry=registry,
            jobs=Jobs(registry._database, Blobs(str(folder / "blobs")), folder / "scratch"),
            approvals=Approvals(registry._database),
            people=people,
            signing=Signing(people._database),
            sharing=Sharing(people._database),
            backups=Backups(registry._database),
            nodes=Nodes(registry._database, "here", folder / "pulse"),
            checkups=Checkups(registry._database, folder, folder / "spool", lambda: datetime.now(UTC)),
            datasets=registry.datasets,
            sources=sources_of(registry, folder),
            alerts=Alerts(registry._database, Secrets(Keyring(folder / "keys")), ()),
            audit=Audit(people._database, folder / "audit.checkpoint"),
            blobs=Blobs(str(folder / "blobs")),
            table=lambda: self.table,
            refresh=self._refresh,
            check=self._check,
            warm=self._warm,
            workers=self._workers,
            not_ready=lambda: "",
            watching=Watching(registry._database),
            ledgers=Ledgers(registry._database),
            history=History(registry._database, Blobs(str(folder / "blobs")), folder / "spool"),
            scratch=folder,
            max_bundle=4 * 1024 * 1024,
            max_dataset=4 * 1024 * 1024,
            version="1.2.3",
            settings=shown_settings(Settings(data=folder, database="postgresql://yard:hunter2@db/yard")),
        )
        self.table = registry.route_table()
        self.app = create_api(self.services, *([pages()] if pages else []))
        self._client = httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url="http://yard")

    def token(self, role: Role, department: str | None, lifetime: timedelta | None = None) -> str:
        """A new token's secret; not served before the next `swap`."""
        name = f"{role}-{department}"
        return self.people.create_token(name, name, role, department, lifetime, by="test").secret

    def swap(self) -> None:
        """What the engine does after a change."""
        self.table = self.registry.route_table()

    def publish(self, model: str, content: bytes = b"one", *, check: bool = True) -> Version:
        """A version in the registry, past its check."""
        version, _ = self.registry.publish(
            model, [bundle_tar(content)], TAR, by="test", may_create_department=True
        )
        if check and version.state == "unchecked":
            self.registry.checks.start(model, version.version)
            return self.registry.checks.passed(model, version.version, SIGNATURE)
        return version

    async def _refresh(self) -> None:
        self._need_engine()
        self.swap()

    async def _check(self, version: Version) -> None:
        self._need_engine()
        self.checked.append(version.id)

    async def _warm(self, version: Version) -> None:
        self._need_engine()
        self.warmed.append(version.id)

    async def _workers(self) -> list[WorkerInfo]:
        return [WORKER]

    def _need_engine(self) -> None:
        if self.engine_away:
            raise UnavailableError("The engine does not answer.")

    def ask(
        self,
        method: str,
        path: str,
        who: Role | str | None = None,
        department: str | None = HERE,
        **request: Any,
    ) -> httpx.Response:
        """A request with a role's token (or with this secret)."""
        headers = {**self.signed(who, department), **request.pop("headers", {})}
        return self.portal.call(
            lambda: self._client.request(method, path, headers=headers, timeout=180, **request)
        )

    def signed(self, who: Role | str | None, department: str | None = HERE) -> dict[str, str]:
        """The header for a role or a secret."""
        if who is None:
            return {}
        if isinstance(who, Role):
            who = self.secrets[who, None if who in YARD_ROLES else department]
        return {"Authorization": f"Bearer {who}"}

    def raw(
        self,
        method: str,
        address: str,
        who: Role | None = None,
        headers: Iterable[tuple[bytes, bytes]] = (),
        messages: Iterable[dict[str, Any]] = (),
    ) -> Answer:
        """A request as a server hands it over, its address not tidied by any client."""
        path, _, query = address.partition("?")
        signed = [(k.lower().encode(), v.encode()) for k, v in self.signed(who).items()]
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": unquote(path),
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [*signed, *headers],
            "client": ("127.0.0.1", 1),
            "server": ("yard", 80),
        }
        coming = iter(messages)
        went: list[MutableMapping[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return next(coming, {"type": "http.disconnect"})

        async def send(message: MutableMapping[str, Any]) -> None:
            went.append(message)

        async def go() -> None:
            await self.app(scope, receive, send)

        self.portal.call(go)
        start = went[0]
        named = {k.decode(): v.decode() for k, v in start.get("headers", ())}
        body = b"".join(m.get("body", b"") for m in went if m["type"] == "http.response.body")
        return Answer(start.get("status", 0), named, body)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.portal.call(self._client.aclose)


def sources_of(registry: Registry, folder: Path) -> Sources:
    """Databases that datasets come from; the machine's own addresses are allowed."""
    secrets, allowed = Secrets(Keyring(folder / "keys")), outbound.networks("127.0.0.0/8")
    return Sources(registry._database, registry.datasets, secrets, Clerk(folder), allowed)


async def stream(*pieces: bytes) -> AsyncIterator[bytes]:
    """A body in pieces."""
    for piece in pieces:
        yield piece
