"""The file `ray.toml`, read."""

from __future__ import annotations

from pathlib import Path

from modelyard.records.clusters import Clusters, parse_clusters
from modelyard.records.errors import InvalidError


def read_clusters(path: Path) -> Clusters:
    """The clusters that a file names.

    Raises:
        InvalidError: it cannot be read, or says what means nothing.
    """
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidError(
            f"The file of Ray clusters {path} cannot be read: {error}.",
            "Write it as docs/ray.md shows, or name another with YARD_RAY.",
        ) from error
    return parse_clusters(text, str(path))
