"""Tables of the rows that a check asks for: a quantity is a column, a line is a seed.

Tables are so small that NumPy makes them in less time than it takes to import pandas.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from synthbook.claims.inference import Columns, replicates
from synthbook.claims.language import REQUIRED, Check, Expression, Fields, Requirement, Trend
from synthbook.record.metrics import METRICS, Metric
from synthbook.record.rows import IDENTITY, Row

Rows = Mapping[tuple[str, str], list[dict[str, Any]]]  # (chapter, metric) -> rows of one scale


@dataclass(frozen=True)
class Quantity:
    """A quantity in one cell: the fields that its rows have, and how many rows there are."""

    name: str
    fields: Fields
    rows: int

    @property
    def text(self) -> str:
        """The fields in words, without the chapter."""
        rest = [f"{key}={value}" for key, value in self.fields.items() if key not in REQUIRED]
        metric = METRICS.get(self.fields["metric"], Metric("", self.fields["metric"])).words
        head = "{method}, {train} -> {test}".format_map(self.fields).removesuffix(" -> ")
        return f"{metric} of {head} [{', '.join(rest)}]" if rest else f"{metric} of {head}"


def by_scale(rows: Iterable[Row]) -> dict[str, Rows]:
    """Return rows by scale; each is its identity, with the names of its setting, and ``value``."""
    scales: dict[str, Any] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        named = {name: getattr(row, name) for name in (*IDENTITY, "value") if name != "setting"}
        scales[row.scale][row.chapter, row.metric].append(named | row.setting)
    return scales


@dataclass(frozen=True)
class Cell:
    """Where an inequality is asked, and its table there."""

    place: dict[str, Any]  # values of placeholders, and of fields that are left free
    quantities: tuple[Quantity, ...]
    fault: str = ""  # why nothing can be said here
    seeds: tuple[int, ...] = ()  # those that all quantities have
    columns: Columns = field(default_factory=dict)

    @property
    def label(self) -> str:
        """The cell in words: "G=gan, digits, small_cnn"."""
        plain = ("dataset", "backbone")
        return ", ".join(f"{v}" if k in plain else f"{k}={v}" for k, v in self.place.items())

    def at(self, seeds: Iterable[int]) -> Columns:
        """Return the table of some of the seeds."""
        kept = np.isin(self.seeds, list(seeds))
        return {name: column[kept] for name, column in self.columns.items()}


def cells_of(check: Check, names: Iterable[str], rows: Rows, free: Iterable[str]) -> list[Cell]:
    """Return the cells of some quantities, each with its table.

    A field that is free makes cells. A quantity that fixes it, or whose rows say "" since it does
    not apply, is the same in all of them.
    """
    cells = []
    for binding in check.bindings(names):
        asked = {name: check.quantity(name, binding) for name in sorted(names)}
        axes = [axis for axis in free if any(axis not in wanted for wanted in asked.values())]
        at: dict[str, dict[frozenset[Any], list[Any]]] = {n: defaultdict(list) for n in asked}
        for name, wanted in asked.items():
            own = [axis for axis in axes if axis not in wanted]
            for row in rows.get((wanted["chapter"], wanted["metric"]), []):
                if wanted.items() <= row.items():
                    place = frozenset((axis, row[axis]) for axis in own if row.get(axis, "") != "")
                    at[name][place].append(row)
        known = set().union(*at.values())
        widest = [place for place in known if not any(place < other for other in known)]
        places = [sorted(place, key=lambda pair: axes.index(pair[0])) for place in widest]
        places.sort(key=lambda place: [(k, isinstance(v, str), v) for k, v in place])
        for place in places or [[]]:
            held = {
                name: [row for part, some in found.items() if part <= {*place} for row in some]
                for name, found in at.items()
            }
            asks = (_quantity(n, asked[n], dict(place), held[n]) for n in asked)
            table = {name: {row["seed"]: row["value"] for row in held[name]} for name in asked}
            seeds = tuple(sorted(set.intersection(*map(set, table.values()))))
            columns = {name: np.array([table[name][seed] for seed in seeds]) for name in asked}
            fault = _ambiguity(held) or ("" if seeds else "no seed is common to its quantities")
            cells.append(Cell({**binding, **dict(place)}, tuple(asks), fault, seeds, columns))
    return cells


def _quantity(name: str, asked: Fields, place: Fields, rows: Sequence[dict[str, Any]]) -> Quantity:
    own = {axis: value for axis, value in place.items() if not rows or rows[0].get(axis) == value}
    return Quantity(name, {**own, **asked}, len(rows))


def _ambiguity(held: Mapping[str, Sequence[dict[str, Any]]]) -> str:
    """Return in what several rows of one quantity, cell and seed differ; "" if there are none."""
    for name, rows in held.items():
        if len({row["seed"] for row in rows}) < len(rows):
            pairs = Counter(pair for row in rows for pair in row.items())
            differ = {key for (key, _), count in pairs.items() if count < len(rows)}
            return f"rows of {name} differ in {', '.join(sorted(differ - {'seed', 'value'}))}"
    return ""


def curves_of(check: Check, trend: Trend, rows: Rows) -> list[Cell]:
    """Return the curves of a trend: cells but for the swept field, with a column a point."""
    curves: dict[Any, list[Cell]] = defaultdict(list)
    for point in cells_of(check, trend.names, rows, dict.fromkeys((*check.cells, trend.across))):
        curves[tuple(pair for pair in point.place.items() if pair[0] != trend.across)].append(point)
    cells = []
    for place, points in curves.items():
        faults = [point.fault for point in points if point.fault]
        if len(points) < (3 if trend.by == "spearman" else 2):
            faults.append(f"only {len(points)} value(s) of {trend.across}")
        if not all(isinstance(point.place.get(trend.across), int | float) for point in points):
            faults.append(f"the values of {trend.across} are not numbers")
        seeds = tuple(sorted(set.intersection(*(set(point.seeds) for point in points))))
        faults += [] if seeds else ["no seed is common to its points"]
        tables = [point.at(seeds) for point in points]
        columns = {name: np.stack([table[name] for table in tables], 1) for name in tables[0]}
        asks = tuple(quantity for point in points for quantity in point.quantities)
        cells.append(Cell(dict(place), asks, (faults or [""])[0], seeds, columns))
    return cells


def effects_of(item: Requirement | Trend, value: Expression, columns: Columns) -> np.ndarray:
    """Return the effect of all seeds first, then without each of them."""
    columns = {name: columns[name] for name in value.names}
    if isinstance(item, Requirement):
        return replicates(value, columns)
    sign = 1 if item.direction == "up" else -1
    if item.by == "spearman":
        each = np.array([_rank_correlation(line) for line in value(columns)])
        return replicates(lambda held: sign * held[0], {0: each})

    def rise(held: Columns) -> np.ndarray:
        y = value(held)
        return sign * (y[:, -1] - (y[:, 0] if item.by == "ends" else 0))

    return replicates(rise, columns)


def _rank_correlation(y: np.ndarray) -> float:
    """Return Spearman's rank correlation of values with the order in which they stand."""
    ranks = (y[:, None] > y).sum(axis=1) + (y[:, None] == y).sum(axis=1) / 2
    finite = np.isfinite(y).all()
    varied = np.corrcoef(np.arange(len(y)), ranks)[0, 1] if np.ptp(ranks) else 0.0
    return float(varied) if finite else math.nan
