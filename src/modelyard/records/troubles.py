"""Problems of the yard itself as alerts of its own department. Pure.

What the doctor finds is told to who does not ask: one alert a problem, open for as long as it is there.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from modelyard.records.alerts import Happening
from modelyard.records.audit import YARD
from modelyard.records.diagnosis import Code, Finding
from modelyard.records.policies import Level

PREFIX = "yard:"
_GRAVE: frozenset[Code] = frozenset({"backup-failed", "disk-low", "node-dead", "ray-away", "spool-full"})


def as_alerts(findings: Iterable[Finding], at: datetime) -> list[Happening]:
    """The problems among them; the same problem has always the same key.

    Args:
        at: when they were found.

    >>> from datetime import UTC
    >>> ill = Finding("problem", "disk of a", "1.0 GiB free", "Make room.", "disk-low", "du -sh DATA")
    >>> (alert,) = as_alerts([ill], datetime(2026, 1, 1, tzinfo=UTC))
    >>> print(alert.key, alert.level, alert.words, sep=" | ")
    yard:disk-low:disk of a | high | disk of a: 1.0 GiB free. Make room. (yard doctor: disk-low)
    """
    return [
        Happening(
            key=f"{PREFIX}{f.code}:{f.what}",
            model=YARD,
            level=Level.HIGH if f.code in _GRAVE else Level.MEDIUM,
            words=f"{f.what}: {f.words.rstrip('.')}. {f.hint} (yard doctor: {f.code})",
            at=at,
        )
        for f in findings
        if f.state == "problem"
    ]
