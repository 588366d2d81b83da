"""Tables of one look: any frame, and this run, the recorded runs and the paper side by side."""

from __future__ import annotations

import hashlib
import html
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from synthbook.claims.inference import MIN_SEEDS
from synthbook.errors import InputError
from synthbook.intervals import interval
from synthbook.page.figures import label, seeds_text

if TYPE_CHECKING:
    import pandas as pd

MISSING = "·"
MARKS = {"holds": "✓", "fails": "✗", "no effect": "≈", "undecided": "~", "not run": MISSING}
HEADINGS = {"train": "trained on", "test": "tested on", "dataset": "data set"}
METRICS = {"top1_accuracy": "accuracy", "fd": "FD", "fid": "FID", "kd": "KD", "kid": "KID"}
# All else is in book/_static/synthbook.css; a notebook opened elsewhere has only this.
STYLE = (
    "<style>.book-wide{overflow-x:auto}.book-table td{text-align:right;white-space:nowrap}"
    ".book-table td.words{text-align:left;white-space:normal}</style>"
)
# Of Styler's names of places in a table, those that are needed, and short.
CLASSES = {"col": "c", "row": "r", "data": "", "blank": "", "col_heading": "", "level": "l"}
DENSE = 6  # columns of numbers; with more of them a spread stands below its number
_NUMBER = re.compile(r"[-+−]?\d[\d.,e+−-]*( ?%| ± .*| \[.*\]| \(\d seeds?\))?|·?")
_SMALL = re.compile(r"(.*?) (± .*|\(\d seeds?\))", re.DOTALL)  # a number, and what is said of it
Cells = dict[tuple[str, ...], tuple[str, int]]  # key -> (text, number of seeds)


@dataclass(frozen=True, repr=False)
class Display:
    """What a notebook shows: HTML, and plain text, which is also what two runs are compared by."""

    html: str
    text: str

    def _repr_html_(self) -> str:
        return self.html

    def __repr__(self) -> str:
        return self.text


def aside(text: str) -> Display:
    """Return a sentence in the place of a table."""
    return Display(f"<p>{html.escape(text)}</p>", text)


def verdict_html(verdict: str) -> str:
    """Return a verdict as HTML: its mark and its word, which the colour of the page repeats."""
    kind = verdict.replace(" ", "-")
    return f'<span class="verdict verdict-{kind}">{MARKS[verdict]} {verdict}</span>'


def plain(
    frame: pd.DataFrame,
    *,
    caption: str = "",
    notes: Iterable[str] = (),
    names: int | None = None,
    markup: bool = False,
    decimals: int = 3,
    kind: str = "",
) -> Display:
    """Return a frame as a table with the look of the book.

    Args:
        frame: one or two levels of columns; an index that is not just counted becomes columns.
        caption: above the table, in words.
        notes: sentences below it.
        names: how many of the first columns name a line; None: those of the index, or one.
        markup: cells are HTML already.
        decimals: digits after the point of numbers that are no text yet; NaN and None are "·".
        kind: a further class of the table, for its style sheet: "claims" has lines of prose, which
            a phone shows one below the other.
    """
    import pandas as pd
    from pandas.api.types import is_float
    from pandas.io.formats.style import Styler

    if not isinstance(frame.index, pd.RangeIndex):
        names = frame.index.nlevels if names is None else names
        frame = frame.rename_axis([name or "" for name in frame.index.names]).reset_index()
    frame, names = frame.reset_index(drop=True), 1 if names is None else names
    words = [
        column
        for place, column in enumerate(frame.columns)
        if place < names or not all(map(_NUMBER.fullmatch, frame[column].dropna().map(str)))
    ]

    def written(value: Any) -> str:
        text = f"{value:.{decimals}f}" if is_float(value) else str(value)
        text = text if markup else html.escape(text)
        return f"{said[1]} <small>{said[2]}</small>" if (said := _SMALL.fullmatch(text)) else text

    uuid = hashlib.sha256(repr((caption, frame.to_csv())).encode()).hexdigest()[:8]
    dense = "dense" if frame.shape[1] - names > DENSE else ""
    kind = " ".join(filter(None, ("book-table", dense, kind)))
    left = {column: [{"selector": "th", "props": "text-align: left"}] for column in words}
    styler = Styler(frame, uuid=uuid, cell_ids=False, caption=html.escape(caption) or None)
    styler = styler.hide(axis="index").format(written, na_rep=MISSING)
    styler = styler.format_index(str, axis=1, escape="html").set_table_attributes(f'class="{kind}"')
    styler = styler.set_table_styles(left, css_class_names=CLASSES)
    styler = styler.set_td_classes(pd.DataFrame("words", frame.index, pd.Index(words)))
    below = "<br>".join(html.escape(note) for note in notes)
    below = f'\n<p class="book-note"><small>{below}</small></p>' if below else ""
    return Display(
        f'{STYLE}<div class="book-wide">{styler.to_html()}</div>{below}',
        f"{caption or 'table'}: {frame.shape[0]} x {frame.shape[1]}",
    )


