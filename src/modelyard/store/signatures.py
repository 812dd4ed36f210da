"""Signatures of versions, one for each thing that is signed."""

from __future__ import annotations

from sqlalchemy import Connection, and_, delete, func, insert, select

from modelyard.records.provenance import Signed, What
from modelyard.store.schema import version_signatures as signatures
from modelyard.store.schema import versions


def put(connection: Connection, model: str, number: int, signed: Signed) -> None:
    """Keep a signature in place of the one before."""
    own = and_(signatures.c.model == model, signatures.c.version == number)
    connection.execute(delete(signatures).where(own, signatures.c.what == signed.what))
    row = {name: getattr(signed, name) for name in ("what", "digest", "key", "signature", "at")}
    connection.execute(insert(signatures), row | {"model": model, "version": number})


def get(connection: Connection, model: str, number: int) -> dict[What, Signed]:
    """The signatures of a version, by what they are over."""
    own = and_(signatures.c.model == model, signatures.c.version == number)
    found = (
        Signed(What(row.what), row.digest, row.key, row.signature, row.at)
        for row in connection.execute(select(signatures).where(own))
    )
    return {signed.what: signed for signed in found}


def any_there(connection: Connection) -> bool:
    """Whether anything was ever signed here."""
    return bool(connection.execute(select(func.count()).select_from(signatures)).scalar_one())


def all_versions(connection: Connection) -> list[tuple[str, int]]:
    """Model and number of every version."""
    rows = connection.execute(select(versions.c.model, versions.c.version))
    return sorted((row.model, row.version) for row in rows)
