"""What a file inside a bundle may be called: decided by construction, not by a list of bad spellings."""

from __future__ import annotations

import unicodedata

from modelyard.records.errors import InvalidError
from modelyard.records.references import shown

MAX_PATH = 1_024  # bytes
MAX_PART = 255  # bytes: what file systems hold
MAX_DEPTH = 32
_UNSEEN = frozenset(
    {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
)  # control, format (right-to-left …), unassigned


def check_path(path: str) -> str:
    """The path itself if it is a plain relative one: parts between single slashes, none of them `.` or `..`.

    Raises:
        InvalidError: it is not; the message says why.

    >>> check_path("environment/requirements.txt")
    'environment/requirements.txt'
    """
    parts = path.split("/")
    wrong = ""
    if path.startswith("/"):
        wrong = "is absolute"
    elif ".." in parts:
        wrong = "leads outside the bundle"
    elif "" in parts or "." in parts:
        wrong = "has an empty part or '.' in it"
    elif "\\" in path or any(unicodedata.category(c) in _UNSEEN for c in path):
        wrong = "has a backslash or a character that cannot be seen"
    elif len(path.encode()) > MAX_PATH or len(parts) > MAX_DEPTH:
        wrong = f"is longer than {MAX_PATH} bytes or deeper than {MAX_DEPTH} folders"
    elif any(len(part.encode()) > MAX_PART for part in parts):
        wrong = f"has a part longer than {MAX_PART} bytes"
    if wrong:
        raise InvalidError(
            f"The file name {shown(path)} {wrong}.", "Rename it before publishing.", field="path"
        )
    return path


class Names:
    """The names of a bundle so far: each once, and none that differs from another only in its spelling."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[str, bool]] = {}

    def add(self, path: str, *, is_file: bool) -> None:
        """Take a checked path; a folder may come again, a file may not.

        Raises:
            InvalidError: a file of this name is there, a folder where a file is to be or the other way round,
                or one that differs in case or in the form of its letters alone.
        """
        parts = path.split("/")
        for count in range(1, len(parts) + 1):
            self._take("/".join(parts[:count]), is_file=is_file and count == len(parts))

    def _take(self, path: str, *, is_file: bool) -> None:
        key = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", path).casefold())
        if key not in self._seen:
            self._seen[key] = (path, is_file)
            return
        other, other_is_file = self._seen[key]
        if other != path:
            wrong = f"differs from {shown(other)} only in case or in the form of its letters"
        elif is_file and other_is_file:
            wrong = "is twice in the archive"
        elif is_file or other_is_file:
            wrong = "is both a file and a folder in the archive"
        else:
            return
        raise InvalidError(f"The name {shown(path)} {wrong}.", "Rename or remove one of them.", field="path")