def _text(value: Any) -> str:
    """Return a value as text: 4, 4.0 and the paper's "4" are one; no value (NaN, None) is ""."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    whole = isinstance(value, float) and value.is_integer()
    return str(int(value) if whole else value)


def _decimals(decimals: int | Mapping[str, int], key: Sequence[str]) -> int:
    """Return the digits of a cell: the last that are given for one of its names, or for all."""
    if isinstance(decimals, int):
        return decimals
    return [digits for name, digits in decimals.items() if name in ("", *key)][-1]


def _cells(
    table: pd.DataFrame,
    names: Sequence[str],
    decimals: int | Mapping[str, int],
    kind: str,
    *,
    median: bool = False,
) -> Cells:
    """Return the mean over seeds in each cell, with the half-width of its 95 % interval.

    Or the mean alone of fewer seeds than an interval is told of, or the median alone.
    """
    if lacking := [name for name in (*names, "value") if name not in table]:
        held = ", ".join(map(str, table))
        raise InputError(f"{kind} rows have no column '{lacking[0]}'; they have {held}")
    if "seed" not in table:
        table = table.assign(seed=0)
    cells = {}
    for key, rows in table.groupby([table[name].map(_text) for name in names], sort=False):
        if len(twice := rows.seed[rows.seed.duplicated()]):
            at = ", ".join(f"{name} {text}" for name, text in zip(names, key, strict=True))
            raise InputError(
                f"two {kind} rows of seed {twice.iloc[0]} at {at}; add the setting that tells them "
                "apart to the index, select one, or average over it first"
            )
        digits = _decimals(decimals, key)
        if median:
            cells[key] = (f"{rows['value'].median():.{digits}f}", len(rows))
            continue
        mean, low, high = interval(rows["value"])
        spread = "" if len(rows) < MIN_SEEDS else f" ± {(high - low) / 2:.{digits}f}"
        cells[key] = (f"{round(mean, digits) + 0.0:.{digits}f}{spread}", len(rows))  # no "-0.00"
    sizes = {count for _, count in cells.values()}
    if median or len(sizes) < 2:  # what heads the column says how many
        return cells
    return {
        key: (f"{text} ({seeds_text([count])})" if count < MIN_SEEDS else text, count)
        for key, (text, count) in cells.items()
    }


def _label(value: str, column: str) -> str:
    """Return how a value of a column is written."""
    return METRICS.get(value, value.replace("_", " ")) if column == "metric" else label(value)


def comparison(
    live: pd.DataFrame | None,
    recorded: pd.DataFrame | Sequence[pd.DataFrame] | None,
    published: pd.DataFrame | None,
    *,
    index: Sequence[str],
    columns: str | None = None,
    decimals: int | Mapping[str, int] = 1,
    title: str = "",
    headings: Mapping[str, str] | None = None,
    order: Sequence[str] = (),
    notes: Iterable[str] = (),
    median: bool = False,
) -> Display:
    """Return a table with the same numbers of the paper, of this run and of the recorded runs.

    A measured cell is the mean over seeds and, of five or more, the half-width of the 95 %
    interval; of fewer, their number where it is not that of the whole column. What was not run, or
    not printed, is "·"; of nothing at all a sentence is returned. The paper comes first, so that a
    narrow page shows it. Lines and columns stand in the order in which they first appear in this
    run, then in the recorded ones.

    Args:
        live, recorded: rows of this page, and `recorded` ones of a scale or several, cut likewise.
        published: `published` values, with names and values of columns as the rows have them.
        index: columns that name a line of the table.
        columns: column whose values become columns; None: one column of numbers.
        decimals: digits after the point; or, by a value of ``index`` or ``columns`` such as "fd",
            those of its cells, and under "" of all: of several that a cell has the last one counts.
        headings: column, or a value of ``columns`` -> how it is written.
        order: values of the first of ``index`` whose lines come first, in this order.
        notes: more sentences below the table.
        median: a measured cell is the median over seeds, which a few wild ones do not move.
    """
    import pandas as pd

    depth, names = len(index), [*index] + ([columns] if columns else [])
    measured, printed = [], []  # blocks of columns: (heading, cells)
    tables = [recorded] if hasattr(recorded, "columns") else recorded or []
    for kind, table in (("this run", live), *(("recorded", table) for table in tables)):
        for scale, rows in () if table is None else table.groupby("scale", sort=False):
            cells = _cells(rows, names, decimals, kind, median=median)
            over = seeds_text(count for _, count in cells.values())
            measured.append((f"{kind}: {scale}, {over}", cells))
    if published is not None and len(published):
        of = "/".join(dict.fromkeys(map(str, published.get("table", []))))
        cells = _cells(published, names, decimals, "published")
        printed.append((f"paper: {of}" if of else "paper", cells))
    keys = list(dict.fromkeys(key for _, cells in measured + printed for key in cells))
    if not keys:
        nothing = "This run has none of these rows, and none are recorded."
        return aside(" ".join([*([f"{title}:"] if title else []), nothing, *notes]))
    place = {value: number for number, value in enumerate(order)}
    lines = sorted(
        dict.fromkeys(key[:depth] for key in keys), key=lambda line: place.get(line[0], len(place))
    )
    given = dict(headings or {})
    written = HEADINGS | given
    shown: dict[tuple[str, str], list[str]] = {
        ("", written.get(name, name.replace("_", " "))): [_label(line[k], name) for line in lines]
        for k, name in enumerate(index)
    }
    for heading, cells in printed + measured:
        for column in dict.fromkeys(key[depth:] for key in keys):
            if any(key[depth:] == column for key in cells):
                name = (given.get(column[0]) or _label(column[0], columns)) if columns else ""
                shown[heading, name] = [cells.get(line + column, (MISSING, 0))[0] for line in lines]
    frame = pd.DataFrame(shown, dtype=object)
    if not columns:
        frame.columns = [heading or name for heading, name in frame.columns]
    texts = "\n".join(text for column in list(shown.values())[depth:] for text in column)
    may = {
        "Mean ± half the width of the 95 % interval over seeds.": " ± " in texts,
        f"Of fewer than {MIN_SEEDS} seeds the mean alone.": not median
        and any(1 < count < MIN_SEEDS for _, cells in measured for _, count in cells.values()),
        "Medians over seeds.": median and bool(measured),
        f"{MISSING} not run, or not in the paper.": MISSING in texts,
    }
    said = [*(note for note, applies in may.items() if applies), *notes]
    return plain(frame, caption=title, notes=said, names=depth)
