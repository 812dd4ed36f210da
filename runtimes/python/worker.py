"""The Python worker: holds one model and answers frames (contract/wire.md) on a Unix socket.

python -I worker.py --socket PATH
"""

from __future__ import annotations

import importlib
import os
import sys
import types

# A bundle may well have a models.py of its own, so the runtime's files are a package nobody else names.
_PACKAGE = "_modelyard_runtime"
_package = types.ModuleType(_PACKAGE)
_package.__path__ = [os.path.dirname(os.path.abspath(__file__))]
sys.modules[_PACKAGE] = _package
models = importlib.import_module(_PACKAGE + ".models")
service = importlib.import_module(_PACKAGE + ".service")

if __name__ == "__main__":
    service.main(models.load, "python")
