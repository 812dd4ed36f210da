"""Workers on other machines: how their hosts are reached, and what is said to them.

A worker that runs elsewhere has, where a local one has its socket, a small file that says where its host
listens. Whoever asks it connects there, by TLS, straight from process to process. Both sides know each other
by their certificates alone: the host was told the yard node's when it was placed, the node has got the host's
in return, so that nothing secret passes through whoever places workers. Two protocols are spoken (ALPN):
frames for the worker, or the messages below for its host.
"""

from __future__ import annotations

import os
import socket
import ssl
import struct
import tarfile
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any

import msgspec
from msgspec import Struct

from modelyard.records.errors import MalformedError
from modelyard.records.jobs import Usage
from modelyard.workers.plans import Plan
from modelyard.workers.tasks import Task

FILE = "far"  # the name of the file that stands for a worker's socket
FRAMES, MESSAGES = "yard-frames", "yard-host"
BEAT_SECONDS = 1.0
PREPARES_SECONDS = 3600.0  # for an environment to be built, a model to load, an output to be packed
SILENCE_SECONDS = 10.0  # a host that says nothing for so long is lost
_CONNECT_SECONDS = 5.0
_LENGTH = struct.Struct("<I")
_LONGEST = 16 * 1024 * 1024
_PIECE = 1 << 18
_VALID = timedelta(days=3650)


class Far(Struct, frozen=True):
    """Where a worker's host listens.

    Attributes:
        certificate: the host's, as PEM.
        identity: the file with this node's own key and certificate.
    """

    host: str
    port: int
    certificate: str
    identity: str


class Message(Struct, frozen=True, tag=True):
    """Anything that is said to a host, or by it."""


class Start(Message, frozen=True):
    """Start the worker; its bundle follows as a tar of so many bytes.

    Attributes:
        release: of the yard that asks; a host of another one refuses.
        memory: bytes the worker may use at most.
    """

    release: str
    plan: Plan
    size: int
    memory: int
    load_timeout: float


class Work(Message, frozen=True):
    """Run a job's command; its project and data follow as a tar of so many bytes."""

    release: str
    task: Task
    size: int


class Began(Message, frozen=True):
    """The command runs."""


class Went(Message, frozen=True):
    """How the command goes on.

    Attributes:
        over: which limit it is over, in words.
        output: what it has printed since the last time, and
        metrics: what it has added to its file of metrics.
    """

    usage: Usage
    over: str = ""
    output: str = ""
    metrics: bytes = b""


class Packs(Message, frozen=True):
    """The command has ended, and what it has left is being packed; nothing is said while that lasts."""


class Finished(Message, frozen=True):
    """The command has ended; what it has left follows as a tar of so many bytes."""

    code: int
    ran_out: bool
    usage: Usage
    size: int


class Watch(Message, frozen=True):
    """Tell from now on how the worker does. A host that nobody watches for a while ends."""


class Stop(Message, frozen=True):
    """End the worker, politely first, and yourself."""


class Said(Message, frozen=True):
    """What the host is doing, in words."""

    words: str


class Ready(Message, frozen=True):
    """The worker has loaded its model."""

    pid: int
    takes: tuple[str, ...]
    runtime: str


class Refused(Message, frozen=True):
    """The worker could not be started: the error, and the end of the log."""

    code: str
    message: str
    hint: str = ""
    log: str = ""


class Beat(Message, frozen=True):
    """The worker runs: bytes resident, seconds of processors, and what it has printed since the last beat."""

    memory: int
    cpu_seconds: float = 0.0
    log: bytes = b""


class Ended(Message, frozen=True):
    """The worker has ended; why, in words."""

    how: str


_ENCODER = msgspec.msgpack.Encoder()
_DECODER: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(
    Start | Work | Watch | Stop | Said | Ready | Refused | Beat | Ended | Began | Went | Packs | Finished
)


def pack(message: Message) -> bytes:
    """A message with its length before it."""
    data = _ENCODER.encode(message)
    return _LENGTH.pack(len(data)) + data


def length(prefix: bytes) -> int:
    """The bytes of the message that follows its first four.

    Raises:
        MalformedError: there are too many.
    """
    (size,) = _LENGTH.unpack(prefix)
    if size > _LONGEST:
        raise MalformedError(f"A message says it has {size} bytes.")
    return int(size)


def unpack(data: bytes) -> Message:
    """A message without its length.

    Raises:
        MalformedError: it is none of ours.
    """
    try:
        found: Message = _DECODER.decode(data)
    except msgspec.MsgspecError as error:
        raise MalformedError(f"A message cannot be read: {error}.") from error
    return found


def far_of(path: str | Path) -> Far | None:
    """Where the worker is that has this path for its socket, if it is elsewhere.

    Raises:
        OSError: the file is gone: the worker has ended.
    """
    if Path(path).name != FILE:
        return None
    return msgspec.json.decode(Path(path).read_bytes(), type=Far)


def context_to(far: Far, protocol: str) -> ssl.SSLContext:
    """For a connection to a host: it must have that certificate, and is shown ours."""
    context = _context(ssl.PROTOCOL_TLS_CLIENT, Path(far.identity), far.certificate)
    context.check_hostname = False  # its certificate is the one that is trusted: there is no name to check
    context.set_alpn_protocols([protocol])
    return context


