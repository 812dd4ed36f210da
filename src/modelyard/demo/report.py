"""What the demo shows at its end: a table of figures, and what to try next."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path

from rich import box
from rich.table import Table
from rich.text import Text

from modelyard.demo.departments import Department
from modelyard.demo.scores import Score

_MILLISECONDS = 1000


def table(scores: Mapping[Department, Score], versions: Mapping[str, str]) -> Table:
    """One row a model, within 80 characters.

    Args:
        scores: the figures.
        versions: language to its version, as {"r": "4.2.2"}.
    """
    made = Table(
        title="Live on flights of April 2013",
        title_justify="left",
        caption=right_means(scores),
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    for heading in ("model", "language"):
        made.add_column(heading, no_wrap=True)
    for heading in ("version\nin use", "requests", "p50", "right in\nreality"):
        made.add_column(heading, justify="right", no_wrap=True)
    for department, score in scores.items():
        made.add_row(
            department.model,
            f"{department.title} {versions.get(department.language, '')}".strip(),
            str(score.version) if score.version else "none",
            f"{score.requests:,}",
            "-" if math.isnan(score.p50) else f"{score.p50 * _MILLISECONDS:.1f} ms",
            right_words(score.right),
        )
    return made


def right_means(departments: Iterable[Department]) -> str:
    """The line below the table: when an answer counts as right."""
    words = [f"{department.name}: {department.counts_as_right}" for department in departments]
    return "right is, for " + "; ".join(words)


def failures_line(scores: Iterable[Score]) -> Text:
    """How many requests failed, in all."""
    failed = sum(score.failed for score in scores)
    if failed == 0:
        return Text("No request failed, also not while the newer versions took over.", style="green")
    return Text(f"{failed:,} requests failed.", style="bold red")


def right_words(right: Mapping[int, float]) -> str:
    """The share of right predictions, version by version.

    >>> right_words({1: 0.7312, 2: 0.884})
    '73 % → 88 %'
    >>> right_words({})
    '-'
    """
    return " → ".join(f"{share * 100:.0f} %" for share in right.values()) or "-"


def next_steps(url: str, token_file: Path, example: Mapping[str, bytes], programs: str = "") -> str:
    """The commands to try next, ready to be copied.

    Args:
        url: where the yard answers.
        token_file: where the administrator's token is.
        example: model to the JSON body of one request, of the models that are live.
        programs: the folder where `yard` is, if it may not be on the PATH of another terminal.
    """
    lines = [
        "What really happened is sent to the yard as well: in a minute it tells how right each version was",
        "(`yard watch`, and a model's page Performance).",
        "",
        f"The yard goes on running at {url} (Ctrl-C stops it).",
        f"In a browser: open it, choose “Use a token”, and paste what {token_file} holds.",
        "In another terminal:",
        "",
        f"  export YARD_URL={url}",
        f"  export YARD_TOKEN=$(cat {token_file})",
        *([f"  export PATH={programs}:$PATH"] if programs else []),
        "  yard models",
    ]
    if example:
        model = min(example, key=lambda name: len(example[name]))  # the one easiest to read
        lines += [
            f"  yard history {model}",
            f"  yard watch {model}",
            f"  yard rollback {model}",
            f'  curl -H "Authorization: Bearer $YARD_TOKEN" $YARD_URL/models/{model}/predict \\',
            f"    -d '{example[model].decode()}'",
        ]
    return "\n".join(lines)
