"""The sheet for leadership: one page whatever there is, and nothing in it that a browser would run."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from modelyard.catalog import reports
from modelyard.records.report import Figure, Line, Report

NOW = datetime(2026, 11, 26, 4, tzinfo=UTC)
EVIL = '<script>alert("\N{BOMB}")</script> \u202e & {0} {{ 7*7 }}'


def sheet(
    lines: int, words: str = "always 12.4, the mean of what came in the month", more: int = 8
) -> Report:
    figures = [Figure(name, "1,234,567.89 EUR", words) for name in ("Models", "Rows", "Up", "Out", "In")]
    line = Line("operations/arrival-delay", "1,234", "99.99 %", "1.00 EUR", "5.00 EUR (1.00 to 9.00)", words)
    texts = [f"26 Nov  operations/arrival-delay: {words}"] * more
    return Report(
        "November 2026", "12 departments", NOW, figures, [line] * lines, 3, texts, texts, [words] * 3
    )


def pages(pdf: bytes) -> int:
    return len(re.findall(rb"/Type /Page\b", pdf))


def test_it_is_one_sheet_whatever_there_is() -> None:
    for lines in (0, 1, 12):
        made = reports.pdf(sheet(lines))
        assert made.startswith(b"%PDF-")
        assert pages(made) == 1
    assert pages(reports.pdf(sheet(12, "word " * 60))) == 1, "then with fewer models"
    assert sheet(12).shorter(5).more == "and 10 more, which are in the sums above"
    assert sheet(12).shorter(12).more == "and 3 more, which are in the sums above"


def test_the_same_month_is_the_same_file() -> None:
    assert reports.pdf(sheet(3)) == reports.pdf(sheet(3))


def test_what_people_wrote_is_text() -> None:
    page = reports.html(sheet(2, EVIL)).decode()
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "{{ 7*7 }}" in page
    assert pages(reports.pdf(sheet(2, EVIL))) == 1


def test_html_needs_nothing_beside_it() -> None:
    page = reports.html(sheet(2)).decode()
    assert not re.search(r"\b(src|href)=|url\(|@import|https?:", page)
    assert "No model was used" in reports.html(sheet(0)).decode()