def context_of_host(identity: Path, certificate: str) -> ssl.SSLContext:
    """For a host that listens: who connects must have that certificate."""
    context = _context(ssl.PROTOCOL_TLS_SERVER, identity, certificate)
    context.set_alpn_protocols([FRAMES, MESSAGES])
    context.num_tickets = 0
    return context


def _context(kind: int, identity: Path, certificate: str) -> ssl.SSLContext:
    context = ssl.SSLContext(kind)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(identity)
    context.load_verify_locations(cadata=certificate)
    return context


def connect(far: Far, protocol: str) -> ssl.SSLSocket:
    """A connection to a host, blocking.

    Raises:
        OSError: nobody listens there, or not who should.
    """
    plain = socket.create_connection((far.host, far.port), _CONNECT_SECONDS)
    try:
        notice_silence(plain)
        return context_to(far, protocol).wrap_socket(plain)
    except BaseException:
        plain.close()
        raise


def notice_silence(sock: socket.socket) -> None:
    """Have the kernel end the connection if the other machine is gone; it would wait for hours.

    It asks whether that is still there. It sets no time (`TCP_USER_TIMEOUT`) for data to be taken: a busy
    worker leaves a large question lying for as long as it computes.
    """
    with suppress(OSError, AttributeError):  # each by itself where a kernel lacks it
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in (("TCP_KEEPIDLE", 2), ("TCP_KEEPINTVL", 1), ("TCP_KEEPCNT", 3)):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)


def make_identity(path: Path) -> str:
    """Make a key and a certificate of its own into a file that others cannot read; the certificate as PEM."""
    # Loads for 0.1 s, and only nodes with workers elsewhere need it.
    from cryptography import x509  # noqa: PLC0415
    from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "modelyard")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=2))  # clocks differ
        .not_valid_after(now + _VALID)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    text = certificate.public_bytes(serialization.Encoding.PEM)
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    new = path.with_suffix(".new")
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(secret + text)
    new.replace(path)
    return text.decode()


def identity_at(path: Path) -> str:
    """The certificate of a node's identity, made where there is none."""
    if not path.exists():
        return make_identity(path)
    _, mark, text = path.read_text().partition("-----BEGIN CERTIFICATE-----")
    return mark + text


def pack_folders(file: IO[bytes], folders: Mapping[str, Path]) -> None:
    """Write a tar of folders, under their names, with neither links nor owners."""
    with tarfile.open(fileobj=file, mode="w") as tar:
        for name, folder in folders.items():
            tar.add(folder, name, filter=_plain)


def unpack_folders(file: IO[bytes], folder: Path) -> None:
    """Unpack such a tar; nothing of it lands elsewhere.

    Raises:
        OSError: it is none, or reaches out of the folder.
    """
    try:
        with tarfile.open(fileobj=file, mode="r:") as tar:
            tar.extractall(folder, filter="data")
    except tarfile.TarError as error:
        raise OSError(f"a tar cannot be unpacked: {error}") from error


def _plain(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """What is a file or a folder, without who owns it here: that says nothing there."""
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member if member.isfile() or member.isdir() else None


class Channel:
    """Messages over a blocking connection to a host.

    Raises:
        OSError: it cannot be reached.
    """

    def __init__(self, far: Far) -> None:
        self._socket = connect(far, MESSAGES)
        self._socket.settimeout(SILENCE_SECONDS)

    def send(self, message: Message) -> None:
        """Send a message.

        Raises:
            OSError: the connection broke.
        """
        self._socket.sendall(pack(message))

    def send_tar(self, message: Callable[[int], Message], folders: Mapping[str, Path], scratch: Path) -> None:
        """Send a message that says how large a tar is, and the tar.

        Args:
            message: made from the bytes of the tar.
            folders: what is in it, under which names.
            scratch: where it is written first.

        Raises:
            OSError: the connection broke, or a file cannot be read.
        """
        with tempfile.TemporaryFile(dir=scratch) as file:
            pack_folders(file, folders)
            size = file.tell()
            file.seek(0)
            self._socket.sendall(pack(message(size)))
            while chunk := file.read(_PIECE):
                self._socket.sendall(chunk)

    def receive_tar(self, size: int, folder: Path, scratch: Path) -> None:
        """Unpack the tar that follows a message into a folder.

        Raises:
            OSError: the connection broke, or the disk is full.
        """
        with tempfile.TemporaryFile(dir=scratch) as file:
            left = size
            while left:
                left -= file.write(self._read(min(left, _PIECE)))
            file.seek(0)
            unpack_folders(file, folder)

    def receive(self, silence: float = SILENCE_SECONDS) -> Message:
        """The next message.

        Args:
            silence: seconds that the host may say nothing. While it prepares it has nothing to say for long
                (`PREPARES_SECONDS`); a machine that is gone is noticed by the connection itself even then.

        Raises:
            OSError: the connection broke, or the host says nothing any more.
            MalformedError: it is not one of ours.
        """
        self._socket.settimeout(silence)
        return unpack(self._read(length(self._read(_LENGTH.size))))

    def _read(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            chunk = self._socket.recv(size - len(data))
            if not chunk:
                raise ConnectionResetError
            data += chunk
        return bytes(data)

    def close(self) -> None:
        """Hang up; who waits in `receive` in another thread gets an error."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
