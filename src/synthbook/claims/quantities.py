"""The quantities of a check, found in rows: a value a seed in every cell, or why there is none."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from synthbook.claims.language import Check, Fields, fill
from synthbook.claims.measured import Measured, Rows

Cell = tuple[tuple[str, Any], ...]  # (axis, value), in the order of the check's axes


class Missing(NamedTuple):
    """A quantity that has no rows, in words, and the chapter that would make them."""

    chapter: str
    text: str


class Table(NamedTuple):
    """Quantities in one cell: name -> values in the order of ``seeds``, or what is wrong."""

    seeds: list[int]
    values: dict[str, np.ndarray]
    missing: tuple[Missing, ...]
    fault: str


def describe(fields: Fields) -> str:
    """Return a quantity in words."""
    known = ("chapter", "method", "train", "test", "metric")
    rest = [f"{key}={value}" for key, value in fields.items() if key not in known]
    head = f"{fields.get('method', '*')}, {fields.get('train', '*')} -> {fields.get('test', '*')}"
    tail = f" [{', '.join(rest)}]" if rest else ""
    return f"{fields.get('metric', '*')} of {head}{tail}"


class Quantities:
    """The quantities of a check for one filling of its placeholders, found in rows."""

    def __init__(
        self, check: Check, names: Iterable[str], binding: dict[str, str], rows: Rows
    ) -> None:
        """Find the rows of the quantities ``names`` with the placeholders of ``binding`` filled."""
        self.fields = {name: fill(check.quantity(name), binding) for name in sorted(names)}
        self.axes = tuple(
            axis
            for axis in check.cells
            if any(axis not in fields for fields in self.fields.values())
        )
        self.values: dict[str, dict[Cell, dict[int, float]]] = {}
        self.ambiguous: dict[tuple[str, Cell], str] = {}
        for name, fields in self.fields.items():
            self.values[name] = self._collect(name, fields, rows)

    def _key(self, name: str, at: Mapping[str, Any]) -> Cell:
        free = [axis for axis in self.axes if axis not in self.fields[name]]
        return tuple((axis, at.get(axis)) for axis in free)

    def _collect(self, name: str, fields: Fields, rows: Rows) -> dict[Cell, dict[int, float]]:
        found: dict[Cell, dict[int, float]] = defaultdict(dict)
        first: dict[tuple[Cell, int], Measured] = {}
        for row in rows.matching(fields):
            # "" is how a row says that a field does not apply to it
            free = {axis: row.fields.get(axis) for axis in self.axes}
            free = {axis: None if value == "" else value for axis, value in free.items()}
            key = self._key(name, free)
            if other := first.setdefault((key, row.seed), row):
                differ = sorted(
                    field
                    for field in {*row.fields, *other.fields}
                    if row.fields.get(field) != other.fields.get(field)
                )
                if differ:
                    self.ambiguous[name, key] = f"rows of {name} differ in {', '.join(differ)}"
            found[key][row.seed] = row.value
        return dict(found)

    def cells(self) -> list[Cell]:
        """Return the cells that any quantity has rows in, sorted; [()] if no field is free."""
        whole = {
            key
            for name, at in self.values.items()
            if len(self._key(name, {})) == len(self.axes)
            for key in at
        }
        filled = {axis for cell in whole for axis, value in cell if value is not None}
        kept = [c for c in whole if all(v is not None or axis not in filled for axis, v in c)]
        return sorted(kept, key=lambda cell: [_order(value) for _, value in cell]) or [()]

    def at(self, name: str, cell: Cell) -> tuple[dict[int, float], str]:
        """Return seed -> value of a quantity in a cell, and why that is ambiguous, if it is.

        A field that the quantity's rows leave empty matches every cell.
        """
        wanted, held = self._key(name, dict(cell)), self.values[name]
        loose = (
            key
            for key in held
            if all(mine in (None, value) for (_, mine), (_, value) in zip(key, wanted, strict=True))
        )
        key = wanted if wanted in held else next(loose, None)
        return ({}, "") if key is None else (held[key], self.ambiguous.get((name, key), ""))

    def table(self, cell: Cell) -> Table:
        """Return the quantities in a cell, at the seeds that all of them have."""
        held = {name: self.at(name, cell) for name in self.fields}
        place = {axis: value for axis, value in cell if value is not None}
        missing = tuple(
            Missing(str(fields["chapter"]), describe({**place, **fields}))
            for name, fields in self.fields.items()
            if not held[name][0]
        )
        if missing:
            return Table([], {}, missing, "")
        seeds = sorted(set.intersection(*(set(values) for values, _ in held.values())))
        fault = next((why for _, why in held.values() if why), "")
        fault = fault or ("" if seeds else "no seed is common to its quantities")
        arrays = {
            name: np.array([values[seed] for seed in seeds]) for name, (values, _) in held.items()
        }
        return Table(seeds, arrays, (), fault)


def _order(value: Any) -> tuple[int, float, str]:
    numeric = isinstance(value, int | float)
    return (0, float(value), "") if numeric else (1, 0.0, str(value))
