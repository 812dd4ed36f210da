"""`python -m modelyard.cli` is `yard`."""

from __future__ import annotations

from modelyard.cli.main import run

run()
