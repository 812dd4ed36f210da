"""Markdown of model cards to HTML that cannot do harm.

Two walls: the parser takes no HTML and no images from the text, and nh3 lets through only the tags and
attributes named here. What a browser would fetch or run from a card is not among them.
"""

from __future__ import annotations

import nh3
from markdown_it import MarkdownIt
from markupsafe import Markup

_TAGS = {
    "a", "blockquote", "br", "code", "del", "em", "h3", "h4", "h5", "h6", "hr", "li", "ol", "p", "pre",
    "s", "strong", "table", "tbody", "td", "th", "thead", "tr", "ul",
}  # fmt: skip
_DEMOTED = {"h1": "h3", "h2": "h4", "h3": "h5", "h4": "h6", "h5": "h6"}
_PARSER = MarkdownIt("commonmark", {"html": False, "linkify": False}).enable(["table", "strikethrough"])
_PARSER.disable("image")


def to_html(text: str) -> Markup:
    r"""Markdown as HTML; headings begin at the third level, below those of the page.

    >>> to_html("# Fuel <script>")
    Markup('<h3>Fuel &lt;script&gt;</h3>\n')
    """
    tokens = _PARSER.parse(text)
    for token in tokens:
        token.tag = _DEMOTED.get(token.tag, token.tag)
    html = _PARSER.renderer.render(tokens, _PARSER.options, {})
    cleaned = nh3.clean(
        html,
        tags=_TAGS,
        attributes={"a": {"href"}},
        url_schemes={"http", "https", "mailto"},
        link_rel="noopener noreferrer nofollow",
    )
    return Markup(cleaned)  # noqa: S704 - nh3 has cleaned it
