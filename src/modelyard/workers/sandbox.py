"""What a worker may use of the machine: limits that hold from its first instruction.

The walls (bubblewrap: no network, own uid, read-only files) come with contained models; these limits keep a
model that allocates, prints or opens without end from taking the machine with it.
"""

from __future__ import annotations

import shutil
from functools import cache

_OPEN_FILES = 4096
_FILE_BYTES = 256 * 1024 * 1024  # also the most a worker can write to its log between two sweeps


@cache
def _prlimit() -> str | None:
    return shutil.which("prlimit")


def limited(command: list[str], memory: int) -> list[str]:
    """The command, started under limits where the machine has `prlimit` (util-linux).

    Args:
        command: program and arguments.
        memory: bytes of private writable memory (RLIMIT_DATA).
    """
    program = _prlimit()
    if program is None:
        return command
    limits = ["--core=0", f"--nofile={_OPEN_FILES}", f"--fsize={_FILE_BYTES}", f"--data={memory}"]
    return [program, *limits, "--", *command]
