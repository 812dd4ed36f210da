"""The portable worker: answers frames (contract/wire.md) with a model that is data alone, by onnxruntime.

    python -I worker.py --socket PATH

It runs in the server's own interpreter and needs numpy and onnxruntime; no model's code is in it. Codec,
socket and verbs are those of the Python runtime, loaded from its folder: a copy would have to be kept equal.
"""

from __future__ import annotations

import importlib
import os
import sys
import types

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # before onnxruntime is imported, however this was started

_PACKAGE = "_modelyard_runtime"
_own = os.path.dirname(os.path.abspath(__file__))
_package = types.ModuleType(_PACKAGE)
_package.__path__ = [_own, os.path.join(os.path.dirname(_own), "python")]
sys.modules[_PACKAGE] = _package
portable = importlib.import_module(_PACKAGE + ".portable")
service = importlib.import_module(_PACKAGE + ".service")

if __name__ == "__main__":
    service.main(portable.load, "portable")
