"""Databases that datasets come from: stored connections, and snapshots of what they answer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from sqlalchemy import Connection

from modelyard.catalog import clock
from modelyard.catalog.datasets import Datasets
from modelyard.catalog.people import need_department
from modelyard.records.datasets import DataConnection, DatasetVersion, Origin, Source, check_dataset
from modelyard.records.errors import InvalidError, NotFoundError
from modelyard.records.references import check_name, shown
from modelyard.store import audit
from modelyard.store import datasets as store
from modelyard.store.database import Database
from modelyard.store.secrets import Secrets
from modelyard.workers import outbound
from modelyard.workers.clerk import Clerk
from modelyard.workers.tables.tasks import Made, Query

MAX_QUERY = 100_000  # characters
SECONDS = 300  # one statement may take
_PORT = 5432
_SCHEMES = ("postgresql", "postgres")
_OPTIONS = ("sslmode",)  # what an address may say beside where and who
_SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")


class Sources:
    """Connections by department and name; snapshots of them.

    Args:
        secrets: seals addresses, which hold passwords.
        allowed: networks beside the public ones that may be connected to.

    Methods raise NotFoundError for an unknown dataset, department or connection, InvalidError for no name.
    """

    def __init__(
        self,
        database: Database,
        datasets: Datasets,
        secrets: Secrets,
        clerk: Clerk,
        allowed: Sequence[outbound.Network] = (),
    ) -> None:
        self._database = database
        self._datasets = datasets
        self._secrets = secrets
        self._clerk = clerk
        self._allowed = tuple(allowed)

    def connections(self, department: str) -> list[DataConnection]:
        """The connections of a department, by name, without passwords."""
        with self._database.read() as connection:
            return store.connections(connection, department)

    def connect(self, department: str, name: str, address: str, *, by: str) -> DataConnection:
        """Keep a connection, in place of the one with its name. Nothing is connected to yet.

        Args:
            address: `postgresql://user:password@host:5432/database`, perhaps with `?sslmode=require`.

        Raises:
            InvalidError: it is no such address.
        """
        check_name(department, "department")
        record = DataConnection(
            department, check_name(name, "name of a connection"), _plain(address), clock.now(), by
        )
        sealed = self._secrets.seal(address.encode(), _context(department, name))
        with self._database.write() as connection:
            need_department(connection, department)
            before, place = _address(connection, department, name), f"{department}/{name}"
            store.put_connection(connection, record, sealed)
            told = {"before": before, "after": record.address}
            audit.append(connection, by=by, action="connection.put", subject=place, **told)
        return record

    def disconnect(self, department: str, name: str, *, by: str) -> None:
        """Forget a connection; what came from it stays."""
        with self._database.write() as connection:
            before, place = _address(connection, department, name), f"{department}/{name}"
            if not store.drop_connection(connection, department, name):
                raise _unknown(department, name)
            audit.append(connection, by=by, action="connection.drop", subject=place, before=before)

    def snapshot(
        self, dataset: str, name: str | None = None, query: str | None = None, *, by: str, why: str = ""
    ) -> tuple[DatasetVersion, bool]:
        """Ask a connection of the dataset's department and keep the rows as a version, as `Datasets.push`.

        Args:
            name: the connection's; None, with the query, for what was asked last.

        Raises:
            InvalidError: nothing was asked before, or the database refuses the query.
            UnavailableError: it does not answer.
        """
        source = self._source(check_dataset(dataset), name, query)
        department = dataset.split("/", maxsplit=1)[0]
        with self._database.read() as connection:
            sealed = store.sealed(connection, department, source.connection)
        if sealed is None:
            raise _unknown(department, source.connection)
        address = self._secrets.open(sealed, _context(department, source.connection)).decode()
        parameters = _parameters(address)
        parameters["hostaddr"] = outbound.check(parameters["host"], int(parameters["port"]), self._allowed)

        def make(folder: Path) -> Made:
            task = Query(parameters, source.query, str(folder / "made"), SECONDS)
            return self._clerk.do(task, folder, Made)

        origin = Origin("sql", source.connection, source.query)
        return self._datasets.keep(dataset, make, origin, by=by, why=why)

    def _source(self, dataset: str, name: str | None, query: str | None) -> Source:
        if name is not None and query is not None:
            if not query.strip() or len(query) > MAX_QUERY or "\0" in query:
                words = f"The query is empty, over {MAX_QUERY} characters, or has a NUL."
                raise InvalidError(words, "Write one SELECT.", field="query")
            return Source(check_name(name, "name of a connection"), query.strip().rstrip(";"))
        if name is not None or query is not None:
            hint = "Leave both out to ask again what was asked last."
            raise InvalidError("A snapshot needs a connection and a query.", hint)
        source = self._datasets.dataset(dataset).source
        if source is None:
            hint = "Name a connection and a query: yard data snapshot --connection NAME --query FILE."
            raise InvalidError(f"{dataset} did not come from a database.", hint)
        return source


def _address(connection: Connection, department: str, name: str) -> str | None:
    """What is shown of a connection's address, or None where there is none."""
    return next((c.address for c in store.connections(connection, department) if c.name == name), None)


def _context(department: str, name: str) -> str:
    return f"data connection {department}/{name}"


def _plain(address: str) -> str:
    """The address without its password, fit to be shown."""
    given = _parameters(address)
    host = f"[{given['host']}]" if ":" in given["host"] else given["host"]
    shown_options = f"?sslmode={given['sslmode']}" if "sslmode" in given else ""
    place = f"{host}:{given['port']}/{quote(given['dbname'])}"
    return f"postgresql://{quote(given['user'])}@{place}{shown_options}"


def _parameters(address: str) -> dict[str, str]:
    """An address as libpq names its parts.

    Raises:
        InvalidError: it is none; the message does not repeat it, for it holds a password.
    """
    try:
        parts = urlsplit(address)
        host, port = parts.hostname or "", parts.port or _PORT
        options = dict(parse_qsl(parts.query, strict_parsing=bool(parts.query)))
    except ValueError:
        raise _no_address() from None
    database, user = unquote(parts.path.removeprefix("/")), unquote(parts.username or "")
    fits = parts.scheme in _SCHEMES and host and database and user and "\0" not in unquote(address)
    if not fits or not address.isprintable() or set(options) - set(_OPTIONS):
        raise _no_address()
    if options.get("sslmode", "prefer") not in _SSL_MODES:
        raise InvalidError(
            f"{shown(options['sslmode'])} is no sslmode.", f"Choose {', '.join(_SSL_MODES)}.", field="address"
        )
    password = {"password": unquote(parts.password)} if parts.password else {}
    return {"host": host, "port": str(port), "dbname": database, "user": user, **password, **options}


def _no_address() -> InvalidError:
    hint = "Write postgresql://USER:PASSWORD@HOST:5432/DATABASE, perhaps with ?sslmode=require."
    return InvalidError("This is not the address of a PostgreSQL database.", hint, field="address")


def _unknown(department: str, name: str) -> NotFoundError:
    hint = "An owner of the department keeps one: yard data connect."
    return NotFoundError(f"{department} has no connection {shown(name)}.", hint)
