"""Leases on work that the nodes find for themselves, as checks of new versions: one node does it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import datetime, timedelta

from modelyard.records.errors import UnavailableError
from modelyard.store import duties
from modelyard.store.database import Database
from modelyard.store.duties import Duty, LostLeaseError

Hold = Callable[[str, str], AbstractContextManager[bool]]

_LEASE = timedelta(seconds=60)
_EXTEND_EVERY = 15.0  # seconds; three may be missed
_UNAUDITED = "leases: what is done under one tells itself"


class Leases:
    """Leases of one node.

    Args:
        node: its id; what it held in an earlier life it may take again at once.
        clock: what time it is; all nodes must agree on it.
        may_act: whether this node may do anything by itself at the moment.
    """

    def __init__(
        self,
        database: Database,
        node: str,
        clock: Callable[[], datetime],
        may_act: Callable[[], bool] = lambda: True,
    ) -> None:
        self._database = database
        self._node = node
        self._clock = clock
        self._may_act = may_act

    @contextmanager
    def hold(self, kind: str, subject: str) -> Iterator[bool]:
        """Whether the work is this node's as long as the block lasts; False where another node is at it.

        Raises:
            UnavailableError: the database does not answer.
        """
        if not self._may_act():
            yield False
            return
        with self._database.write(unaudited=_UNAUDITED) as connection:
            duty = duties.take(connection, kind, subject, self._node, self._clock(), _LEASE)
        if duty is None:
            yield False
            return
        ended = threading.Event()
        keeper = threading.Thread(target=self._keep, args=(duty, ended), name=f"lease-{kind}", daemon=True)
        keeper.start()
        try:
            yield True
        finally:
            ended.set()
            with suppress(UnavailableError), self._database.write(unaudited=_UNAUDITED) as connection:
                duties.drop(connection, duty)

    def _keep(self, duty: Duty, ended: threading.Event) -> None:
        while not ended.wait(_EXTEND_EVERY):
            with (
                suppress(LostLeaseError, UnavailableError),
                self._database.write(unaudited=_UNAUDITED) as connection,
            ):
                duties.extend(connection, duty, self._clock() + _LEASE)


@contextmanager
def alone(_kind: str, _subject: str) -> Iterator[bool]:
    """As `Leases.hold`, of a node that is the only one."""
    yield True
