"""`yard rollout` and `yard policy`."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated

import typer

from modelyard.cli import output
from modelyard.cli.models import Model, Why
from modelyard.cli.rollout_calls import RolloutCalls, going_on
from modelyard.cli.sdk import open_yard
from modelyard.cli.suggest import suggestions
from modelyard.records.errors import InvalidError, MalformedError
from modelyard.records.policies import Policy, read_promote, read_retrain
from modelyard.records.references import Reference
from modelyard.records.rollouts import Rollout

rollout = typer.Typer(no_args_is_help=True, help="Try a version on live traffic before it is champion.")
policy = typer.Typer(no_args_is_help=True, help="When a model is retrained, and what a candidate must show.")

Version = Annotated[str, typer.Argument(metavar="REF", help="department/name/7.", show_default=False)]


@rollout.command("start")
def start(
    ref: Version,
    stage: Annotated[
        list[str] | None,
        typer.Option(
            help='A stage, as "shadow 30m" or "canary 10% 30m"; again for the next. Else the policy\'s.'
        ),
    ] = None,
    approval: Annotated[str | None, typer.Option(help="auto or owner; else the policy's.")] = None,
    why: Why = "",
    as_json: output.Json = False,
) -> None:
    """Begin to roll a version out: beside the champion first, then to a growing share of requests.

    Example: yard rollout start finance/fuel-cost/2 --stage "shadow 10m" --stage "canary 20% 1h"
    """
    yard = open_yard()
    with suggestions(yard, ref):
        at = Reference.parse(ref)
        if at.version is None:
            raise InvalidError(f"{ref} names no version.", f"Write {at.model}/7.", field="reference")
        begun = RolloutCalls(yard.connection, at.model).start(at.version, why, stage, approval)
    _print_rollout(begun, as_json=as_json)


@rollout.command("show")
def show(model: Model, as_json: output.Json = False) -> None:
    """Show the rollout of a model that goes on, or the last one, with its story.

    Example: yard rollout show finance/fuel-cost
    """
    yard = open_yard()
    with suggestions(yard, model):
        found = RolloutCalls(yard.connection, model).rollouts()
    if as_json:
        output.print_json(found)
    elif not found:
        output.note(f"Nothing was ever rolled out: yard rollout start {model}/NUMBER.")
    else:
        _print_rollout(found[0], as_json=False)


@rollout.command("list")
def list_all(as_json: output.Json = False) -> None:
    """List the rollouts that go on.

    Example: yard rollout list
    """
    found = going_on(open_yard().connection)
    if as_json:
        output.print_json(found)
        return
    output.print_table(
        ("model", "candidate", "champion", "state", "stage", "since", "last decision"),
        [
            (r.model, r.candidate, r.champion, r.state, _stage(r), output.when(r.stage_began_at), r.words)
            for r in found
        ],
    )


@rollout.command("approve")
def approve(model: Model, why: Why = "", as_json: output.Json = False) -> None:
    """Let the candidate become champion once its stages are through.

    Example: yard rollout approve finance/fuel-cost --why "the report looks right"
    """
    yard = open_yard()
    with suggestions(yard, model):
        _print_rollout(RolloutCalls(yard.connection, model).approve(why), as_json=as_json)


@rollout.command("stop")
def stop(model: Model, why: Why = "", as_json: output.Json = False) -> None:
    """End a rollout; the champion stays what it is.

    Example: yard rollout stop finance/fuel-cost --why "wait for the new tariff"
    """
    yard = open_yard()
    with suggestions(yard, model):
        _print_rollout(RolloutCalls(yard.connection, model).stop(why), as_json=as_json)


@policy.command("show")
def show_policy(model: Model, as_json: output.Json = False) -> None:
    """Show a model's policy.

    Example: yard policy show finance/fuel-cost
    """
    yard = open_yard()
    with suggestions(yard, model):
        _print_policy(RolloutCalls(yard.connection, model).policy(), as_json=as_json)


@policy.command("set")
def set_policy(
    model: Model,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A TOML file with [retrain] and [promote], as yard.toml.")
    ],
    as_json: output.Json = False,
) -> None:
    """Set a model's policy from a file.

    Example: yard policy set finance/fuel-cost yard.toml
    """
    tables = _tables(file)
    yard = open_yard()
    with suggestions(yard, model):
        _print_policy(RolloutCalls(yard.connection, model).set_policy(*tables), as_json=as_json)


@policy.command("pause")
def pause(model: Model, as_json: output.Json = False) -> None:
    """Let the yard start no training of a model by itself.

    Example: yard policy pause finance/fuel-cost
    """
    yard = open_yard()
    with suggestions(yard, model):
        _print_policy(RolloutCalls(yard.connection, model).pause(paused=True), as_json=as_json)


@policy.command("resume")
def resume(model: Model, as_json: output.Json = False) -> None:
    """Let the yard start trainings of a model by itself again.

    Example: yard policy resume finance/fuel-cost
    """
    yard = open_yard()
    with suggestions(yard, model):
        _print_policy(RolloutCalls(yard.connection, model).pause(paused=False), as_json=as_json)


def _tables(file: Path) -> tuple[dict[str, object], dict[str, object]]:
    """The two tables of a file, checked here first so that an error can name the file."""
    try:
        data = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise MalformedError(f"{file} is no TOML: {error}.", "Correct the file.") from error
    retrain, promote = (data.get(name, {}) for name in ("retrain", "promote"))
    if not isinstance(retrain, dict) or not isinstance(promote, dict):
        raise InvalidError(f"{file}: [retrain] and [promote] are tables.", "See docs/self-driving.md.")
    try:
        read_retrain(retrain)
        read_promote(promote)
    except InvalidError as error:
        raise InvalidError(f"{file}: {error.message}", error.hint, **error.fields) from None
    return retrain, promote


def _print_policy(found: Policy, *, as_json: bool) -> None:
    if as_json:
        output.print_json(found)
        return
    rows: list[tuple[str, object]] = [("model", found.model), ("paused", "yes" if found.paused else "")]
    for name, record in (("retrain", found.retrain), ("promote", found.promote)):
        rows += [(f"{name}.{key}", _shown(getattr(record, key))) for key in record.__struct_fields__]
    by = f" by {found.changed_by}" if found.changed_by else ""
    rows.append(("set", f"{found.source}, {output.when(found.changed_at)}{by}"))
    output.print_facts(rows)


def _shown(value: object) -> object:
    if isinstance(value, tuple):
        return ", ".join(str(part) for part in value)
    return None if value is False else value


def _print_rollout(found: Rollout, *, as_json: bool) -> None:
    if as_json:
        output.print_json(found)
        return
    candidate, champion = found.evidence.candidate, found.evidence.champion
    output.print_facts(
        [
            ("candidate", f"{found.model}/{found.candidate}"),
            ("champion", f"{found.model}/{found.champion}"),
            ("state", found.state),
            ("stage", _stage(found)),
            ("asked", f"candidate {candidate.asked}, champion {champion.asked} requests"),
            ("failed", candidate.failed),
            ("slow", f"{candidate.slow} of {candidate.timed}" if candidate.timed else ""),
            ("far apart", f"{candidate.far} of {candidate.paired}" if candidate.paired else ""),
            ("decision", found.words),
            ("why", found.why),
            ("begun", f"{output.when(found.began_at)} by {found.began_by}"),
            ("ended", output.when(found.ended_at)),
        ]
    )
    if found.steps:
        output.print_table(
            ("when", "state", "stage", "by", "why"),
            [(output.when(s.at), s.state, s.stage + 1, s.by, s.words) for s in found.steps],
            title="\nstory",
        )


def _stage(found: Rollout) -> str:
    stages = found.rules.stages
    if not stages:
        return "none"
    return f"{found.stage + 1} of {len(stages)}: {stages[found.stage].words}"
