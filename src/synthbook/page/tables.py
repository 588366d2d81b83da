"""Tables of one look: any frame; this run, the recorded runs and the paper side by side; parts."""

from __future__ import annotations

import hashlib
import html
import math
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from synthbook.errors import InputError
from synthbook.intervals import effect_text, interval
from synthbook.page.figures import label

if TYPE_CHECKING:
    import pandas as pd

    from synthbook.claims.decide import Verdict

MISSING = "·"
MARKS = {"holds": "✓", "fails": "✗", "no effect": "≈", "undecided": "~", "not run": MISSING}
HEADINGS = {"train": "trained on", "test": "tested on", "dataset": "data set"}
METRICS = {"top1_accuracy": "accuracy", "fd": "FD", "fid": "FID", "kd": "KD", "kid": "KID"}
# All else is in book/_static/synthbook.css; a notebook opened elsewhere has only this.
STYLE = (
    "<style>.book-wide{overflow-x:auto}.book-table td{text-align:right;white-space:nowrap}"
    ".book-table :is(.words,[scope]){text-align:left;white-space:normal}</style>"
)
DENSE = 6  # columns of numbers; with more of them a spread stands below its number
_TAG = re.compile(r'<t([hd]) class="[^"]*col(\d+)" ?([^>]*)>(.*?)</t[hd]>')
_NUMBER = re.compile(r"[-+−]?\d[\d.,e+−-]*( ?%| ± .*| \[.*\])?|·?")
_GAP = re.compile(r">\s*\n\s*<")  # between the tags of a table, where it shows nothing
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


def verdict_html(verdict: str) -> str:
    """Return a verdict as HTML: its mark and its word, which the colour of the page repeats."""
    kind = verdict.replace(" ", "-")
    return f'<span class="verdict verdict-{kind}">{MARKS.get(verdict, "")} {verdict}</span>'


def _cell(text: str) -> str:
    """Return a number with its spread in small print; all other cells as they are."""
    value, plus_minus, spread = text.partition(" ± ")
    return f"{value} <small>± {spread}</small>" if plus_minus else text


def _words(frame: pd.DataFrame) -> list[int]:
    """Return the places of the columns that hold words; the others are set as numbers."""
    return [
        place
        for place in range(frame.shape[1])
        if not all(_NUMBER.fullmatch(str(value)) for value in frame.iloc[:, place].dropna())
    ]


def plain(
    frame: pd.DataFrame,
    *,
    caption: str = "",
    notes: Iterable[str] = (),
    names: int | None = None,
    markup: bool = False,
    decimals: int = 3,
) -> Display:
    """Return a frame as a table with the look of the book.

    Args:
        frame: one or two levels of columns; an index that is not just counted becomes columns.
        caption: above the table, in words.
        notes: sentences below it.
        names: how many of the first columns name a line; None: those of the index, or one.
        markup: cells are HTML already.
        decimals: digits after the point of numbers that are no text yet; NaN and None are "·".
    """
    import pandas as pd
    from pandas.api.types import is_float
    from pandas.io.formats.style import Styler

    if not isinstance(frame.index, pd.RangeIndex):
        names = frame.index.nlevels if names is None else names
        frame = frame.rename_axis([name or "" for name in frame.index.names]).reset_index()
    names = 1 if names is None else names
    styler = Styler(frame.reset_index(drop=True), cell_ids=False).hide(axis="index")
    styler = styler.format(
        lambda value: _cell(f"{value:.{decimals}f}" if is_float(value) else str(value)),
        na_rep=MISSING,
        escape=None if markup else "html",
    )
    styler = styler.format_index(str, axis=1, escape="html").set_caption(html.escape(caption))
    uuid = hashlib.sha256(repr((caption, frame.to_csv())).encode()).hexdigest()[:8]
    kind = "book-table dense" if frame.shape[1] - names > DENSE else "book-table"
    written = styler.to_html(table_uuid=uuid, table_attributes=f'class="{kind}"')
    words = {*range(names), *_words(frame)}

    def tag(found: re.Match[str]) -> str:
        """Return a cell without the classes that say its place."""
        kind, place, attributes, content = found[1], int(found[2]), found[3], found[4]
        if kind == "d" and place < names:
            return f'<th scope="row">{content}</th>'
        left = ' class="words"' if place in words else ""
        return f"<t{kind}{left}{' ' if attributes else ''}{attributes}>{content}</t{kind}>"

    table = _GAP.sub("><", _TAG.sub(tag, written.partition("</style>")[2].strip()))
    table = table.replace("<caption></caption>", "").replace("<tr>", "\n<tr>")
    below = "<br>".join(html.escape(note) for note in notes)
    below = f'\n<p class="book-note"><small>{below}</small></p>' if below else ""
    rows, columns = frame.shape
    return Display(
        f'{STYLE}<div class="book-wide">{table}</div>{below}',
        f"{caption or 'table'}: {rows} x {columns}",
    )


