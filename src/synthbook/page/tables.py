"""Tables: this run, the recorded runs and the paper's figures side by side; verdicts."""

from __future__ import annotations

import hashlib
import html
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from synthbook.errors import InputError
from synthbook.intervals import effect_text, interval
from synthbook.page.figures import label

if TYPE_CHECKING:
    import pandas as pd
    from great_tables import GT

MISSING = "·"
MARKS = {"holds": "✓", "fails": "✗", "undecided": "?", "not run": MISSING}
HEADINGS = {
    "method": "method", "train": "trained on", "test": "tested on", "dataset": "data set",
    "source": "source", "backbone": "backbone", "metric": "metric", "split": "split",
}  # fmt: skip
Key = tuple[str, ...]
Cells = dict[Key, tuple[str, int]]  # key -> (text, number of seeds)


def _theme(table: GT, name: str) -> GT:
    """Return a table that takes its colours from the page, light or dark."""
    css = (
        f"#{name} .gt_table, #{name} .gt_table * "
        "{color: inherit !important; background-color: transparent !important;}\n"
        f"#{name} .gt_table {{font-size: 0.9em !important;}}\n"
        f"#{name} .gt_row {{vertical-align: top; font-variant-numeric: tabular-nums;}}\n"
        f"#{name} .gt_row:first-child, #{name} .gt_right {{white-space: nowrap;}}"
    )
    return table.opt_css(css)


def _id(*parts: Any) -> str:
    """Return an HTML id that is fixed by what the table shows."""
    return "t" + hashlib.sha256(repr(parts).encode()).hexdigest()[:10]


def _plain(value: Any) -> str:
    """Return a value as text: 4, 4.0 and the paper's "4" are one; no value (NaN, None) is ""."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    whole = isinstance(value, float) and value.is_integer()
    return str(int(value) if whole else value)


def _keys(table: pd.DataFrame, names: Sequence[str], what: str) -> list[Key]:
    for name in (*names, "value"):
        if name not in table:
            raise InputError(
                f"{what} rows have no column '{name}'; they have {', '.join(map(str, table))}"
            )
    return [
        tuple(map(_plain, key)) for key in table[list(names)].itertuples(index=False, name=None)
    ]


def _measured(table: pd.DataFrame, names: Sequence[str], decimals: int, what: str) -> Cells:
    """Return the mean over seeds in each cell, with the half-width of its 95 % interval."""
    values: dict[Key, dict[int, float]] = {}
    for key, seed, value in zip(
        _keys(table, names, what), table["seed"], table["value"], strict=True
    ):
        held = values.setdefault(key, {})
        if seed in held:
            told = ", ".join(f"{name} {part}" for name, part in zip(names, key, strict=True))
            raise InputError(
                f"two {what} rows of seed {seed} at {told}; add the setting that tells them apart "
                "to the index, or average over it first"
            )
        held[int(seed)] = float(value)
    cells = {}
    for key, by_seed in values.items():
        mean, low, high = interval(by_seed.values())
        spread = "" if math.isnan(low) else f" ± {(high - low) / 2:.{decimals}f}"
        cells[key] = (f"{mean:.{decimals}f}{spread}", len(by_seed))
    return cells


def _printed(table: pd.DataFrame, names: Sequence[str], decimals: int) -> Cells:
    cells: Cells = {}
    for key, value in zip(_keys(table, names, "published"), table["value"], strict=True):
        if key in cells:
            told = ", ".join(f"{name} {part}" for name, part in zip(names, key, strict=True))
            raise InputError(f"two published values at {told}; select one, or add to the index")
        cells[key] = (f"{float(value):.{decimals}f}", 1)
    return cells


def _seeds(cells: Cells) -> str:
    counts = sorted({count for _, count in cells.values()})
    if counts == [1]:
        return "1 seed"
    return f"{'–'.join(str(n) for n in dict.fromkeys((counts[0], counts[-1])))} seeds"


def _blocks(
    live: pd.DataFrame | None,
    recorded: pd.DataFrame | Sequence[pd.DataFrame] | None,
    printed: pd.DataFrame | None,
    names: Sequence[str],
    decimals: int,
) -> list[tuple[str, Cells]]:
    """Return (heading, cells) of this run, of each recorded scale and of the paper."""
    blocks = []
    tables = [recorded] if hasattr(recorded, "columns") else list(recorded or [])
    for what, group in (("this run", [live]), ("recorded", tables)):
        for table in group:
            if table is None or not len(table):
                continue
            for scale in dict.fromkeys(table["scale"]):
                cells = _measured(table[table["scale"] == scale], names, decimals, what)
                blocks.append((f"{what}: {scale}, {_seeds(cells)}", cells))
    if printed is not None and len(printed):
        tables_named = "/".join(dict.fromkeys(map(str, printed.get("table", []))))
        blocks.append(
            (f"paper: {tables_named}" if tables_named else "paper",
             _printed(printed, names, decimals))
        )  # fmt: skip
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
) -> GT:
    """Return a table with the same numbers of this run, the recorded runs and the paper.

    A measured cell is the mean over seeds and, with two seeds or more, the half-width of the 95 %
    bootstrap interval; the heading over its columns says scale and seeds. What was not run, or not
    printed, is "·". Lines and columns stand in the order in which they first appear.

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
    from great_tables import GT
    from great_tables import html as markup

    names = [*index] + ([columns] if columns else [])
    blocks = _blocks(live, recorded, published, names, decimals)
    depth = len(index)
    lines = list(dict.fromkeys(key[:depth] for _, cells in blocks for key in cells))
    place = {value: number for number, value in enumerate(order)}
    lines.sort(key=lambda line: place.get(line[0], len(place)))
    shown: dict[str, list[str]] = {
        f"i{k}": [label(line[k]) for line in lines] for k in range(depth)
    }
    written = HEADINGS | dict(headings or {})
    labels = {f"i{k}": written.get(name, name.replace("_", " ")) for k, name in enumerate(index)}
    spanners: list[tuple[str, list[str]]] = []
    headed = list(dict.fromkeys(key[depth:] for _, cells in blocks for key in cells))
    gaps = False
    for number, (heading, cells) in enumerate(blocks):
        members = []
        present = {key[depth:] for key in cells}
        for column in (one for one in headed if one in present):
            name = f"b{number}c{len(members)}"
            texts = [cells.get(line + column, (MISSING, 0))[0] for line in lines]
            gaps |= MISSING in texts
            shown[name], labels[name] = texts, label(column[0]) if column else "value"
            members.append(name)
        spanners.append((heading, members))
    identity = _id(title, labels, spanners, shown)
    table = GT(pd.DataFrame(shown, dtype=object), id=identity)
    for number, (heading, members) in enumerate(spanners):
        table = table.tab_spanner(label=heading, columns=members, id=f"s{number}")
    table = table.cols_label(**{name: markup(html.escape(text)) for name, text in labels.items()})
    numbers = [name for _, members in spanners for name in members]
    if numbers:
        table = table.cols_align("right", columns=numbers)
    table = table.cols_align("left", columns=[f"i{k}" for k in range(depth)])
    if title:
        table = table.tab_header(title=title)
    if any(" ± " in text for texts in shown.values() for text in texts):
        table = table.tab_source_note("Mean ± half the width of the 95 % interval over seeds.")
    if gaps:
        table = table.tab_source_note(f"{MISSING} not run, or not in the paper.")
    if not blocks:
        table = table.tab_source_note("Nothing was run yet.")
    return _theme(table, identity)


