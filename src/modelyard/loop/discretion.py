"""What a finding does not tell: the values of columns that are marked in the data of the model.

Findings are for everybody who may see the model, and go out with alerts; marked columns are not.
"""

from __future__ import annotations

from collections.abc import Container

import msgspec

from modelyard.records.predictions import Finding


def discreet(finding: Finding, marked: Container[str]) -> Finding:
    """The finding without values of marked columns; how large it is, and in which column, stays.

    Args:
        marked: the names of these columns.
    """
    slices = tuple(part for part in finding.slices if part.partition("=")[0] not in marked)
    words = finding.words
    if finding.column in marked:
        size = f" ({finding.measure} {finding.effect:.2g})" if finding.measure else ""
        words = f"{finding.column} is not as it was{size}. It is marked in the data, so no values are told."
    return msgspec.structs.replace(finding, words=words, slices=slices)
