"""`yard upgrade`: on the server itself, while the yard is stopped."""

from __future__ import annotations

from typing import Annotated

import typer

from modelyard.cli import output
from modelyard.cli.backups import Blobs, Database, Passphrase, words_of
from modelyard.cli.server import Data, installed
from modelyard.records.errors import YardError

Folder = Annotated[
    str | None, typer.Argument(help="The folder of backups; by default $YARD_BACKUP.", metavar="DIR")
]
_ENDS = {
    "upgraded": "All is well: the data is of this release. Start the yard: yard up.",
    "nothing-to-do": "All is well.",
}


class UpgradeError(YardError):
    """The upgrade did not go well; the message says how the data stands now."""

    code = "upgrade-failed"


def upgrade(
    folder: Folder = None,
    data: Data = None,
    database: Database = None,
    blobs: Blobs = None,
    passphrase_file: Passphrase = None,
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep the new state even if all is not well afterwards.")
    ] = False,
    as_json: output.Json = False,
) -> None:
    """Bring a yard's data to the release that is installed: back up, migrate, look, and go back if need be.

    Stop the yard of this machine, install the new release, run this, start the yard again. Other nodes may go
    on meanwhile. Where the look afterwards finds that all is not well, the database becomes what it was.

    Example: yard upgrade /mnt/backups --data /srv/yard
    """
    with installed():
        from modelyard import upgrade as upgrading  # noqa: PLC0415 - an optional dependency
        from modelyard.settings import Settings  # noqa: PLC0415 - the same
    settings = Settings.from_environment(data=data, database=database, blobs=blobs)

    def vault():  # type: ignore[no-untyped-def] # noqa: ANN202 - of an optional dependency
        return upgrading.vault_of(settings, folder, words_of(passphrase_file))

    report = upgrading.upgrade(settings, vault, output.note, keep=keep)
    if as_json:
        output.print_json(report)
    if not report.ok:
        raise _failed(report.outcome, report.before, report.backup, folder or settings.backup)
    if not as_json:
        output.note(_ENDS[report.outcome])


def _failed(outcome: str, before: str, backup: str, folder: str) -> UpgradeError:
    if outcome == "went-back":
        return UpgradeError(
            f"The upgrade did not go well, and the data is as it was (schema {before}).",
            "Install the release you had before and start the yard; report the words above.",
        )
    if outcome == "left":
        return UpgradeError(
            "The upgrade did not go well, and the data was left as it is now.",
            f"To have back what was before, on an empty machine: yard restore {folder} --name {backup}.",
        )
    return UpgradeError("The data is of this release, but all is not well.", "The words above say what.")
