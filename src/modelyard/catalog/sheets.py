"""A sheet of A4 with the report of a month, drawn by fpdf2 with the fonts that every reader of PDF has."""

from __future__ import annotations

from collections.abc import Sequence

from fpdf import FPDF
from fpdf.enums import TableBordersLayout, XPos, YPos
from fpdf.fonts import FontFace

from modelyard.records.report import Figure, Report

_FONT = "Helvetica"
_MARGIN, _WIDE = 14.0, 182.0  # millimetres
_INK, _SOFT, _LINE, _LEAD, _WASH = (
    (21, 36, 45),
    (77, 96, 107),
    (180, 193, 199),
    (173, 61, 37),
    (246, 248, 248),
)
_WIDTHS = (33, 18, 17, 19, 41, 54)
_LAST = 1.5
_SHORTER = (12, 8, 5, 3, 0)  # lines that are tried until all is on one sheet
_PLAIN = str.maketrans(
    {"\N{EN DASH}": "-", "\N{RIGHT SINGLE QUOTATION MARK}": "'", "\N{HORIZONTAL ELLIPSIS}": "..."}
)


def draw(report: Report, heads: Sequence[str]) -> bytes:
    """The report as PDF, on one sheet: where it is too long, with fewer models.

    Args:
        heads: of the table's columns.
    """
    for lines in _SHORTER:
        sheet = _sheet(report.shorter(lines), heads)
        if sheet.page_no() == 1:
            break
    return bytes(sheet.output())


def _sheet(report: Report, heads: Sequence[str]) -> FPDF:
    sheet = FPDF(format="A4")
    sheet.set_creation_date(report.made_at)
    sheet.set_title(f"Models in {report.month}")
    sheet.set_lang("en")
    sheet.set_margin(_MARGIN)
    sheet.c_margin = 0.0  # words begin where the rule does
    sheet.set_auto_page_break(auto=True, margin=_MARGIN)
    sheet.add_page()
    _words(sheet, f"Models in {report.month}", 17, bold=True)
    _words(
        sheet, f"{report.scope}. Made by Modelyard on {report.made_at:%d %B %Y, %H:%M} UTC.", 8.5, soft=True
    )
    sheet.set_draw_color(*_LEAD)
    sheet.set_line_width(0.8)
    sheet.line(_MARGIN, sheet.get_y() + 1.5, _MARGIN + _WIDE, sheet.get_y() + 1.5)
    sheet.set_y(sheet.get_y() + 5)
    _figures(sheet, report.figures)
    _table(sheet, report, heads)
    _list(sheet, "What changed this month", report.changes, "Nothing.")
    _list(sheet, "What owners state", report.stated, "Nothing is stated.")
    _list(sheet, "How to read this", report.notes, "")
    return sheet


def _figures(sheet: FPDF, figures: Sequence[Figure]) -> None:
    gap, left = 2.5, _MARGIN
    weights = [1.0] * (len(figures) - 1) + [_LAST]  # what came in has most to say
    unit = (_WIDE - gap * (len(figures) - 1)) / sum(weights)
    top, high = sheet.get_y(), 23.0
    sheet.set_draw_color(*_LINE)
    sheet.set_line_width(0.2)
    sheet.set_fill_color(*_WASH)
    for figure, weight in zip(figures, weights, strict=True):
        wide = unit * weight
        sheet.rect(left, top, wide, high, style="DF")
        for text, size, bold, down in (
            (figure.name, 8.0, False, 2.0),
            (figure.value, 12.5 if len(figure.value) < 12 else 10.0, True, 6.5),  # noqa: PLR2004
            (figure.note, 7.0, False, 13.0),
        ):
            sheet.set_xy(left + 2, top + down)
            sheet.set_font(_FONT, "B" if bold else "", size)
            sheet.set_text_color(*(_INK if bold else _SOFT))
            sheet.multi_cell(wide - 4, size * 0.45, _plain(text), align="L")
        left += wide + gap
    sheet.set_y(top + high + 3)


def _table(sheet: FPDF, report: Report, heads: Sequence[str]) -> None:
    _words(sheet, "Models", 10, bold=True)
    if not report.lines:
        words = report.more or "No model was used, kept or valued in this month."
        _words(sheet, words, 8, soft=True)
        return
    sheet.set_font(_FONT, "", 8)
    sheet.set_text_color(*_INK)
    sheet.set_draw_color(*_LINE)
    sheet.set_fill_color(255)
    aligns = ("LEFT", "RIGHT", "RIGHT", "RIGHT", "LEFT", "LEFT")
    with sheet.table(
        col_widths=_WIDTHS,
        text_align=aligns,
        line_height=3.8,
        padding=(0.9, 1.2, 0.9, 0.4),
        borders_layout=TableBordersLayout.HORIZONTAL_LINES,
        headings_style=FontFace(emphasis="BOLD", color=_SOFT),
        v_align="TOP",
    ) as table:
        table.row([_plain(head) for head in heads])
        for line in report.lines:
            cells = (line.name, line.answers, line.availability, line.out, line.brought, line.basis)
            table.row([_plain(cell) for cell in cells])
    if report.more:
        _words(sheet, report.more, 7.5, soft=True)


def _list(sheet: FPDF, title: str, lines: Sequence[str], nothing: str) -> None:
    sheet.set_y(sheet.get_y() + 3)
    _words(sheet, title, 10, bold=True)
    for line in lines or [nothing]:
        _words(sheet, line, 8.5, soft=not lines)


def _words(sheet: FPDF, text: str, size: float, *, bold: bool = False, soft: bool = False) -> None:
    sheet.set_font(_FONT, "B" if bold else "", size)
    sheet.set_text_color(*(_SOFT if soft else _INK))
    sheet.multi_cell(_WIDE, size * 0.48, _plain(text), align="L", new_x=XPos.LMARGIN, new_y=YPos.NEXT)


def _plain(text: str) -> str:
    """In the letters that these fonts have; others are question marks."""
    return text.translate(_PLAIN).encode("latin-1", "replace").decode("latin-1")
