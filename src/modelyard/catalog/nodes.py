"""The nodes of a yard: each says that it lives, and what one that died held goes to the others."""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import msgspec

from modelyard.records.audit import YARD
from modelyard.records.conditions import Condition
from modelyard.records.errors import NotFoundError
from modelyard.records.nodes import FORGOTTEN_AFTER, Heard, Node, NodeState, Pulse, listed
from modelyard.store import audit, duties, nodes
from modelyard.store.database import Database, clock

log = logging.getLogger(__name__)

_NOT_YET = Pulse("", -1)
_PULSE = msgspec.json.Decoder(Pulse)
_SIGN = "a sign of life"


class Nodes:
    """The nodes as one of them sees them.

    Args:
        here: the id of this node.
        file: where its engine writes its pulse, for its fronts to tell who asks.
    """

    def __init__(self, database: Database, here: str, file: Path) -> None:
        self._database = database
        self.here = here
        self._file = file

    def listed(self) -> list[Node]:
        """All nodes, by address, each with what is wrong with it."""
        with self._database.read() as connection:
            heard, now = nodes.every(connection), clock(connection)
        return listed(heard, now, self.here, self.pulse().trouble)

    def forget(self, node_id: str, *, by: str) -> None:
        """Let go of a node that will not come back.

        Raises:
            NotFoundError: there is none of that id. One that lives is there again at once.
        """
        with self._database.write() as connection:
            known = nodes.get(connection, node_id)
            if known is None:
                raise NotFoundError("There is no node of that id.", "See which there are: yard nodes.")
            duties.release(connection, None, node_id, clock(connection))
            nodes.forget(connection, node_id)
            audit.append(
                connection, by=by, action="node.forget", subject=YARD, before={"node": known.address}
            )

    def part(self) -> None:
        """Forget all nodes: this is a copy that shall be a yard of its own."""
        with self._database.write() as connection:
            count = nodes.forget_all(connection)
            audit.append(connection, by=YARD, action="yard.part", subject=YARD, after={"nodes": count})

    def pulse(self) -> Pulse:
        """What this node's engine has said of itself last; the beat is -1 if it has not."""
        with suppress(OSError, msgspec.MsgspecError):
            return _PULSE.decode(self._file.read_bytes())
        return _NOT_YET

    # What the node's engine does

    def known(self) -> tuple[list[Heard], datetime]:
        """All nodes as the database knows them, and what time it is by its clock."""
        with self._database.read() as connection:
            return nodes.every(connection), clock(connection)

    def enter(self, boot: str, address: str, release: str) -> None:
        """Say that this node's engine has started."""
        with self._database.write(unaudited=_SIGN) as connection:
            now = clock(connection)
            node = Heard(
                id=self.here,
                boot=boot,
                address=address,
                former="",
                release=release,
                started_at=now,
                seen_at=now,
                beat=0,
                clock_off=0.0,
                stopped=False,
            )
            nodes.enter(connection, node)

    def beat(self, boot: str, clock_off: float) -> int | None:
        """Say that it lives; the number of that beat, None if another engine beats under this node's id."""
        with self._database.write(unaudited=_SIGN) as connection:
            return nodes.beat(connection, self.here, boot, clock_off)

    def say(self, condition: Condition) -> None:
        """Say how this node's machine is."""
        with self._database.write(unaudited=_SIGN) as connection:
            nodes.tell(connection, self.here, condition)

    def is_silent(self, node_id: str) -> bool:
        """Whether nobody beats under this id at the moment."""
        with self._database.read() as connection:
            known = nodes.get(connection, node_id)
            return known is None or known.state(clock(connection)) is not NodeState.UP

    def leave(self, boot: str) -> None:
        """Say that it goes down as it should."""
        with self._database.write(unaudited=_SIGN) as connection:
            nodes.leave(connection, self.here, boot)

    def bury(self) -> list[Heard]:
        """Have what nodes that died held go to the others; those that held something."""
        with self._database.read() as connection:
            now, holders = clock(connection), duties.holders(connection)
            heard = nodes.every(connection)
        dead = [h for h in heard if h.state(now) is NodeState.DEAD and h.id in holders and h.id != self.here]
        for node in dead:
            with self._database.write(unaudited="leases run out by themselves, too") as connection:
                again = nodes.get(connection, node.id)
                if again is not None and again.beat == node.beat:
                    duties.release(connection, None, node.id, now)
        if any(now - h.seen_at > FORGOTTEN_AFTER for h in heard):
            with self._database.write(unaudited=_SIGN) as connection:
                nodes.forget_older(connection, now - FORGOTTEN_AFTER)
        return dead

    def time(self) -> datetime:
        """What time it is by the database's clock."""
        with self._database.read() as connection:
            return clock(connection)

    def tell(self, pulse: Pulse) -> None:
        """Write the pulse down for the fronts."""
        new = self._file.with_suffix(f".{os.getpid()}")
        new.write_bytes(msgspec.json.encode(pulse))
        new.replace(self._file)
