"""`yard`: the commands put together, and what becomes of errors."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import msgspec
import typer

import modelyard
from modelyard.cli import (
    alerts,
    audit,
    backups,
    capacity,
    cards,
    data,
    data_access,
    doctor,
    gates,
    grants,
    hosts,
    jobs,
    keys,
    ledger,
    login,
    models,
    nodes,
    output,
    own_metrics,
    predict,
    publish,
    refits,
    rollouts,
    sdk,
    server,
    systemd,
    tokens,
    upgrade,
    users,
    watch,
)
from modelyard.records.errors import YardError

_EPILOG = "Set YARD_URL and YARD_TOKEN, or run `yard login URL` once. Documentation: docs/ of the source."
_GROUPS = {
    "Run a yard": (
        server.up,
        server.demo,
        backups.backup,
        backups.restore,
        upgrade.upgrade,
        doctor.doctor,
        systemd.systemd,
        audit.audit,
        doctor.version,
    ),
    "Access": (login.login, login.logout, login.whoami),
    "Models": (
        publish.publish,
        models.models,
        models.show,
        models.history,
        models.promote,
        models.alias,
        models.rollback,
        cards.card,
        capacity.capacity,
        gates.gate,
        gates.verdicts,
        refits.refits,
    ),
    "Training": (jobs.train, jobs.jobs, jobs.job, jobs.compare, jobs.cancel),
    "Predictions": (
        predict.predict,
        predict.predictions,
        watch.outcomes,
        watch.watch,
        own_metrics.metric,
        watch.keep,
    ),
}

app = typer.Typer(
    name="yard",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=_EPILOG,
)
for _group, _commands in _GROUPS.items():
    for _command in _commands:
        app.command(rich_help_panel=_group)(_command)
app.add_typer(users.app, name="users", rich_help_panel="Access")
app.add_typer(keys.app, name="keys", rich_help_panel="Run a yard")
app.add_typer(nodes.app, name="nodes", rich_help_panel="Run a yard")
app.add_typer(tokens.app, name="token", rich_help_panel="Access")
app.add_typer(alerts.app, name="alerts", rich_help_panel="Models")
app.add_typer(ledger.app, name="ledger", rich_help_panel="Models")
app.add_typer(data.app, name="data", rich_help_panel="Data")
data.app.registered_commands += data_access.app.registered_commands
app.add_typer(grants.app, name="grant", rich_help_panel="Access")
app.add_typer(rollouts.rollout, name="rollout", rich_help_panel="Models")
app.add_typer(rollouts.policy, name="policy", rich_help_panel="Models")
app.add_typer(hosts.app, name="hosts", rich_help_panel="Training")


def _show_version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"{modelyard.__version__}\n")
        raise typer.Exit


@app.callback()
def _yard(
    _: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Modelyard: where a company's departments build, keep, launch and refit their models."""


def of_system(error: OSError) -> YardError:
    """What the operating system refused, and what to do next.

    >>> of_system(IsADirectoryError(21, "Is a directory", "march")).message
    'march is a folder, and a file is needed here.'
    """
    name = error.filename or "this machine"
    if isinstance(error, FileNotFoundError):
        whence = "" if Path(name).is_absolute() else f"; it is looked for from {_here()}"
        return YardError(f"There is no {name}.", f"Correct the path{whence}.")
    if isinstance(error, IsADirectoryError):
        return YardError(f"{name} is a folder, and a file is needed here.", "Name the file in it.")
    if isinstance(error, PermissionError):
        hint = f"See who may: ls -ld {name}. Then change that, or choose another path."
        return YardError(f"You may not read or write {name}.", hint)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        hint = "Make room (df -h shows what is full), and give the command again."
        return YardError(f"The disk of {name} is full.", hint)
    return YardError(f"{error.strerror or error}: {name}.")


def _here() -> str:
    try:
        return str(Path.cwd())
    except OSError:
        return "a folder that is not there any more"


def run() -> NoReturn:
    """The entry point: 0 all went well, 1 it did not, 2 the command was written wrongly, 130 Ctrl-C."""
    try:
        with sdk.OPEN:
            app()
    except YardError as error:
        output.print_error(error)
        code = 1
    except KeyboardInterrupt:
        code = 130
    except BrokenPipeError:
        # Who reads our output has gone, as `yard models | head -1` does; nothing is wrong.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except OSError as error:
        output.print_error(of_system(error))
        code = 1
    except msgspec.MsgspecError as error:
        output.print_error(YardError(f"What was read cannot be understood: {error}."))
        code = 1
    else:
        code = 0
    sys.exit(code)
