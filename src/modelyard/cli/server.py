"""Verbs that need the server's parts: imported when they are called, for they may not be installed."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Annotated

import typer

from modelyard.cli import output
from modelyard.records.errors import UnavailableError, YardError

Data = Annotated[Path | None, typer.Option(help="Data folder; by default $YARD_DATA_DIR, else ./yard-data.")]
Host = Annotated[str | None, typer.Option(help="Address to listen on; by default 127.0.0.1.")]
Port = Annotated[int | None, typer.Option(help="Port; by default 8080.", min=0, max=65535)]


class NotInstalledError(YardError):
    """A part of the server is not installed."""

    code = "not-installed"


@contextmanager
def installed(extra: str = "server") -> Iterator[None]:
    """Say how to install what a verb needs where its import fails."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("modelyard"):
            raise
        raise NotInstalledError(
            f"This needs the part {error.name!r}, which is not installed here.",
            f"Run: pip install 'modelyard[{extra}]'",
        ) from error


def up(
    data: Data = None,
    host: Host = None,
    port: Port = None,
    database: Annotated[
        str | None, typer.Option(help="sqlite:///… or postgresql://…; by default SQLite in the data folder.")
    ] = None,
    blobs: Annotated[
        str | None, typer.Option(help="A folder or s3://bucket/prefix; by default in the data folder.")
    ] = None,
    engine: Annotated[str | None, typer.Option(help="local, or ray: see docs/ray.md.")] = None,
    fronts: Annotated[
        int | None, typer.Option(help="Front processes; by default one for two cores.", min=1)
    ] = None,
) -> None:
    """Start a yard on this machine. Ctrl-C stops it.

    On its first start it makes the administrator and writes its token to admin.token in the data folder.

    Example: yard up --data /srv/yard --port 8080
    """
    with installed():
        from modelyard import up as supervisor  # noqa: PLC0415 - an optional dependency
        from modelyard.settings import Settings  # noqa: PLC0415 - the same
    settings = Settings.from_environment(
        data=data, host=host, port=port, database=database, blobs=blobs, engine=engine, fronts=fronts
    )
    raise typer.Exit(supervisor.run(settings, _announce))


def demo(
    data: Annotated[Path, typer.Option(help="Data folder of the demo's yard.")] = Path("yard-demo"),
    host: Host = None,
    port: Port = None,
    flights: Annotated[int, typer.Option(help="Flights to replay.", min=1)] = 3000,
    year: Annotated[bool, typer.Option("--year", help="A year instead: the yard drives itself.")] = False,
    months: Annotated[int, typer.Option(help="Months of the year to play.", min=2, max=12)] = 12,
    stop: Annotated[bool, typer.Option("--stop", help="Stop the yard at the end.")] = False,
) -> None:
    """Show it all: three departments, three languages, real flights, on a yard of its own.

    With --year 2013 is replayed month by month: the yard notices new flights, trains in Python and in R,
    compares, tries on live traffic, and promotes or refuses by itself.

    The yard goes on running at the end, for you to try more; Ctrl-C stops it.

    Example: yard demo
    """
    with installed("server,demo"):
        from modelyard.demo import Stage, run, run_year  # noqa: PLC0415 - an optional dependency
        from modelyard.settings import Settings  # noqa: PLC0415 - the same
    settings = Settings.from_environment(data=data, host=host, port=port)
    command = ["up", "--data", str(settings.data), "--host", settings.host, "--port", str(settings.port)]
    with _yard(command, settings.data / "up.log") as (process, url):
        token_file = settings.data / "admin.token"
        stage = Stage(
            url=url,
            token=token_file.read_text().strip(),
            token_file=token_file,
            folder=settings.data / "demo",
            programs=settings.programs,
            console=output.screen(),
        )
        went_well = run_year(stage, months) if year else run(stage, flights)
        if stop:
            output.note("The yard is stopped again, as --stop asked.")
        else:
            with suppress(KeyboardInterrupt):  # as its words say it is stopped
                process.wait()
    if not stop:
        output.note(f"\nThe yard is stopped. It goes on with: yard up --data {settings.data}")
    raise typer.Exit(0 if went_well else 1)


def _announce(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


@contextmanager
def _yard(arguments: list[str], log: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A yard in a process of its own, and its address; it is stopped at the end. Its log goes to a file."""
    log.parent.mkdir(parents=True, exist_ok=True, mode=0o700)  # as `yard up` makes it
    command = [sys.executable, "-m", "modelyard.cli", *arguments]
    with log.open("w") as file:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=file, text=True)
    try:
        assert process.stdout is not None  # noqa: S101 - it is a pipe
        yield process, _address(process.stdout, log)
    finally:
        # Ctrl-C has reached it as well, for it is of the same terminal; a second signal does no harm.
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        process.wait()


def _address(lines: IO[str], log: Path) -> str:
    for line in lines:
        if " is up at " in line:
            threading.Thread(target=lines.read, daemon=True).start()  # so that its pipe never fills
            return line.split(" is up at ")[1].split()[0]
    said = log.read_text(errors="replace").strip().splitlines()
    raise UnavailableError("The yard did not start: " + (" ".join(said[-2:]) or "it said nothing."))
