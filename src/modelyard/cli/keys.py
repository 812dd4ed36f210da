"""The keys that the yard signs versions with."""

from __future__ import annotations

import typer

from modelyard.cli import output
from modelyard.cli.key_calls import KeyCalls
from modelyard.cli.models import Ref
from modelyard.cli.sdk import open_yard
from modelyard.records.errors import InvalidError
from modelyard.records.provenance import Key
from modelyard.records.references import Reference

app = typer.Typer(help="The keys that the yard signs with.", no_args_is_help=True)


@app.command(name="list")
def list_keys(as_json: output.Json = False) -> None:
    """Show the public keys, oldest first: the last one signs.

    Example: yard keys list
    """
    _print(KeyCalls(open_yard().connection).keys(), as_json=as_json)


@app.command()
def rotate(as_json: output.Json = False) -> None:
    """Make a new key: it signs versions and seals secrets from now on. Older ones stay good.

    Example: yard keys rotate
    """
    _print(KeyCalls(open_yard().connection).rotate(), as_json=as_json)


@app.command()
def sign(ref: Ref, as_json: output.Json = False) -> None:
    """Sign a version as it is now, after a key was lost: only where you know that it is what it was.

    Example: yard keys sign finance/fuel-cost/7
    """
    at = Reference.parse(ref)
    if at.version is None:
        raise InvalidError("Only a version can be signed.", "Write department/name/7.", field="reference")
    found = KeyCalls(open_yard().connection).sign(at.model, at.version)
    if as_json:
        output.print_json(found)
        return
    for signed in found:
        output.note(f"The {signed.what} of {at} is signed by key {signed.key}.")


def _print(keys: list[Key], *, as_json: bool) -> None:
    if as_json:
        output.print_json(keys)
        return
    output.print_table(
        ("key", "public (Ed25519)", "signs"), [(k.id, k.public, k.signs or None) for k in keys]
    )
