"""The filter of calls, run by a small machine of our own, as the kernel runs it."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.workers.seccomp import MACHINES, Machine, program

ALLOW, KILL, EPERM, ENOSYS, NO_FAMILY = 0x7FFF0000, 0x80000000, 0x00050001, 0x00050026, 0x00050061
X86 = MACHINES["x86_64"]


def verdict(machine: Machine, number: int, first: int = 0, second: int = 0, audit: int | None = None) -> int:
    """What the filter says to a call: seccomp(2) has the layout of what it looks at."""
    data = struct.pack("<IIQQQ", number, machine.audit if audit is None else audit, 0, first, second)
    code: list[tuple[int, int, int, int]] = list(struct.iter_unpack("<HBBI", program(machine)))
    at, accumulator = 0, 0
    while True:
        kind, yes, no, value = code[at]
        at += 1
        if kind == 0x06:
            return value
        if kind == 0x20:
            (accumulator,) = struct.unpack_from("<I", data, value)
            continue
        holds = {0x15: accumulator == value, 0x25: accumulator > value, 0x45: bool(accumulator & value)}[kind]
        at += yes if holds else no


@pytest.mark.parametrize("name", MACHINES)
def test_each_refused_call_is_refused_and_the_rest_goes_on(name: str) -> None:
    machine = MACHINES[name]
    special = {machine.clone3, machine.socket}
    for number in range(500):
        said = verdict(machine, number)
        due = EPERM if number in machine.refused else ALLOW
        assert said == due or number in special, number
    assert verdict(machine, machine.clone3) == ENOSYS


@pytest.mark.parametrize(
    ("call", "first", "second", "due"),
    [
        (X86.clone, 17, 0, ALLOW),
        (X86.clone, 0x10000011, 0, EPERM),
        (X86.ioctl, 0, 0x5401, ALLOW),
        (X86.ioctl, 0, 0x5412, EPERM),
        (X86.socket, 1, 0, ALLOW),
        (X86.socket, 2, 0, ALLOW),
        (X86.socket, 38, 0, NO_FAMILY),
        (X86.socket, 40, 0, NO_FAMILY),
    ],
)
def test_arguments_are_looked_at(call: int, first: int, second: int, due: int) -> None:
    assert verdict(X86, call, first, second) == due


@given(st.integers(0x40000000, 0xFFFFFFFF))
def test_a_call_by_another_way_of_counting_is_unknown(number: int) -> None:
    assert verdict(X86, number) == ENOSYS


@given(st.integers(0, 0xFFFFFFFF).filter(lambda audit: audit != X86.audit), st.integers(0, 500))
def test_a_call_of_another_architecture_ends_the_process(audit: int, number: int) -> None:
    assert verdict(X86, number, audit=audit) == KILL
