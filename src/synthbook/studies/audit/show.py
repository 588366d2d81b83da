"""Advice and images as the chapter shows them."""

from __future__ import annotations

import html
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from synthbook.data import ImageSet
from synthbook.studies.audit.images import draw

if TYPE_CHECKING:
    from synthbook.studies.audit.findings import Advice

# A mark and a word beside the colour, so that nothing hangs on the colour. The text has the
# page's own colour, light or dark.
MARKS = {"stop": ("✗", "#D55E00"), "warn": ("!", "#E69F00"), "ok": ("✓", "#009E73")}


def advice_table(found: Iterable[Advice]) -> Any:
    """Return advice as HTML, one block an entry; it takes its text colour from the page."""
    from IPython.display import HTML

    return HTML("\n".join(map(_block, found)))


def _block(one: Advice) -> str:
    mark, color = MARKS[one.severity]
    what, so, do = (html.escape(text) for text in (one.what, one.so, one.do))
    link = f' See <a href="{one.chapter}.html">{one.chapter}</a>.' if one.chapter else ""
    todo = "" if one.do == "nothing" else f"<br><b>Do:</b> {_sentence(do)}"
    return (
        f'<div style="border-left: 5px solid {color}; padding: 0.1em 0 0.1em 0.8em; '
        f'margin: 0 0 0.9em 0">'
        f"<b>{mark} {one.severity}: {html.escape(one.topic)}.</b> {_sentence(so)}"
        f"<br><small>Measured: {what}.{link}</small>{todo}</div>"
    )


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + "."


def by_class(images: ImageSet, columns: int, *, most: int = 10, seed: int = 0) -> np.ndarray:
    """Return random images, ``columns`` of each of the first ``most`` classes, row by row.

    A class with fewer images has blank (white) ones at the end of its row.
    """
    blank = np.full((1, *images.images.shape[1:]), 255, np.uint8)
    rows = []
    for k in range(min(images.num_classes, most)):
        own = images.subset(images.labels == k)
        chosen = own.images[draw(own, columns, seed, "shown")[0]]
        rows += [chosen, *[blank] * (columns - len(chosen))]
    return np.concatenate(rows)
