"""Making stored tables smaller without changing how they look."""

from __future__ import annotations

import re

_STYLE = re.compile(r"(<style>\n?)(.*?)(</style>)", re.DOTALL)
_RULE = re.compile(r"([^{}]+)\{([^{}]*)\}")
_CLASSES = re.compile(r"\.(gt_\w+)")
_GAPS = re.compile(r">\s*\n\s*<")  # between the tags of a table, where they show nothing
_HEADERS = re.compile(r' headers="[^"]*"')


def _kept(selectors: str, used: set[str]) -> bool:
    """Return whether any of the selectors, separated by commas, can match the table."""
    return any(set(_CLASSES.findall(one)) <= used for one in selectors.split(","))


def slim_table(html: str) -> str:
    """Return the HTML of a table from great_tables without style rules that match nothing in it.

    Its style sheet has a rule for everything that a table could have, and is longer than most
    tables. Line breaks between tags go too, since a notebook stores each line as a string of its
    own. In a table with one line of headings, whose columns say so by ``scope``, the list of
    headings that each cell carries is left out. Other HTML comes back as it is.
    """
    style = _STYLE.search(html)
    if style is None or "gt_table" not in html:
        return html
    body = html[: style.start()] + html[style.end() :]
    used = {name for found in re.findall(r'class="([^"]*)"', body) for name in found.split()}
    rules = [
        f"{' '.join(selectors.split())} {{{' '.join(text.split())}}}"
        for selectors, text in _RULE.findall(style[2])
        if _kept(selectors, used)
    ]
    sheet = f"{style[1]}{chr(10).join(rules)}\n{style[3]}"
    slim = html[: style.start()] + sheet + _GAPS.sub("><", html[style.end() :])
    if "gt_column_spanner" not in used:
        slim = _HEADERS.sub("", slim)
    return slim
