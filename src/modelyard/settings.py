"""All settings of a node in one frozen record; this file alone reads the environment."""

from __future__ import annotations

import hashlib
import os
import socket
import tempfile
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Literal, Self
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct, field

from modelyard.records.errors import InvalidError
from modelyard.records.retention import Retention, read_retention

MIB = 1024 * 1024
_LARGEST_PORT = 65535
_POSITIVE = (
    "fronts",
    "worker_memory",
    "load_timeout",
    "answer_timeout",
    "replicas",
    "most_replicas",
    "idle_after",
    "max_body",
    "max_file",
    "max_rows",
    "max_bundle",
    "max_dataset",
    "queue_rows",
    "queue_seconds",
    "batch_rows",
    "portable_timeout",
    "portable_seconds",
    "jobs",
    "department_jobs",
    "department_queue",
    "backup_every",
    "backup_keep",
    "ship_after",
    "max_spool",
    "ledger_every",
)
_LOOP = frozenset({"localhost", "127.0.0.1", "[::1]"})
_ANY = frozenset({"", "0.0.0.0", "::"})  # noqa: S104 - to know it
_LONGEST_RUN = 70  # leaves room for the names of the sockets in it


class Settings(Struct, frozen=True, kw_only=True):
    """What an operator can set. Each is also an environment variable: `data` is `YARD_DATA_DIR`,
    `spool_sync` is `YARD_SPOOL_SYNC`, and so on (`YARD_` and the name in capitals).

    Attributes:
        data: the data folder; everything the node writes is in it.
        hosts: the names under which people and programs reach the yard (through a proxy, say), separated by
            commas. With none, a yard that listens on this machine alone answers to this machine's own
            names, and one that listens on the network to any.
        database: `sqlite:///…` or `postgresql://…`; by default SQLite in the data folder.
        blobs: a folder or `s3://bucket/prefix`; by default `blobs/` in the data folder.
        blobs_endpoint: the address of an S3 server that is not Amazon's; `http://` only where it is trusted.
        seal_blobs: whether new blobs are encrypted where they lie, under the newest of the keys; those that
            are there stay as they are.
        engine: `local` runs workers on this machine, `ray` places them on Ray clusters.
        ray: the file that names the clusters; by default `ray.toml` in the data folder.
        fronts: front processes; by default one for two cores, and at least one.
        address: where people reach the yard in a browser, `https://yard.example.com`. With `https://`
            cookies go over TLS alone; set it wherever a proxy ends TLS.
        proxies: addresses or networks of those proxies, separated by commas: what they say of a caller's
            address (`X-Forwarded-For`) is believed.
        oidc: a file that says how people sign in with the company's accounts; by default `oidc.toml` in the
            data folder, where there is one.
        spool_sync: true waits for the disk (fdatasync) before a prediction is answered, so that it
            survives a power cut as well; false survives any crash of the processes.
        ship_after: seconds until predictions that were recorded go from the spool to the history.
        max_spool: bytes that predictions may take in the spool while they cannot be shipped (the database or
            the blobs are away); from there on none are answered until there is room.
        apart: this is a copy of another yard and shall be one of its own from now on: the other's nodes are
            forgotten at the start.
        ledger_every: seconds until what was answered, and what that took, is in the ledger.
        worker_memory: bytes of memory a worker may use.
        load_timeout: seconds a model may take to load.
        answer_timeout: seconds a request may take in all before it is answered 504.
        replicas: workers each version that is asked for has.
        most_replicas: workers a version gets at most on this node, whatever its model may have.
        idle_after: seconds without a request after which a model's workers are let go.
        max_body: bytes of a prediction request.
        max_file: bytes of one in CSV or Parquet that wants CSV or Parquet back; it goes by the disk.
        max_rows: rows of one prediction request.
        max_bundle: bytes of a bundle, unpacked.
        max_dataset: bytes of a file of data that is pushed.
        outbound: networks within the house that the yard may connect to for snapshots and alerts, as
            `10.1.2.0/24, 127.0.0.1/32`; public addresses may be without.
        r_repository: where sources of R packages are fetched that a project's renv.lock names and neither the
            project nor the server has: the address of a CRAN mirror. None by default.
        smtp: the server that mail goes through: `smtp://user:password@host:587?from=yard@example.org`.
        queue_rows: rows that may wait for one version on one front before 503.
        queue_seconds: how long they may wait, as far as can be told from the batches before, before 503.
        batch_rows: rows that go to a worker at once, where they come from several requests.
        jobs: trainings that this node runs at the same time.
        department_jobs: trainings that a department runs at the same time, on all nodes together.
        department_queue: trainings of a department that may wait; further ones are refused.
        job_days: how many days after a job's end its log and curves are kept, also by department:
            `365, finance=3650`; 0 for ever.
        cpu_hour_cost: what an hour of one core costs, in the currency your yard counts in.
        allow_uncontained: whether models with code of their own run where no sandbox can be had. Whoever may
            publish then has the rights of the yard's own user on this machine.
        log_level: DEBUG, INFO, WARNING or ERROR: from where on lines are written to standard error.
        log_format: `text` for people, or `json`: an object a line with stable keys.
        drain: seconds for which a node that is told to stop says at `/health/ready` that it is not ready,
            and answers as before, so that a load balancer goes elsewhere first. 0 where there is none.
        traces: where traces go, as `http://collector:4318`: an OpenTelemetry collector that takes OTLP over
            HTTP. Nothing is traced, and nothing sent, without it.
        traces_share: of the requests that are not traced by their caller already, so many are: 0 to 1.
        portable: whether portable forms of new versions are tried; those that are there answer in any case.
        portable_timeout: seconds the converter may take, and the proof after it.
        portable_seconds: for so long a proof goes on with drawn rows, and for so long both forms are timed.
        keys: the file with the yard's keys, which all its nodes share; by default `keys` in the data folder.
        backup: a folder, best on another disk or machine, that a backup is added to every so many hours.
        backup_every: hours between backups.
        backup_keep: how many backups are kept there.
        backup_passphrase_file: a file with the passphrase that seals them; unsealed without one.
        programs: language to program, from `YARD_PROGRAM_JULIA` and the like.
    """

    data: Path
    host: str = "127.0.0.1"
    port: int = 8080
    hosts: str = ""
    address: str = ""
    proxies: str = ""
    oidc: str = ""
    database: str = ""
    blobs: str = ""
    blobs_endpoint: str = ""
    seal_blobs: bool = False
    engine: str = "local"
    ray: str = ""
    fronts: int = field(default_factory=lambda: max(1, len(os.sched_getaffinity(0)) // 2))
    spool_sync: bool = False
    ship_after: float = 30.0
    max_spool: int = 20 * 1024 * MIB
    apart: bool = False
    ledger_every: float = 15.0
    worker_memory: int = 4096 * MIB
    load_timeout: float = 60.0
    answer_timeout: float = 30.0
    replicas: int = 1
    most_replicas: int = 16
    idle_after: float = 1800.0
    max_body: int = 256 * MIB
    max_file: int = 16 * 1024 * MIB
    max_rows: int = 200_000
    max_bundle: int = 4096 * MIB
    max_dataset: int = 4096 * MIB
    outbound: str = ""
    r_repository: str = ""
    smtp: str = ""
    queue_rows: int = 20_000
    queue_seconds: float = 5.0
    batch_rows: int = 1_024
    portable: bool = True
    portable_timeout: float = 300.0
    portable_seconds: float = 1.5
    jobs: int = field(default_factory=lambda: max(1, len(os.sched_getaffinity(0))))
    department_jobs: int = field(default_factory=lambda: max(1, len(os.sched_getaffinity(0)) // 2))
    department_queue: int = 100
    job_days: str = "365"
    cpu_hour_cost: float = 0.05
    allow_uncontained: bool = False
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "WARNING"
    log_format: Literal["text", "json"] = "text"
    drain: float = 0.0
    traces: str = ""
    traces_share: float = 1.0
    keys: str = ""
    backup: str = ""
    backup_every: float = 24.0
    backup_keep: int = 14
    backup_passphrase_file: str = ""
    programs: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.engine not in ("local", "ray"):
            raise InvalidError(f"There is no engine {self.engine!r}.", "Use --engine local or ray.")
        _check_address(self.address)
        _networks(self.proxies)
        read_retention(self.job_days)
        if not 0 <= self.port <= _LARGEST_PORT:
            raise InvalidError(f"{self.port} is not a port.", f"Use --port 1 to {_LARGEST_PORT}.")
        if self.drain < 0 or not 0 <= self.traces_share <= 1:
            raise InvalidError(
                f"drain is {self.drain} and traces_share {self.traces_share}.",
                "Set YARD_DRAIN to 0 or more seconds, YARD_TRACES_SHARE to 0 to 1.",
            )
        for name in _POSITIVE:
            if getattr(self, name) <= 0:
                raise InvalidError(
                    f"{name} is {getattr(self, name)}, and nothing works with that.",
                    f"Set YARD_{name.upper()} to more than 0, or unset it.",
                )

    @property
    def database_url(self) -> str:
        """Where the records are."""
        return self.database or f"sqlite:///{self.data / 'yard.sqlite'}"

    @property
    def blobs_url(self) -> str:
        """Where the blobs are."""
        return self.blobs or str(self.data / "blobs")

    @property
    def names(self) -> frozenset[str]:
        """The hosts that pages and API answer to, in lower case; empty: to any."""
        given = frozenset(name.strip().lower() for name in self.hosts.split(",") if name.strip())
        if self.address:
            given |= {str(urlsplit(self.address).hostname)}
        return given | _LOOP if given or self.host.lower() in _LOOP or self.host == "::1" else given

    @property
    def proxy_networks(self) -> tuple[IPv4Network | IPv6Network, ...]:
        """Whose word on a caller's address is believed."""
        return _networks(self.proxies)

    @property
    def retention(self) -> Retention:
        """How long logs and curves of jobs are kept."""
        return read_retention(self.job_days)

    @property
    def oidc_file(self) -> Path | None:
        """How people sign in with the company's accounts, or None."""
        if self.oidc:
            return Path(self.oidc)
        own = self.data / "oidc.toml"
        return own if own.exists() else None

    @property
    def ray_file(self) -> Path:
        """The Ray clusters and whose workers are placed on which."""
        return Path(self.ray) if self.ray else self.data / "ray.toml"

    @property
    def backup_passphrase(self) -> str:
        """The passphrase of backups, or "" where they are not sealed."""
        return read_passphrase(Path(self.backup_passphrase_file)) if self.backup_passphrase_file else ""

    @property
    def run(self) -> Path:
        """Sockets and what is alive; means nothing while the yard is down.

        A Unix socket's path has at most 107 bytes, so a deep data folder has its sockets elsewhere.
        """
        own = self.data / "run"
        if len(os.fsencode(own)) <= _LONGEST_RUN:
            return own
        mark = hashlib.sha256(os.fsencode(self.data)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"modelyard-{os.getuid()}-{mark}"

    @property
    def engine_socket(self) -> Path:
        """Where fronts reach the engine."""
        return self.run / "engine.sock"

    @property
    def keys_file(self) -> Path:
        """The keys of secrets at rest; a backup without it cannot open them."""
        return Path(self.keys) if self.keys else self.data / "keys"

    @property
    def node_address(self) -> str:
        """Where the yard's other nodes reach this one."""
        host = socket.gethostname() if self.host in _ANY else self.host
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    @property
    def pulse_file(self) -> Path:
        """What the engine has said of the node last."""
        return self.run / "pulse"

    @property
    def routes_file(self) -> Path:
        """The route table as the engine last built it."""
        return self.data / "routes"

    @property
    def checkpoint_file(self) -> Path:
        """Where the node notes how far the audit went."""
        return self.data / "audit.checkpoint"

    @classmethod
    def from_environment(cls, **given: object) -> Self:
        """Settings from `YARD_…` variables, with what is given (and not None) going before.

        Raises:
            InvalidError: a value is not of its type; the message names the variable.
        """
        values: dict[str, object] = {"data": Path(os.environ.get("YARD_DATA_DIR", "yard-data"))}
        for known in msgspec.structs.fields(cls):
            variable = f"YARD_{known.name.upper()}"
            if known.name not in ("data", "programs") and variable in os.environ:
                values[known.name] = _read(variable, os.environ[variable], known.type)
        prefix = "YARD_PROGRAM_"
        values["programs"] = {
            k[len(prefix) :].lower(): v for k, v in os.environ.items() if k.startswith(prefix) and v
        }
        values.update((k, v) for k, v in given.items() if v is not None)
        values["data"] = Path(str(values["data"])).resolve()
        return cls(**values)  # type: ignore[arg-type]


class Setting(Struct, frozen=True):
    """A setting as it is shown: its variable, its value without secrets, and whether somebody set it."""

    variable: str
    value: str
    is_set: bool


def shown_settings(settings: Settings) -> tuple[Setting, ...]:
    """All settings but `programs`, in the order of `Settings`."""
    found = []
    for known in msgspec.structs.fields(Settings):
        value = getattr(settings, known.name)
        default = known.default_factory() if callable(known.default_factory) else known.default
        if known.name != "programs":
            variable = "YARD_DATA_DIR" if known.name == "data" else f"YARD_{known.name.upper()}"
            found.append(Setting(variable, without_secrets(str(value)), value != default))
    return tuple(found)


def without_secrets(value: str) -> str:
    """A value whose addresses tell neither who comes in nor by what password.

    >>> without_secrets("postgresql://yard:hunter2@db/yard?password=x"), without_secrets("365")
    ('postgresql://…@db/yard?…', '365')
    """
    scheme, is_address, rest = value.partition("://")
    if not is_address:
        return value
    place, is_asking, _ = rest.partition("?")
    _, is_named, where = place.rpartition("@")
    return f"{scheme}://{'…@' if is_named else ''}{where}{'?…' if is_asking else ''}"


def notify_socket() -> str:
    """Where systemd wants to hear how a service of `Type=notify` stands (sd_notify); "" where it does not."""
    return os.environ.get("NOTIFY_SOCKET", "")


def read_passphrase(path: Path) -> str:
    """The first line of a file.

    Raises:
        InvalidError: it cannot be read, or is empty.
    """
    try:
        words = path.read_text("utf-8").strip().partition("\n")[0].strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidError(f"The passphrase's file {path} cannot be read: {error}.") from error
    if not words:
        raise InvalidError(f"The passphrase's file {path} is empty.", "Write the passphrase into it.")
    return words


def _networks(proxies: str) -> tuple[IPv4Network | IPv6Network, ...]:
    try:
        return tuple(ip_network(text.strip()) for text in proxies.split(",") if text.strip())
    except ValueError as error:
        hint = "Write addresses or networks with commas between: 10.0.0.5, 10.1.0.0/16."
        raise InvalidError(f"YARD_PROXIES cannot be used: {error}.", hint) from error


def _check_address(address: str) -> None:
    parts = urlsplit(address)
    if address and (
        parts.scheme not in ("http", "https") or not parts.hostname or parts.path not in ("", "/")
    ):
        hint = "Write https:// and the host, as in https://yard.example.com."
        raise InvalidError(f"YARD_ADDRESS={address!r} is no address of a yard.", hint)


def _read(variable: str, text: str, kind: object) -> object:
    try:
        return msgspec.convert(text, type=kind, strict=False)
    except msgspec.ValidationError as error:
        raise InvalidError(
            f"{variable}={text!r} cannot be used: {error}.", f"Correct or unset {variable}."
        ) from error
