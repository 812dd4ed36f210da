"""Writes docs/images/demo.svg: the end of a real `yard demo`, as a terminal shows it.

Run it with `python3.11 -m tools.setup run python -m tools.picture`.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

_PICTURE = Path(__file__).parents[1] / "docs/images/demo.svg"
_WIDTH = 92
_BEGINS, _ENDS = "Live on flights", "No request failed"


def main() -> int:
    """Play the demo, keep its table, write the picture."""
    with tempfile.TemporaryDirectory(prefix="yard-demo-") as folder:
        command = ["yard", "demo", "--stop", "--port", "8099", "--data", folder]
        env = {**os.environ, "FORCE_COLOR": "1", "COLUMNS": str(_WIDTH)}
        done = subprocess.run(command, env=env, stdout=subprocess.PIPE, text=True, check=True)
    text = Text.from_ansi(done.stdout[done.stdout.index(_BEGINS) :])
    end = text.plain.index("\n", text.plain.index(_ENDS))
    console = Console(record=True, width=_WIDTH, file=open(os.devnull, "w"))  # noqa: SIM115, PTH123
    console.print("[bold green]$[/] make demo\n…\n")
    console.print(text[:end])
    _PICTURE.parent.mkdir(parents=True, exist_ok=True)
    picture = console.export_svg(title="Modelyard")
    # Rich names fonts on somebody's server; a picture must not ask the network for anything.
    _PICTURE.write_text(re.sub(r"@font-face \{.*?\}\s*", "", picture, flags=re.DOTALL))
    return 0


if __name__ == "__main__":
    sys.exit(main())
