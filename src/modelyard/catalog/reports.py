"""The report of a month as one page: HTML that needs nothing beside it, and PDF."""

from __future__ import annotations

from markupsafe import Markup

from modelyard.records.report import Line, Report

_HEADS = ("Model", "Predictions", "Available", "Out", "In (95 % interval)", "What is behind it")
_STYLE = """
@page { size: A4; margin: 14mm }
* { box-sizing: border-box }
body { font: 13px/1.45 system-ui, "Segoe UI", Roboto, "Liberation Sans", sans-serif; color: #15242d;
  background: #fff; max-width: 190mm; margin: 10mm auto; padding: 0 6mm; overflow-wrap: anywhere }
header { border-bottom: 3px solid #ad3d25; padding-bottom: 8px; margin-bottom: 14px }
h1 { font-size: 22px; margin: 0 } h2 { font-size: 13px; margin: 16px 0 6px }
header p, .note, footer { color: #4d606b; margin: 2px 0; font-size: 11.5px }
.figures { display: grid; grid-template-columns: 1fr 1fr 1.1fr 1.1fr 1.7fr; gap: 8px }
.figures div { background: #f6f8f8; border: 1px solid #dbe2e5; border-radius: 6px; padding: 8px 10px }
.figures b { display: block; white-space: nowrap; font-size: 17px; line-height: 1.25; margin: 2px 0 }
.figures span { font-size: 11px; color: #4d606b }
table { width: 100%; border-collapse: collapse; font-size: 11.5px }
th { text-align: left; color: #4d606b; font-weight: 600; border-bottom: 1px solid #b4c1c7; padding: 3px 6px }
td { border-bottom: 1px solid #dbe2e5; padding: 4px 6px; vertical-align: top }
td:first-child { min-width: 30mm }
.num { text-align: right; white-space: nowrap }
ul { margin: 0; padding-left: 16px } li { margin: 1px 0 }
.two { display: grid; grid-template-columns: 1fr 1fr; gap: 18px }
@media (max-width: 640px) { .figures { grid-template-columns: 1fr 1fr } .two { grid-template-columns: 1fr } }
@media print { body { margin: 0; padding: 0; max-width: none } }
"""


def html(report: Report) -> bytes:
    """One page of HTML with its style in it, to be sent or printed."""
    figures = Markup().join(
        Markup("<div><span>{}</span><b>{}</b><span>{}</span></div>").format(f.name, f.value, f.note)
        for f in report.figures
    )
    heads = Markup().join(
        Markup("<th{}>{}</th>").format(Markup(' class="num"') if 0 < i < 4 else "", head)  # noqa: PLR2004
        for i, head in enumerate(_HEADS)
    )
    lines = Markup().join(_row(line) for line in report.lines)
    nothing = Markup('<tr><td colspan="6">No model was used, kept or valued in this month.</td></tr>')
    page = Markup(
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Models in {month}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        "<style>{style}</style></head><body>"
        "<header><h1>Models in {month}</h1><p>{scope}. Made by Modelyard on {made}.</p></header>"
        '<main><section class="figures">{figures}</section><h2>Models</h2>'
        "<table><thead><tr>{heads}</tr></thead>"
        '<tbody>{lines}</tbody></table><p class="note">{more}</p><div class="two"><section>'
        "<h2>What changed this month</h2>{changes}</section><section><h2>What owners state</h2>{stated}"
        "</section></div></main><footer><h2>How to read this</h2>{notes}</footer></body></html>"
    ).format(
        month=report.month,
        style=Markup(_STYLE),  # noqa: S704 - our own
        scope=report.scope,
        made=f"{report.made_at:%d %B %Y, %H:%M} UTC",
        figures=figures,
        heads=heads,
        lines=lines or nothing,
        more=report.more,
        changes=_list(report.changes, "Nothing."),
        stated=_list(report.stated, "Nothing is stated."),
        notes=_list(report.notes, ""),
    )
    return str(page).encode()


def _row(line: Line) -> Markup:
    cells = Markup('<td class="num">{}</td><td class="num">{}</td><td class="num">{}</td>')
    numbers = cells.format(line.answers, line.availability, line.out)
    department, _, name = line.name.partition("/")
    return Markup("<tr><td>{}/<wbr>{}</td>{}<td>{}</td><td>{}</td></tr>").format(
        department, name, numbers, line.brought, line.basis
    )


def _list(lines: list[str], nothing: str) -> Markup:
    if not lines:
        return Markup('<p class="note">{}</p>').format(nothing)
    items = Markup().join(Markup("<li>{}</li>").format(line) for line in lines)
    return Markup("<ul>{}</ul>").format(items)


def pdf(report: Report) -> bytes:
    """The same as PDF, A4."""
    from modelyard.catalog import sheets  # noqa: PLC0415 - loads fonts and pictures: 0.3 s, only where it is used

    return sheets.draw(report, _HEADS)
