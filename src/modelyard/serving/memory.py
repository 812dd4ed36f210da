"""What the C library does with memory that is freed."""

from __future__ import annotations

import contextlib
import ctypes

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of <malloc.h>
_KEPT = 64 * 1024 * 1024  # bytes; runtimes/python and runtimes/portable say the same in their runtime.toml
_LARGEST = 32 * 1024 * 1024  # the most that may come from the heap


def keep_freed_memory() -> None:
    """Have this process keep some of what it frees: a large request takes and frees the same megabytes again
    and again, and each time the kernel would hand out and clear every page of them.

    Where the C library is another it does nothing.
    """
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_MMAP_THRESHOLD, _LARGEST)
        mallopt(_TRIM_THRESHOLD, _KEPT)
