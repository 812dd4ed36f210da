"""Makes bundles and archives for tests, good and bad."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping

from modelyard.records.signatures import Column, ColumnType, Signature

TAR = "application/x-tar"
DESCRIPTION = """\
format = 1
language = "r"
language_version = "4.2.2"
entry = "model.rds"
description = "what fuel costs"

[metrics]
mae = 12.1

[[signature.inputs]]
name = "distance"
type = "float64"
low = 80.0
high = 4983.0
"""
SIGNATURE = Signature(
    (Column("distance", ColumnType.FLOAT64, low=80.0, high=4983.0),),
    (Column("prediction", ColumnType.FLOAT64),),
)


def bundle_files(model: bytes = b"a fitted model") -> dict[str, bytes]:
    """The files of a bundle that is accepted; the content follows the model's bytes."""
    return {"yardbundle.toml": DESCRIPTION.encode(), "model.rds": model, "example.csv": b"distance\n1400\n"}


def tar_of(files: Mapping[str, bytes], mode: str = "w") -> bytes:
    """A tar (or with mode "w:gz" a .tar.gz) of these files, as Python's own tarfile writes it."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as tar:  # type: ignore[call-overload] # mode is a plain str here
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return out.getvalue()


def bundle_tar(model: bytes = b"a fitted model") -> bytes:
    """The tar of `bundle_files`."""
    return tar_of(bundle_files(model))
