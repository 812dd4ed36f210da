"""The kernel's calls that code within walls may not make: a seccomp filter, on top of the walls.

A list of what is refused, not of what is allowed: it narrows what a fault of the kernel could be reached
through, while R, Julia and numeric libraries go on working. What keeps secrets safe are the walls. The calls
are those that container runtimes refuse without capabilities: other namespaces and mounts, keys, tracing of
processes, programs for the kernel, its clock, modules and accounting; also sockets of unusual families.

Sources: seccomp(2), the kernel's `linux/filter.h` and `linux/seccomp.h`; numbers of calls from `syscalls(2)`.
"""

from __future__ import annotations

import os
import platform
import struct
from functools import cache

from msgspec import Struct

# Classic BPF: load a word, compare with a constant, return.
_LOAD, _EQUAL, _GREATER, _ANY_BIT, _RETURN = 0x20, 0x15, 0x25, 0x45, 0x06
_INSTRUCTION = struct.Struct("<HBBI")
_NUMBER, _ARCHITECTURE, _FIRST, _SECOND = 0, 4, 16, 24  # offsets in `struct seccomp_data`
_ALLOW, _KILL, _ERROR = 0x7FFF0000, 0x80000000, 0x00050000
_EPERM, _ENOSYS, _EAFNOSUPPORT = 1, 38, 97

_NAMESPACES = 0x7E020000  # CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET
_INTO_TERMINAL = (0x5412, 0x541C)  # ioctls TIOCSTI, TIOCLINUX: type into who looks on
_FAMILIES = (1, 2, 10, 16)  # unix, internet, internet 6, and netlink, by which libraries list addresses


class Machine(Struct, frozen=True):
    """A kind of processor: its number for audit, and those of the calls.

    Attributes:
        highest: of the numbers of calls; those above belong to another way of calling (x32).
    """

    audit: int
    highest: int
    clone: int
    clone3: int
    ioctl: int
    socket: int
    refused: tuple[int, ...]


_EVERYWHERE = (*range(425, 434), 442)  # io_uring and new ways to mount
MACHINES = {
    "x86_64": Machine(
        audit=0xC000003E,
        highest=0x3FFFFFFF,
        clone=56,
        clone3=435,
        ioctl=16,
        socket=41,
        refused=(
            *(101, 310, 311, 312),  # ptrace, process_vm_readv and _writev, kcmp
            *(155, 161, 165, 166, 272, 308),  # pivot_root, chroot, mount, umount2, unshare, setns
            *(
                103,
                134,
                136,
                139,
                156,
                163,
                169,
                179,
            ),  # syslog, uselib, ustat, sysfs, sysctl, acct, reboot, quotactl
            *(164, 159, 227, 305, 167, 168),  # the clock is nobody's here; swap
            *(172, 173, 174, 175, 176, 177, 178, 180, 212, 246, 313, 320),  # ports, modules, kexec
            *(248, 249, 250, 298, 303, 304, 321, 323),  # keys, perf, file handles, bpf, userfaultfd
            *(256, 279),  # moving memory between nodes of the machine
            *_EVERYWHERE,
        ),
    ),
    "aarch64": Machine(
        audit=0xC00000B7,
        highest=0x3FFFFFFF,
        clone=220,
        clone3=435,
        ioctl=29,
        socket=198,
        refused=(
            *(117, 270, 271, 272),
            *(41, 51, 40, 39, 97, 268),
            *(116, 89, 142, 60),
            *(170, 112, 171, 266, 224, 225),
            *(105, 106, 104, 273, 294),
            *(217, 218, 219, 241, 264, 265, 280, 282),
            *(238, 239),
            *_EVERYWHERE,
        ),
    ),
}


def program(machine: Machine) -> bytes:
    """The filter, as bubblewrap takes it: instructions of classic BPF, eight bytes each.

    A call of another architecture ends the process; `clone3` is said to be unknown, for its flags lie in
    memory where no filter sees them, and the C library then uses `clone`.
    """
    code = [(_LOAD, 0, 0, _ARCHITECTURE), (_EQUAL, 1, 0, machine.audit), (_RETURN, 0, 0, _KILL)]
    code += [(_LOAD, 0, 0, _NUMBER), (_GREATER, 0, 1, machine.highest), _fails(_ENOSYS)]
    for number in sorted(machine.refused):
        code += [(_EQUAL, 0, 1, number), _fails(_EPERM)]
    code += [(_EQUAL, 0, 1, machine.clone3), _fails(_ENOSYS)]
    flags = [(_LOAD, 0, 0, _FIRST), (_ANY_BIT, 0, 1, _NAMESPACES), _fails(_EPERM)]
    code += _where(machine.clone, flags)
    asked = [(_LOAD, 0, 0, _SECOND)]
    for command in _INTO_TERMINAL:
        asked += [(_EQUAL, 0, 1, command), _fails(_EPERM)]
    code += _where(machine.ioctl, asked)
    families = [(_LOAD, 0, 0, _FIRST)]
    for family in _FAMILIES:
        families += [(_EQUAL, 0, 1, family), (_RETURN, 0, 0, _ALLOW)]
    code += _where(machine.socket, [*families, _fails(_EAFNOSUPPORT)])
    code.append((_RETURN, 0, 0, _ALLOW))
    return b"".join(_INSTRUCTION.pack(*instruction) for instruction in code)


def _fails(error: int) -> tuple[int, int, int, int]:
    return (_RETURN, 0, 0, _ERROR | error)


def _where(number: int, then: list[tuple[int, int, int, int]]) -> list[tuple[int, int, int, int]]:
    """Look at a call's arguments if it is this one, and be done with it."""
    body = [*then, (_RETURN, 0, 0, _ALLOW)]
    return [(_EQUAL, 0, len(body), number), *body]


@cache
def filter_path() -> str:
    """A file with the filter for this machine, for as long as this process lives; "" on an unknown one.

    It lies in memory: a child of this process opens it by the number it has here.
    """
    machine = MACHINES.get(platform.machine())
    if machine is None:
        return ""
    handle = os.memfd_create("seccomp")
    os.write(handle, program(machine))
    return f"/proc/{os.getpid()}/fd/{handle}"
