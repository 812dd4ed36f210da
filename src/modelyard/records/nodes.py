"""Nodes of a yard: what each says of itself, and what is to be thought of it. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from enum import StrEnum

from msgspec import Struct

from modelyard.records.conditions import Condition, room
from modelyard.records.spans import span

BEAT_EVERY = 5.0  # seconds
DEAD_AFTER = timedelta(seconds=20)  # three beats may be missed
FORGOTTEN_AFTER = timedelta(days=7)
_CLOCK_OFF = 5.0  # seconds by which a clock may be wrong without a word
_WRONG_TIMES = "what it records gets wrong times, and tokens end at another time than they should."
_DEAD = (
    "Start it again. What it had recorded and not shipped is in its data folder, and follows then. "
    "If it is gone for good: yard nodes forget {}."
)
APART = (
    "Stop the other one. If this one is to be a yard of its own from now on: YARD_APART=true yard up. If "
    "both are nodes of one yard, each needs a data folder of its own."
)


class NodeState(StrEnum):
    """Whether a node lives: it beats; it went down as it should; or it fell silent."""

    UP = "up"
    STOPPED = "stopped"
    DEAD = "dead"


class Heard(Struct, frozen=True, kw_only=True):
    """A node as the database knows it; all times are by the database's clock.

    Attributes:
        id: random, kept in the node's data folder.
        boot: of its engine, random: two that beat under one id are told apart.
        address: where it listens, as `http://10.0.0.5:8080`.
        former: the address before this one, or empty.
        release: of the software.
        beat: grows by one each time it is heard of.
        clock_off: seconds by which its clock is ahead.
        stopped: it went down as it should.
        condition: what it told of its machine last; None if it has not yet.
    """

    id: str
    boot: str
    address: str
    former: str
    release: str
    started_at: datetime
    seen_at: datetime
    beat: int
    clock_off: float
    stopped: bool
    condition: Condition | None = None

    def state(self, now: datetime) -> NodeState:
        """Whether it lives."""
        if self.stopped:
            return NodeState.STOPPED
        return NodeState.UP if now - self.seen_at < DEAD_AFTER else NodeState.DEAD


class Node(Struct, frozen=True, kw_only=True):
    """A node as it is listed.

    Attributes:
        here: it is the one that answers.
        words: what is wrong with it, in sentences; empty if nothing is.
        hint: what to do about it.
        condition: what it told of its machine last; None of one that does not live, or has not told yet.
        room: how much more it could carry, in a sentence; empty where that is not known.
    """

    id: str
    address: str
    release: str
    state: NodeState
    here: bool
    started_at: datetime
    seen_at: datetime
    clock_off: float
    words: str = ""
    hint: str = ""
    condition: Condition | None = None
    room: str = ""


class Pulse(Struct, frozen=True):
    """What a node says of itself to whoever asks: its id and the number of its last beat.

    A copy of the yard (a restored backup, say) that asks knows by it that the original lives: there the
    number has grown beyond the one in the copy's own records.

    Attributes:
        trouble: why this node does nothing by itself at the moment; empty if it does.
    """

    node: str
    beat: int
    trouble: str = ""


def listed(heard: Iterable[Heard], now: datetime, here: str, trouble: str = "") -> list[Node]:
    """The nodes with what is to be thought of them, by address.

    Args:
        now: by the database's clock.
        here: the id of the node that answers, and
        trouble: why it does nothing by itself, if so.
    """
    known = list(heard)
    newest = max((h for h in known if h.state(now) is NodeState.UP), key=_age, default=None)
    found = []
    for one in known:
        words, hint = (trouble, APART) if trouble and one.id == here else _thought(one, now, newest)
        told = one.condition if one.state(now) is NodeState.UP else None
        found.append(
            Node(
                id=one.id,
                address=one.address,
                release=one.release,
                state=one.state(now),
                here=one.id == here,
                started_at=one.started_at,
                seen_at=one.seen_at,
                clock_off=round(one.clock_off, 3),
                words=words,
                hint=hint,
                condition=told,
                room=room(told) if told else "",
            )
        )
    return sorted(found, key=lambda node: node.address)


def _age(heard: Heard) -> datetime:
    return heard.started_at


def _thought(one: Heard, now: datetime, newest: Heard | None) -> tuple[str, str]:
    state = one.state(now)
    if state is NodeState.STOPPED:
        return "", ""
    if state is NodeState.DEAD:
        silent = span((now - one.seen_at).total_seconds())
        words = f"It was not heard of for {silent}. What it was doing goes on elsewhere."
        return words, _DEAD.format(one.id)
    if abs(one.clock_off) > _CLOCK_OFF:
        side = "ahead of" if one.clock_off > 0 else "behind"
        words = f"Its clock is {span(abs(one.clock_off))} {side} the database's: {_WRONG_TIMES}"
        return words, "Have the machine keep its time: timedatectl set-ntp true."
    if newest is not None and one.release != newest.release:
        return (
            f"It runs {one.release}, and {newest.address} runs {newest.release}.",
            "Finish the upgrade: start the newer release on each node.",
        )
    return "", ""
