"""Stylesheet, scripts and icons: read once, compressed once, kept by browsers for ever under their digest."""

from __future__ import annotations

import gzip
import hashlib
from functools import cache
from pathlib import Path

from litestar import Response, get
from litestar.params import FromPath
from msgspec import Struct

from modelyard.records.errors import NotFoundError
from modelyard.records.people import Need
from modelyard.web.requests import PageRequest

_FOLDER = Path(__file__).parent / "static"
_KINDS = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}
_FOR_EVER = "public, max-age=31536000, immutable"


class Asset(Struct, frozen=True):
    """One static file, as it is and compressed."""

    kind: str
    plain: bytes
    packed: bytes


@cache
def assets() -> dict[str, Asset]:
    """All static files by name."""
    return {
        path.name: Asset(_KINDS[path.suffix], data, gzip.compress(data, 9, mtime=0))
        for path in sorted(_FOLDER.rglob("*"))
        if path.is_file()
        for data in (path.read_bytes(),)
    }


@cache
def digest() -> str:
    """Changes when any of them does."""
    whole = hashlib.sha256()
    for name, asset in assets().items():
        whole.update(name.encode() + b"\0" + asset.plain)
    return whole.hexdigest()[:12]


def address(name: str) -> str:
    """Where a static file is found."""
    return f"/static/{digest()}/{name}"


@get("/static/{mark:str}/{file:str}", opt={"need": Need.NOTHING})
async def static(mark: FromPath[str], file: FromPath[str], request: PageRequest) -> Response[bytes]:
    """A static file; of another release the one of today, which is then not kept."""
    asset = assets().get(file)
    if asset is None:
        raise NotFoundError("There is no such file.", "Reload the page.")
    packs = request.takes_gzip
    headers = {"Vary": "Accept-Encoding"}
    headers |= {"Cache-Control": _FOR_EVER} if mark == digest() else {}
    headers |= {"Content-Encoding": "gzip"} if packs else {}
    return Response(asset.packed if packs else asset.plain, media_type=asset.kind, headers=headers)


HANDLERS = (static,)
