"""An audit on a page: advice, tables and images."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from synthbook.data import ImageSet
from synthbook.intervals import interval
from synthbook.studies.audit.images import draw
from synthbook.studies.audit.measures import GENERATED
from synthbook.studies.audit.remedies import AUG, effects
from synthbook.studies.gap import REAL

if TYPE_CHECKING:
    import pandas as pd

    from synthbook.studies.audit.advice import Advice
    from synthbook.studies.audit.report import Report

# A mark and a word beside the colour, so that nothing hangs on the colour. The text has the
# page's own colour, light or dark.
MARKS = {"stop": ("✗", "#D55E00"), "warn": ("!", "#E69F00"), "ok": ("✓", "#009E73")}


def advice_html(entries: Iterable[Advice]) -> Any:
    """Return advice as HTML, one block an entry; it takes its text colour from the page."""
    from IPython.display import HTML

    return HTML("\n".join(map(_block, entries)))


def _block(entry: Advice) -> str:
    mark, color = MARKS[entry.severity]
    so, do = (html.escape(text[:1].upper() + text[1:] + ".") for text in (entry.so, entry.do))
    link = f' See <a href="{entry.chapter}.html">{entry.chapter}</a>.' if entry.chapter else ""
    todo = "" if entry.do == "nothing" else f"<br><b>Do:</b> {do}"
    return (
        f'<div style="border-left: 5px solid {color}; padding: 0.1em 0 0.1em 0.8em; '
        f'margin: 0 0 0.9em 0">'
        f"<b>{mark} {entry.severity}: {html.escape(entry.topic)}.</b> {so}"
        f"<br><small>Measured: {html.escape(entry.measured)}.{link}</small>{todo}</div>"
    )


def spread(values: Iterable[float], decimals: int = 2) -> str:
    """Return "0.55 [0.53, 0.57]" of one value a seed, the mean alone of a single seed."""
    mean, low, high = interval(values)
    ends = "" if math.isnan(low) else f" [{low:.{decimals}f}, {high:.{decimals}f}]"
    return f"{mean:.{decimals}f}{ends}"


def copies_table(report: Report) -> pd.DataFrame:
    """Return the counts of copies, each beside what it is compared with."""
    import pandas as pd

    values = report.copies.values
    texts = {
        "equal to a training image": (
            "{equal_generated_in_train} of {n_all_generated}",
            "{equal_held_out_in_train} of {n_all_unseen} unseen"),
        "near copy of a training image": (
            "{near_train} of {n_generated}", "{near_train_unseen} of {n_unseen} unseen"),
        "equal to a test image": ("{equal_generated_in_held_out} of {n_all_generated}", "0"),
        "near copy of a test image": (
            "{near_test} of {n_generated}", "{near_test_train} of {n_train} training images"),
        "score of the data-copying test": (
            f"{values['copying_z']:+.1f}", "0; below −3: nearer"),
    }  # fmt: skip
    counts = {name: f"{value:,.0f}" for name, value in values.items()}
    lines = {title: [text.format(**counts) for text in pair] for title, pair in texts.items()}
    return pd.DataFrame.from_dict(lines, "index", columns=["generated", "for comparison"])


def remedies_table(report: Report) -> pd.DataFrame:
    """Return what each way of training reaches, in percent, and its effects in points."""
    import pandas as pd

    accuracy = report.remedies.accuracy
    lines = {"real images alone": [spread(accuracy[REAL], 1), "", "", ""]}
    for effect in effects(accuracy):
        name = "generated images alone" if effect.name == GENERATED else effect.name
        aug = "" if effect.name == AUG else effect.against_aug.text(1)
        own = spread(accuracy[effect.name], 1)
        lines[name] = [own, effect.against_real.text(1), aug, effect.verdict]
    columns = ["unseen real images", "against real alone", "against Aug", "verdict"]
    return pd.DataFrame.from_dict(lines, "index", columns=columns)


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