def verdict_table(
    verdicts: Iterable[Any], *, statements: Mapping[str, str] | None = None, title: str = ""
) -> GT:
    """Return claims with their verdicts, one a line.

    Args:
        verdicts: `synthbook.claims.decide.verdicts`.
        statements: claim id -> its words; None: those of the claims files.
        title: shown above the table.
    """
    import pandas as pd
    from great_tables import GT

    found = list(verdicts)
    if statements is None:
        from synthbook.claims.decide import claims

        papers = dict.fromkeys(one.paper for one in found)
        statements = {claim.id: claim.statement for key in papers for claim in claims(key)}
    shown = {
        "claim": [one.id for one in found],
        "statement": [statements.get(one.id, "") for one in found],
        "scale": [one.scale for one in found],
        "verdict": [f"{MARKS.get(one.verdict, '')} {one.verdict}" for one in found],
        "effect": [one.effect_text or MISSING for one in found],
        "seeds": [str(one.seeds) if one.seeds else MISSING for one in found],
        "reason": [one.reason for one in found],
    }
    identity = _id(title, shown)
    table = (
        GT(pd.DataFrame(shown, dtype=object), id=identity)
        .cols_align("left")
        .cols_align("right", columns=["seeds"])
        .cols_width({"statement": "20em", "effect": "9em", "reason": "16em"})
        .tab_source_note("Effect: mean over seeds [95 % bootstrap interval]; above 0 supports it.")
    )
    if title:
        table = table.tab_header(title=title)
    return _theme(table, identity)


def parts_table(verdicts: Iterable[Any], *, title: str = "", holding: bool = True) -> GT:
    """Return the parts of claims, one a line: every inequality in every cell with its own verdict.

    A claim holds only if all of its parts do, so this says which of them decides, and where.

    Args:
        verdicts: `synthbook.claims.decide.verdicts`.
        title: shown above the table.
        holding: False leaves out the parts that hold, so that what decides is left.
    """
    import pandas as pd
    from great_tables import GT

    lines = [
        (one, part) for one in verdicts for part in one.parts if holding or part.verdict != "holds"
    ]
    shown = {
        "claim": [one.id for one, _ in lines],
        "scale": [one.scale for one, _ in lines],
        "inequality": [part.text for _, part in lines],
        "where": [part.cell for _, part in lines],
        "verdict": [f"{MARKS.get(part.verdict, '')} {part.verdict}" for _, part in lines],
        "effect": [effect_text(p.effect, p.low, p.high) or MISSING for _, p in lines],
    }
    identity = _id("parts", title, shown)
    table = (
        GT(pd.DataFrame(shown, dtype=object), id=identity)
        .cols_align("left")
        .tab_source_note("Effect: left side minus right side, mean over seeds [95 % interval].")
    )
    if title:
        table = table.tab_header(title=title)
    return _theme(table, identity)
