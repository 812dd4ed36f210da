"""Models and versions: listed, shown, promoted and taken back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import typer

import modelyard
from modelyard.cli import output
from modelyard.cli.audit import read_time
from modelyard.cli.audit_calls import AuditCalls
from modelyard.cli.host_calls import HostCalls, print_hosts
from modelyard.cli.key_calls import KeyCalls
from modelyard.cli.sdk import open_yard
from modelyard.cli.stories import print_refit, refit_rows, story_of
from modelyard.cli.suggest import suggestions
from modelyard.cli.watched import METRICS, metric_rows, watched_of
from modelyard.records import spans
from modelyard.records.history import Answering
from modelyard.records.models import AliasChange, Version
from modelyard.records.provenance import Label, Signed
from modelyard.records.references import CHAMPION, Reference
from modelyard.records.signatures import Column

Ref = Annotated[
    str,
    typer.Argument(
        metavar="REF", help="department/name, department/name@alias or department/name/7.", show_default=False
    ),
]
Model = Annotated[str, typer.Argument(metavar="MODEL", help="department/name.", show_default=False)]
Why = Annotated[str, typer.Option(help="A reason, for the history.")]
_LEVELS_SHOWN = 6


def models(as_json: output.Json = False) -> None:
    """List the models that you may see.

    Example: yard models
    """
    found = open_yard().models()
    if as_json:
        output.print_json(found)
        return
    output.print_table(
        ("model", "language", "champion", "latest", "other aliases", "created", "by"),
        [
            (
                m.model,
                m.language,
                m.champion,
                m.latest,
                ", ".join(f"{a} → {n}" for a, n in sorted(m.aliases.items()) if a != "champion"),
                output.when(m.created_at),
                m.created_by,
            )
            for m in found
        ],
    )
    if not found:
        output.note("There is no model yet. `yard publish --help` shows how to publish one.")


def show(ref: Ref, as_json: output.Json = False) -> None:
    """Show a version: state, form, signature, metrics, packages, who and when, and how well it does.

    Of a model without a version or alias it is the champion, else the latest version.

    Example: yard show finance/fuel-cost@champion
    """
    yard = open_yard()
    with suggestions(yard, ref):
        version = _version(yard, ref)
    if as_json:
        output.print_json(version)
        return
    keys = KeyCalls(yard.connection)
    _print_version(version, keys.signed(version), keys.scanned(version))
    rows = list(metric_rows(watched_of(yard.connection, version.model), version.version))
    if rows:
        output.print_table(METRICS, rows, title="\nhow well it does")
    for refit in story_of(yard.connection, version.model).refits:
        if refit.version == version.version:
            output.print_facts([("\nrefit", output.when(refit.at)), *refit_rows(refit)])
    if (hosts := HostCalls(yard.connection, version.model).hosts()).approved:
        print_hosts(hosts)
    others = yard.versions(version.model)
    if len(others) > 1:
        output.print_table(
            ("version", "state", "aliases", "created", "by", "description"),
            [
                (
                    v.version,
                    v.state,
                    ", ".join(v.aliases),
                    output.when(v.created_at),
                    v.created_by,
                    v.bundle.description,
                )
                for v in others
            ],
            title="\nall versions",
        )


def history(
    model: Ref,
    at: Annotated[str, typer.Option(help="Show what answered at this time (ISO 8601; UTC if no zone).")] = "",
    as_json: output.Json = False,
) -> None:
    """Show every change of a model's aliases and the story of each refit, newest first.

    With --at: which version answered at that time, trained on which data, published and promoted by whom,
    and what was tried beside it.

    Example: yard history finance/fuel-cost --at 2026-03-01T12:00
    """
    yard = open_yard()
    if at:
        moment = read_time(at, "at")
        with suggestions(yard, model):
            found = AuditCalls(yard.connection).answering(Reference.parse(model), moment)
        if as_json:
            output.print_json(found)
        else:
            _print_answering(found)
        return
    with suggestions(yard, model):
        changes = yard.history(Reference.parse(model).model)
    if as_json:
        output.print_json(changes)
        return
    output.print_table(
        ("when", "alias", "before", "after", "by", "why"),
        [(output.when(c.at), c.alias, c.before or "-", c.after or "-", c.by, c.why) for c in changes],
    )
    for refit in story_of(yard.connection, model).refits:
        print_refit(refit)


def _print_answering(found: Answering) -> None:
    told = f"{output.when(found.promoted_at)} by {found.promoted_by}" if found.promoted_at else ""
    trial = found.trial
    output.print_facts(
        [
            ("at", output.when(found.at)),
            ("version", f"{found.model}/{found.version}"),
            ("aliases then", ", ".join(found.aliases)),
            ("promoted" if found.alias == CHAMPION else "pointed to", told),
            ("why", found.why),
            ("until", output.when(found.until) or ("now" if found.alias else "")),
            ("published", f"{output.when(found.published_at)} by {found.published_by}"),
            ("trained on", ", ".join(found.data)),
            ("lineage", ", ".join(f"{k} = {v}" for k, v in sorted(found.lineage.items()))),
            ("metrics", ", ".join(f"{k} = {v:g}" for k, v in sorted(found.metrics.items()))),
            ("content", found.digest),
            ("beside it", f"version {trial.candidate} in {trial.stage}: {trial.words}" if trial else ""),
            ("audit entries", ", ".join(str(n) for n in (found.published_entry, found.entry) if n)),
        ]
    )


def promote(ref: Ref, why: Why = "", as_json: output.Json = False) -> None:
    """Make a version the champion, which answers requests to the model.

    Example: yard promote finance/fuel-cost/2 --why "smaller error in March"
    """
    yard = open_yard()
    with suggestions(yard, ref):
        _print_change(yard.promote(ref, why), as_json=as_json)


def alias(
    ref: Ref,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The alias, as challenger.")],
    why: Why = "",
    as_json: output.Json = False,
) -> None:
    """Point an alias to a version.

    Example: yard alias finance/fuel-cost/2 challenger
    """
    yard = open_yard()
    with suggestions(yard, ref):
        _print_change(yard.alias(ref, name, why), as_json=as_json)


def rollback(model: Model, why: Why = "", as_json: output.Json = False) -> None:
    """Make the champion what it was before; again, further back.

    Example: yard rollback finance/fuel-cost --why "odd answers since noon"
    """
    yard = open_yard()
    with suggestions(yard, model):
        _print_change(yard.rollback(model, why), as_json=as_json)


def _version(yard: modelyard.Yard, ref: str) -> Version:
    found = yard.show(ref)
    if isinstance(found, Version):
        return found
    shown = yard.show(f"{found.model}/{found.champion or found.latest}")
    assert isinstance(shown, Version)  # noqa: S101 - a reference with a number is a version
    return shown


def _print_version(version: Version, signed: list[Signed], labels: list[Label]) -> None:
    bundle = version.bundle
    packages = ", ".join(f"{name} {number}" for name, number in sorted(bundle.packages.items()))
    output.print_facts(
        [
            ("version", f"{version.model}/{version.version}"),
            ("description", bundle.description),
            ("aliases", ", ".join(version.aliases)),
            ("state", f"{version.state} ({version.progress})" if version.progress else version.state),
            ("reason", version.reason),
            ("language", f"{bundle.language} {bundle.language_version}".strip()),
            ("entry", bundle.entry),
            ("form", f"{version.form}: {version.form_reason}" if version.form_reason else version.form),
            ("many rows", f"natively, from {version.native_from:,} on" if version.native_from else ""),
            ("metrics", ", ".join(f"{k} = {v:g}" for k, v in sorted(bundle.metrics.items()))),
            ("packages", packages),
            ("lineage", ", ".join(f"{k} = {v}" for k, v in sorted(bundle.lineage.items()))),
            ("published", f"{output.when(version.created_at)} by {version.created_by}"),
            ("content", f"{version.digest[:16]}…, {spans.size(version.size)}"),
            ("signed", "; ".join(map(_signed, signed)) or "by nobody"),
            ("its pickles call", _called(labels)),
        ]
    )
    output.print_table(
        ("column", "type", "missing", "values", "example"),
        _signature_rows(version),
        title="\nsignature",
    )
    if version.log:
        output.print_table(("worker's log",), [(line,) for line in version.log.splitlines()], title="\n")


def _called(labels: list[Label]) -> str:
    """In words: what is dangerous by its name, what is unknown by its number."""
    count = {level: sum(label.level == level for label in labels) for level in ("known", "unknown")}
    dangerous = sorted({f"{label.calls} (DANGEROUS)" for label in labels if label.level == "dangerous"})
    return ", ".join([*dangerous, *(f"{number} {level}" for level, number in count.items() if number)])


def _signed(signed: Signed) -> str:
    told = f"the {signed.what} by key {signed.key} on {output.when(signed.at)}"
    return told if signed.holds else f"{told}, WHICH DOES NOT HOLD: {signed.words}"


def _signature_rows(version: Version) -> Iterator[tuple[object, ...]]:
    for column in version.bundle.signature.inputs:
        yield column.name, column.type, "allowed" if column.missing else "", _values(column), column.example
    for column in version.bundle.signature.outputs:
        yield f"→ {column.name}", column.type, "", "", None


def _values(column: Column) -> str:
    named = column.levels or column.categories
    if named:
        more = f", … ({len(named)})" if len(named) > _LEVELS_SHOWN else ""
        return f"{'only' if column.levels else 'seen'} {', '.join(named[:_LEVELS_SHOWN])}{more}"
    if column.low is not None and column.high is not None:
        return f"seen {column.low:g} to {column.high:g}"
    return ""


def _print_change(change: AliasChange, *, as_json: bool) -> None:
    if as_json:
        output.print_json(change)
        return
    before = f" (before: {change.before})" if change.before else ""
    output.note(f"{change.model}@{change.alias} is version {change.after} now{before}.")
