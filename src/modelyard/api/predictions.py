"""Recorded predictions, as a Parquet file."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from tempfile import mkstemp
from typing import Annotated, Any

from litestar import Request, get
from litestar.di import NamedDependency
from litestar.params import QueryParameter
from litestar.response import Stream

from modelyard.api.auth import while_allowed
from modelyard.api.models import MODEL
from modelyard.api.services import Services
from modelyard.catalog.predictions import export
from modelyard.records.people import Grant, Need

_CHUNK = 1 << 20


@get(
    MODEL + "/predictions",
    opt={"need": Need.READ_DATA},
    media_type="application/vnd.apache.parquet",
    tags=["predictions"],
    summary="The recorded predictions of a model, as Parquet",
)
async def export_predictions(
    model: NamedDependency[str],
    request: Request[Any, Any, Any],
    services: NamedDependency[Services],
    grant: NamedDependency[Grant],
    since: Annotated[datetime | None, QueryParameter(description="ISO 8601; UTC if no zone")] = None,
) -> Stream:
    """All that this node has answered for the model, oldest first, a row a row asked. Inputs whose columns
    are marked in the data of the model are left out, unless you have a clearance there.
    """
    hidden = await asyncio.to_thread(services.datasets.hidden_of_model, model, grant.principal)
    path = await asyncio.to_thread(_export, services, model, since, hidden)
    return Stream(while_allowed(request, pieces(path)), media_type="application/vnd.apache.parquet")


def _export(services: Services, model: str, since: datetime | None, hidden: frozenset[str]) -> Path:
    handle, name = mkstemp(dir=services.scratch, prefix="predictions-")
    os.close(handle)
    path = Path(name)
    try:
        export(services.history, model, since, path, hidden)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return path


def pieces(path: Path) -> Iterator[bytes]:
    """The file's bytes; it is removed at once, its content goes when the last byte is read."""
    with path.open("rb") as file:
        path.unlink()
        while piece := file.read(_CHUNK):
            yield piece


HANDLERS = (export_predictions,)
