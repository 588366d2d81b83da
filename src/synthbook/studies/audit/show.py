"""An audit on a page: the verdict, tables and images."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from synthbook.data import ImageSet
from synthbook.intervals import interval
from synthbook.studies.audit.advice import Advice, Verdict, advise
from synthbook.studies.audit.images import draw
from synthbook.studies.audit.lessons import AUG
from synthbook.studies.audit.measures import GENERATED
from synthbook.studies.audit.rules import EFFECTS, UNSEEN, VOID
from synthbook.studies.rows import REAL

if TYPE_CHECKING:
    import pandas as pd

    from synthbook.studies.audit.report import Report

# A mark and a word beside the colour, so that nothing hangs on the colour. The text has the
# page's own colour, light or dark.
MARKS = {"stop": ("✗", "#D55E00"), "warn": ("!", "#E69F00"), "ok": ("✓", "#009E73"),
         "void": ("–", "#888888")}  # fmt: skip
BLOCK = "padding: 0.1em 0 0.1em 0.8em; margin: 0 0 0.9em 0; border-left: 5px solid"


def verdict_html(verdict: Verdict) -> str:
    """Return a verdict as HTML: the bottom line, notes, and one block a line of advice."""
    said = "<br>".join(map(html.escape, verdict.conclusion.sentences))
    notes = "<br>".join(map(html.escape, verdict.notes))
    head = (
        f'<div style="border: 2px solid; padding: 0.6em 0.9em; margin: 0 0 0.9em 0">'
        f'<b style="font-size: 1.1em">{said}</b><br><small>{notes}</small></div>'
    )
    return "\n".join([head, *map(_block, verdict.lines)])


def _block(line: Advice) -> str:
    mark, color = MARKS[line.severity]
    so, do = (html.escape(text[:1].upper() + text[1:] + ".") for text in (line.so, line.do))
    number = line.chapter.partition("_")[0]
    link = f' See <a href="{line.chapter}.html">chapter {number}</a>.' if number else ""
    todo = f"<br><b>Do:</b> {do}" if line.do else ""
    faint = "; opacity: 0.65" * (line.severity == VOID)
    return (
        f'<div style="{BLOCK} {color}{faint}">'
        f"<b>{mark} {line.severity}: {html.escape(line.topic)}.</b> {so}"
        f"<br><small>Measured: {html.escape(line.measured)}.{link}</small>{todo}</div>"
    )


def spread(values: Iterable[float], decimals: int = 2) -> str:
    """Return "0.55 [0.53, 0.57]" of one value a seed, the mean alone of a single seed.

    There are fewer decimals where the half-width of the interval has two digits before them.
    """
    mean, low, high = interval(values)
    if (half := (high - low) / 2) > 0:
        decimals = min(decimals, max(0, 1 - math.floor(math.log10(half))))
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


def lessons_table(report: Report) -> pd.DataFrame:
    """Return what each training reaches, in percent, and its effects in points of accuracy."""
    import pandas as pd

    accuracy, found, lines = report.lessons.accuracy, report.comparisons, {}
    void = UNSEEN in advise(report).lost
    for name in report.lessons.sources:
        title = f"{name} images alone" if name in (REAL, GENERATED) else name
        lines[title] = [spread(accuracy[name, test], 1) for test in (REAL, GENERATED)]
        if name == REAL:
            lines[title] += ["", "", ""]
            continue
        aug = found.get((name, AUG))
        lines[title] += [found[name, REAL].gap.text(1), aug.gap.text(1) if aug else ""]
        lines[title] += [VOID if void else EFFECTS[found[name, REAL].sign]]
    columns = ["unseen real images", "kept-back generated ones", "gain over real alone",
               "gain over Aug", "verdict"]  # fmt: skip
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
