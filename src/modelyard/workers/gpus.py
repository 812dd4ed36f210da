"""GPUs within walls: the device files, folders and variables that a process gets which asks for some.

Those of NVIDIA, whole ones. Its driver tells what is there below `/proc/driver/nvidia/gpus`, a folder for
each by its place on the bus; programs open `/dev/nvidiaMINOR` and three files that are for all of them.

Sources: the driver's README ("Frequently Asked Questions", device files), the CUDA programming guide
(`CUDA_VISIBLE_DEVICES`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from msgspec import Struct, field

_HERE = Path("/proc/driver/nvidia/gpus")
_FOR_ALL = ("/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools")
_VISIBLE, _LIBRARIES = "CUDA_VISIBLE_DEVICES", "LD_LIBRARY_PATH"
_DRIVER = "libcuda.so.1"


class Gpu(Struct, frozen=True):
    """One of this machine's: the name that no other has, and the number of its device file."""

    uuid: str
    minor: int


class Grant(Struct, frozen=True):
    """What a process gets beside all else.

    Attributes:
        devices: device files.
        read_only: folders with the driver's libraries, where those are not among the system's.
        environment: variables.
    """

    devices: tuple[str, ...] = ()
    read_only: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)


def grant(wanted: float) -> Grant:
    """What a process gets on this machine that asks for so many; nothing where there are none."""
    if not wanted:
        return Grant()
    return granted(
        wanted, gpus_at(_HERE), os.environ.get(_VISIBLE), driver_in(os.environ.get(_LIBRARIES, ""))
    )


def granted(wanted: float, here: Sequence[Gpu], visible: str | None, libraries: Sequence[str]) -> Grant:
    """What a process gets. Pure.

    How many it asked for has been counted by whoever placed it (Ray), who then names them in `visible`. Where
    nobody counts it may use all that this process may.

    Args:
        here: in the order of the bus, by which they are numbered.
        visible: this process's `CUDA_VISIBLE_DEVICES`, if it has one: numbers, or beginnings of names.
        libraries: folders of the driver.

    >>> granted(1, [Gpu("GPU-a", 0), Gpu("GPU-b", 1)], "1", []).environment
    {'CUDA_VISIBLE_DEVICES': 'GPU-b'}
    """
    chosen = list(here if visible is None else _named(visible, here))
    if not wanted or not chosen:
        return Grant()
    devices = (*_FOR_ALL, *(f"/dev/nvidia{gpu.minor}" for gpu in chosen))
    # By name, for a process that sees fewer of them counts them otherwise.
    environment = {_VISIBLE: ",".join(gpu.uuid for gpu in chosen)}
    if libraries:
        environment[_LIBRARIES] = os.pathsep.join(libraries)
    return Grant(devices, tuple(libraries), environment)


def _named(visible: str, here: Sequence[Gpu]) -> Iterator[Gpu]:
    """Those that are named, up to the first that is not here, as CUDA reads it."""
    numbers = {str(number): gpu for number, gpu in enumerate(here)}
    for word in map(str.strip, visible.split(",")):
        by_name = (gpu for gpu in here if word.startswith("GPU-") and gpu.uuid.startswith(word))
        found = numbers.get(word) or next(by_name, None)
        if found is None:
            return
        yield found


def gpus_at(folder: Path) -> list[Gpu]:
    """Those that the driver tells of, in the order of the bus; none where there is no driver."""
    texts = [file.read_text(errors="replace") for file in sorted(folder.glob("*/information"))]
    return list(filter(None, map(read_gpu, texts)))


def read_gpu(text: str) -> Gpu | None:
    r"""One, out of the driver's words on it; None where they say less than is needed.

    >>> read_gpu("Model: Tesla T4\nGPU UUID: GPU-5d\nBus Location: 0000:00:1e.0\nDevice Minor: 0\n")
    Gpu(uuid='GPU-5d', minor=0)
    """
    said = {
        key.strip(): value.strip() for key, _, value in (line.partition(":") for line in text.splitlines())
    }
    uuid, minor = said.get("GPU UUID", ""), said.get("Device Minor", "")
    return Gpu(uuid, int(minor)) if uuid.startswith("GPU-") and minor.isdecimal() else None


def driver_in(path: str) -> tuple[str, ...]:
    """The folders of a search path that have the driver's library."""
    return tuple(folder for folder in path.split(os.pathsep) if folder and (Path(folder) / _DRIVER).exists())
