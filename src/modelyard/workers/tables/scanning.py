"""What a pickle would call when it is loaded, read from its instructions without carrying them out."""

from __future__ import annotations

from pathlib import Path

from picklescan import scanner

from modelyard.records.provenance import Label
from modelyard.workers.tables.tasks import Scan, Scanned

_PICKLE = b"\x80"  # how a pickle begins since protocol 2
_HOLDERS = frozenset({".pkl", ".pickle", ".joblib", ".pt", ".pth", ".ckpt", ".npy", ".npz"})
_LEVELS = {"innocuous": "known", "suspicious": "unknown", "dangerous": "dangerous"}


def scan(task: Scan) -> Scanned:
    """All that the pickles of a folder name to be called, and what picklescan thinks of each."""
    labels: list[Label] = []
    folder = Path(task.folder)
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        name = path.relative_to(folder).as_posix()
        labels += _labels(path, name)
    return Scanned(tuple(labels))


def _labels(path: Path, name: str) -> list[Label]:
    try:
        with path.open("rb") as file:
            is_pickle = file.read(1) == _PICKLE
            file.seek(0)
            if not is_pickle and path.suffix.lower() not in _HOLDERS:
                return []
            found = scanner.scan_pickle_bytes(file, name) if is_pickle else scanner.scan_file_path(str(path))
    except Exception as error:  # noqa: BLE001 - a file that cannot be followed is a finding, too
        return [Label(name, f"cannot be followed: {type(error).__name__}", "unknown")]
    called = {Label(name, f"{g.module}.{g.name}", _LEVELS[g.safety.value]) for g in found.globals}
    if found.scan_err:
        called.add(Label(name, "cannot be followed to its end", "unknown"))
    return sorted(called)
