"""What the storage contract runs against: both databases, and both places for blobs, all of them real."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from argon2 import PasswordHasher
from moto.server import ThreadedMotoServer

from modelyard.catalog import signing
from modelyard.catalog.people import People
from modelyard.catalog.registry import Registry
from modelyard.store.blobs import Blobs
from modelyard.store.database import Database
from modelyard.store.secrets import Keyring
from tests.conftest import find_postgresql
from tests.contract.portable_house import House
from tests.contract.postgresql import Server

DATABASES = ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)]


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Server]:
    """A PostgreSQL server. Mark the test `postgresql`."""
    binaries = find_postgresql()
    assert binaries, "mark the test with @pytest.mark.postgresql"
    with Server(binaries) as server:
        yield server


@pytest.fixture(scope="session")
def postgresql_template(postgresql: Server) -> str:
    """A database of that server with the schema in it: copying it is quicker than migrating."""
    name = postgresql.create()
    database = Database(postgresql.url(name))
    database.upgrade()
    database.close()
    return name


@pytest.fixture(params=DATABASES)
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a database without tables, of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'empty.sqlite'}"
    server: Server = request.getfixturevalue("postgresql")
    return server.url(server.create())


@pytest.fixture(params=DATABASES)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a database of its own, upgraded, of each kind."""
    if request.param == "postgresql":
        server: Server = request.getfixturevalue("postgresql")
        return server.url(server.create(request.getfixturevalue("postgresql_template")))
    url = f"sqlite:///{tmp_path / 'yard.sqlite'}"
    made = Database(url)
    made.upgrade()
    made.close()
    return url


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A database of its own, upgraded, of each kind."""
    made = Database(database_url)
    yield made
    made.close()


class Bucket(NamedTuple):
    """A bucket on a server that speaks S3."""

    url: str
    options: Mapping[str, str]


@pytest.fixture(scope="session")
def s3() -> Iterator[Bucket]:
    """A bucket on moto's server, which speaks the real protocol over HTTP."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    keys = {"access_key_id": "yard", "secret_access_key": "secret", "region": "us-east-1"}
    options = {"endpoint": f"http://{host}:{port}", **keys}
    httpx.put(f"{options['endpoint']}/yard").raise_for_status()
    yield Bucket("s3://yard", options)
    server.stop()


@pytest.fixture(params=["folder", "sealed", "s3"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> Blobs:
    """A place for blobs of its own, of each kind."""
    if request.param == "folder":
        return Blobs(str(tmp_path / "blobs"))
    if request.param == "sealed":
        return Blobs(str(tmp_path / "blobs"), None, Keyring(tmp_path / "keys"), seals=True)
    bucket: Bucket = request.getfixturevalue("s3")
    return Blobs(f"{bucket.url}/{tmp_path.name}", bucket.options)


@pytest.fixture
def registry(database: Database, tmp_path: Path) -> Registry:
    """A registry on each kind of database, with blobs in a folder."""
    return Registry(database, Blobs(str(tmp_path / "blobs")), tmp_path / "scratch")


@pytest.fixture
def cheap_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    """The real argon2id at a hundredth of its costs, for tests that are not about them."""
    cheap = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
    monkeypatch.setattr(signing, "_HASHER", cheap)
    monkeypatch.setattr(signing, "_NOBODY", cheap.hash("x"))


@pytest.fixture
def people(database: Database) -> People:
    """People and tokens on each kind of database."""
    return People(database)


@pytest.fixture
def make() -> Iterator[Callable[..., House]]:
    """Makes a house with settings of one's own; on a short path, for its sockets."""
    with tempfile.TemporaryDirectory(prefix="yp-") as name:
        houses: list[House] = []

        def made(**changes: Any) -> House:
            houses.append(House(Path(name), **changes))
            return houses[0]

        yield made
        for house in houses:
            house.close()
