"""Makes a portable form of a model's numbers (contract/numbers.md), once: a process of its own, within walls.

    python -I -B build.py FOLDER        (the question: a line of JSON on standard input)

FOLDER has `numbers.frames`, which another process wrote that ran the model's code: nothing in it is trusted.
It gets `model.onnx`, `portable.json` and `hints.json`, as the Python converter leaves them, or `refused.txt`
with the reason, and then the exit code is 3. The question has `inputs`: name, type, missing, levels of each.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import types

REFUSED = 3
_PACKAGE = "_modelyard_runtime"
_own = os.path.dirname(os.path.abspath(__file__))
_package = types.ModuleType(_PACKAGE)
_package.__path__ = [_own, os.path.join(os.path.dirname(_own), "python")]
sys.modules[_PACKAGE] = _package
_WORDS = 500  # characters of a reason


def main() -> int:
    """Build; the exit code."""
    folder = sys.argv[-1]
    inputs = json.loads(sys.stdin.readline())["inputs"]
    numbers = importlib.import_module(_PACKAGE + ".numbers")
    expressed = importlib.import_module(_PACKAGE + ".expressed")
    try:
        onnx, told, thresholds = expressed.build(numbers.read(os.path.join(folder, "numbers.frames")), inputs)
    except numbers.NumbersError as error:
        _write(folder, "refused.txt", f"its numbers make no portable form: {error}"[:_WORDS].encode())
        return REFUSED
    _write(folder, "model.onnx", onnx)
    _write(folder, "portable.json", json.dumps(told).encode())
    _write(folder, "hints.json", json.dumps({"thresholds": thresholds}).encode())
    return 0


def _write(folder: str, name: str, data: bytes) -> None:
    with open(os.path.join(folder, name), "wb") as file:
        file.write(data)


if __name__ == "__main__":
    sys.exit(main())
