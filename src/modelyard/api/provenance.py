"""Who vouches for a version, and the keys that the yard signs with."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Annotated

from litestar import get, post
from litestar.di import NamedDependency
from litestar.params import JSONBody
from msgspec import Meta, Struct

from modelyard.api.models import SEE
from modelyard.api.services import Services
from modelyard.api.versions import VERSIONS
from modelyard.records.people import Grant, Need
from modelyard.records.provenance import Key, Label, Signed
from modelyard.records.references import Reference

_KEYS = "/api/v1/keys"


class Sign(Struct, frozen=True, forbid_unknown_fields=True):
    """A version to sign as it is now."""

    model: Annotated[str, Meta(max_length=127, examples=["finance/fuel-cost"])]
    version: Annotated[int, Meta(ge=1, le=999_999_999, examples=[3])]


class Nothing(Struct, frozen=True, forbid_unknown_fields=True):
    """Nothing is said."""


@get(VERSIONS + "/{version:str}/provenance", opt=SEE, tags=["versions"], summary="Who signed a version")
async def version_provenance(
    model: NamedDependency[str], number: NamedDependency[int], services: NamedDependency[Services]
) -> list[Signed]:
    """The signature over its bundle as published, and over its portable form if it has one. `holds` is
    false where it is not what was signed: then it is not loaded.
    """

    def look() -> list[Signed]:
        return services.registry.provenance.signed(services.registry.version(model, number))

    return await asyncio.to_thread(look)


@get(VERSIONS + "/{version:str}/scan", opt=SEE, tags=["versions"], summary="What a version's pickles call")
async def version_scan(
    model: NamedDependency[str], number: NamedDependency[int], services: NamedDependency[Services]
) -> list[Label]:
    """Read from their instructions, in a process apart, without loading them. It is a label and no wall:
    what a pickle calls is told apart by names, and names can deceive. Models run within walls in any case.
    """

    def look() -> list[Label]:
        return list(services.registry.scans.labels(services.registry.files(model, number)))

    return await asyncio.to_thread(look)


@get(_KEYS, opt={"need": Need.OVERSEE}, tags=["yard"], summary="The public keys that the yard signs with")
async def list_keys(services: NamedDependency[Services]) -> list[Key]:
    """Oldest first; the last one signs, signatures of all of them hold."""
    return await asyncio.to_thread(services.registry.provenance.keys)


@post(
    _KEYS + "/rotate",
    opt={"need": Need.ADMINISTER},
    status_code=200,
    tags=["yard"],
    summary="Make a new key",
)
async def rotate_keys(
    data: JSONBody[Nothing],  # noqa: ARG001 - so that a body with anything in it is refused
    services: NamedDependency[Services],
    grant: NamedDependency[Grant],
) -> list[Key]:
    """It signs versions and seals secrets from now on; what older keys signed and sealed stays good."""
    return await asyncio.to_thread(partial(services.registry.provenance.rotate, by=grant.principal))


@post(
    _KEYS + "/sign", opt={"need": Need.ADMINISTER}, status_code=200, tags=["yard"], summary="Sign a version"
)
async def sign_version(
    data: JSONBody[Sign], services: NamedDependency[Services], grant: NamedDependency[Grant]
) -> list[Signed]:
    """As it is now, after a key was lost: only where you know that it is what it was. The audit says who."""
    model = Reference.parse(data.model).model
    sign = partial(services.registry.provenance.sign_anew, model, data.version, by=grant.principal)
    return await asyncio.to_thread(sign)


HANDLERS = (version_provenance, version_scan, list_keys, rotate_keys, sign_version)
