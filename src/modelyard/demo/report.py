"""What the demo shows at its end: a table of figures, and what to try next."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from rich.table import Table
from rich.text import Text

from modelyard.demo.departments import Department
from modelyard.demo.scores import Score

_MILLISECONDS = 1000


def table(scores: Mapping[Department, Score], versions: Mapping[str, str]) -> Table:
    """One row a model.

    Args:
        scores: the figures.
        versions: language to its version, as {"r": "4.2.2"}.
    """
    made = Table(title="Live on April 2013's flights", title_justify="left", header_style="bold")
    for heading in ("model", "language", "version in use"):
        made.add_column(heading)
    for heading in ("requests", "failed", "p50", "right on real outcomes"):
        made.add_column(heading, justify="right")
    made.add_column("counted as right")
    for department, score in scores.items():
        made.add_row(
            department.model,
            f"{department.language} {versions.get(department.language, '')}".strip(),
            str(score.version) if score.version else "none",
            f"{score.requests:,}",
            Text(f"{score.failed:,}", style="bold red" if score.failed else "green"),
            "-" if math.isnan(score.p50) else f"{score.p50 * _MILLISECONDS:.1f} ms",
            right_words(score.right),
            department.counts_as_right,
        )
    return made


def right_words(right: Mapping[int, float]) -> str:
    """The share of right predictions, version by version.

    >>> right_words({1: 0.7312, 2: 0.884})
    '73.1 % → 88.4 %'
    >>> right_words({})
    '-'
    """
    return " → ".join(f"{share:.1%}".replace("%", " %") for share in right.values()) or "-"


def next_steps(url: str, token_file: Path, example: Mapping[str, bytes]) -> str:
    """The commands to try next, ready to be copied.

    Args:
        url: where the yard answers.
        token_file: where the administrator's token is.
        example: model to the JSON body of one request, of the models that are live.
    """
    lines = [
        f"The yard goes on running at {url} (Ctrl-C stops it). In another terminal:",
        "",
        f"  export YARD_URL={url} YARD_TOKEN=$(cat {token_file})",
        "  yard models",
    ]
    lines += [f"  yard history {model}" for model in example]
    for model, body in list(example.items())[:1]:
        lines += [
            f"  yard rollback {model}",
            f'  curl -H "Authorization: Bearer $YARD_TOKEN" $YARD_URL/models/{model}/predict \\',
            f"    -d '{body.decode()}'",
        ]
    return "\n".join(lines)