def _text(value: Any) -> str:
    """Return a value as text: 4, 4.0 and the paper's "4" are one; no value (NaN, None) is ""."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    whole = isinstance(value, float) and value.is_integer()
    return str(int(value) if whole else value)


def _cells(table: pd.DataFrame, names: Sequence[str], decimals: int, kind: str) -> Cells:
    """Return the mean over seeds in each cell, with the half-width of its 95 % interval."""
    for name in (*names, "value"):
        if name not in table:
            raise InputError(
                f"{kind} rows have no column '{name}'; they have {', '.join(map(str, table))}"
            )
    values: dict[tuple[str, ...], dict[int, float]] = defaultdict(dict)
    seeds = table["seed"] if "seed" in table else [0] * len(table)
    for *key, seed, value in zip(
        *(table[name].map(_text) for name in names), seeds, table["value"], strict=True
    ):
        if seed in (held := values[tuple(key)]):
            told = ", ".join(f"{name} {part}" for name, part in zip(names, key, strict=True))
            raise InputError(
                f"two {kind} rows of seed {seed} at {told}; add the setting that tells them apart "
                "to the index, select one, or average over it first"
            )
        held[seed] = float(value)
    cells = {}
    for key, by_seed in values.items():
        mean, low, high = interval(by_seed.values())
        spread = "" if math.isnan(low) else f" ± {(high - low) / 2:.{decimals}f}"
        cells[key] = (f"{mean:.{decimals}f}{spread}", len(by_seed))
    return cells


def _label(value: str, column: str) -> str:
    """Return how a value of a column is written."""
    return METRICS.get(value, value.replace("_", " ")) if column == "metric" else label(value)


def seeds_text(counts: Iterable[int]) -> str:
    """Return numbers of seeds in words: "1 seed", "5 seeds", "3–5 seeds"; "" for none."""
    ends = sorted(set(counts))
    if ends in ([], [1]):
        return "1 seed" if ends else ""
    return f"{'–'.join(str(n) for n in dict.fromkeys((ends[0], ends[-1])))} seeds"


def _blocks(
    live: pd.DataFrame | None,
    recorded: pd.DataFrame | Sequence[pd.DataFrame] | None,
    printed: pd.DataFrame | None,
    names: Sequence[str],
    decimals: int,
) -> list[tuple[str, Cells]]:
    """Return (heading, cells) of the paper, of this run and of each recorded scale."""
    blocks = []
    if printed is not None and len(printed):
        of = "/".join(dict.fromkeys(map(str, printed.get("table", []))))
        cells = _cells(printed, names, decimals, "published")
        blocks.append((f"paper: {of}" if of else "paper", cells))
    tables = [recorded] if hasattr(recorded, "columns") else list(recorded or [])
    for kind, group in (("this run", [live]), ("recorded", tables)):
        for table in group:
            if table is None or not len(table):
                continue
            for scale, rows in table.groupby("scale", sort=False):
                cells = _cells(rows, names, decimals, kind)
                heading = f"{kind}: {scale}, {seeds_text(count for _, count in cells.values())}"
                blocks.append((heading, cells))
    return blocks


def comparison(
    live: pd.DataFrame | None,
    recorded: pd.DataFrame | Sequence[pd.DataFrame] | None,
    published: pd.DataFrame | None,
    *,
    index: Sequence[str],
    columns: str | None = None,
    decimals: int = 1,
    title: str = "",
    headings: Mapping[str, str] | None = None,
    order: Sequence[str] = (),
) -> Display:
    """Return a table with the same numbers of the paper, of this run and of the recorded runs.

    A measured cell is the mean over seeds and, with two seeds or more, the half-width of the 95 %
    bootstrap interval; the heading over its columns says scale and seeds. What was not run, or not
    printed, is "·". The paper comes first, so that a narrow page shows it. Lines and columns stand
    in the order in which they first appear in this run, then in the recorded ones.

    Args:
        live: `Run.frame` of this page, already cut to one metric.
        recorded: `recorded` of one scale or of several, cut likewise; its newest rows only.
        published: `published` values; rename or assign columns so that ``index`` and ``columns``
            have the same names and values as in the rows.
        index: columns that name a line of the table.
        columns: column whose values become columns; None: one column of numbers.
        decimals: digits after the point.
        title: shown above the table.
        headings: column -> how it is written.
        order: values of the first of ``index`` whose lines come first, in this order.

    Raises:
        InputError: if a table lacks a column, or has two numbers for one cell and seed.
    """
    import pandas as pd

    depth, names = len(index), [*index] + ([columns] if columns else [])
    blocks = _blocks(live, recorded, published, names, decimals)
    own_first = sorted(blocks, key=lambda block: block[0].startswith("paper"))
    keys = list(dict.fromkeys(key for _, cells in own_first for key in cells))
    lines = list(dict.fromkeys(key[:depth] for key in keys))
    place = {value: number for number, value in enumerate(order)}
    lines.sort(key=lambda line: place.get(line[0], len(place)))
    written = HEADINGS | dict(headings or {})
    shown: dict[tuple[str, str], list[str]] = {
        ("", written.get(name, name.replace("_", " "))): [_label(line[k], name) for line in lines]
        for k, name in enumerate(index)
    }
    for heading, cells in blocks:
        for column in dict.fromkeys(key[depth:] for key in keys):
            if any(key[depth:] == column for key in cells):
                shown[heading, _label(column[0], columns) if columns else ""] = [
                    cells.get(line + column, (MISSING, 0))[0] for line in lines
                ]
    frame = pd.DataFrame(shown, dtype=object)
    if not columns:
        frame.columns = [heading or name for heading, name in frame.columns]
    texts = {text for column in list(shown.values())[depth:] for text in column}
    notes = []
    if any(" ± " in text for text in texts):
        notes.append("Mean ± half the width of the 95 % interval over seeds.")
    if MISSING in texts:
        notes.append(f"{MISSING} not run, or not in the paper.")
    if not blocks:
        notes.append("Nothing was run yet.")
    return plain(frame, caption=title, notes=notes, names=depth)


def verdict_table(
    verdicts: Iterable[Verdict], *, statements: Mapping[str, str] | None = None, title: str = ""
) -> Display:
    """Return claims with their verdicts, one a line.

    Args:
        verdicts: `synthbook.claims.decide.verdicts`.
        statements: claim id -> its words; None: those of the claims files.
        title: shown above the table.
    """
    import pandas as pd

    if statements is None:
        from synthbook.claims.decide import claims

        statements = {claim.id: claim.statement for claim in claims()}
    lines = [
        {
            "claim": one.id,
            "statement": html.escape(statements.get(one.id, "")),
            "scale": one.scale,
            "verdict": verdict_html(one.verdict),
            "effect": one.effect_text or MISSING,
            "seeds": str(one.seeds or MISSING),
            "reason": html.escape(one.reason),
        }
        for one in verdicts
    ]
    note = "Effect: mean over seeds [95 % interval]; above 0 supports the claim."
    return plain(pd.DataFrame(lines), caption=title, notes=[note], markup=True)


def parts_table(verdicts: Iterable[Verdict], *, title: str = "", holding: bool = True) -> Display:
    """Return the parts of claims, one a line: every inequality in every cell with its own verdict.

    A claim holds only if all of its parts do, so this says which of them decides, and where.

    Args:
        verdicts: `synthbook.claims.decide.verdicts`.
        title: shown above the table.
        holding: False leaves out the parts that hold, so that what decides is left.
    """
    import pandas as pd

    lines = [
        {
            "claim": one.id,
            "inequality": html.escape(part.text),
            "where": html.escape(part.cell),
            "scale": one.scale,
            "verdict": verdict_html(part.verdict),
            "effect": effect_text(part.effect, part.low, part.high) or MISSING,
        }
        for one in verdicts
        for part in one.parts
        if holding or part.verdict != "holds"
    ]
    frame = pd.DataFrame(lines)
    if len({line["claim"] for line in lines}) == 1:
        frame = frame.drop(columns="claim")
    note = "Effect: left side minus right side, mean over seeds [95 % interval]."
    return plain(frame, caption=title, notes=[note], markup=True)
