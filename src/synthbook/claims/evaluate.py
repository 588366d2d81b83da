"""A check over rows: every inequality in every cell, one effect a seed."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator

import numpy as np

from synthbook.claims.expressions import Inequality, expression, inequality
from synthbook.claims.language import Check, Requirement, Trend
from synthbook.claims.measured import Rows
from synthbook.claims.parts import Found, Part, Unmet, combine
from synthbook.claims.quantities import Cell, Missing, Quantities, Table


class Evaluation:
    """One check over the rows of one scale."""

    def __init__(self, check: Check, rows: Rows) -> None:
        """Take a check and the rows to ask; `parts` evaluates it."""
        self.check, self.rows = check, rows

    def parts(self) -> list[Part]:
        """Return all parts: first those that decide, of every inequality and trend."""
        premises = [found for text in self.check.premise for found in self._premise(text)]
        found: list[Part] = []
        for item in self.check.require:
            test = inequality(item.that)
            cells = [(one, _unmet(one, premises)) for one in self._inequality(test, item)]
            over = item.over or self.check.over
            nothing = f"no cell in which {item.only}" if item.only else "no rows"
            found += combine(item.that, cells, over, strict=test.strict, nothing=nothing)
        for item in self.check.trend:
            cells = [(one, _unmet(one, premises)) for one in self._trend(item)]
            found += combine(item.text, cells, item.over or self.check.over, strict=True)
        return found

    def _quantities(self, names: Iterable[str], binding: dict[str, str]) -> Quantities:
        return Quantities(self.check, names, binding, self.rows)

    def _inequality(self, test: Inequality, item: Requirement) -> Iterator[Found]:
        for binding in self.check.bindings(item.names):
            quantities = self._quantities(item.names, binding)
            for cell in quantities.cells():
                seeds, values, missing, fault = quantities.table(cell)
                if missing or fault:
                    yield Found(binding, cell, {}, missing, fault)
                    continue
                if item.only:
                    condition = inequality(item.only)
                    if not condition.satisfied(float(np.mean(condition.effect(values)))):
                        continue
                effects = np.broadcast_to(test.effect(values), len(seeds))
                yield Found(binding, cell, dict(zip(seeds, effects.tolist(), strict=True)))

    def _premise(self, text: str) -> Iterator[tuple[Found, str]]:
        """Yield each cell of a premise with what is wrong there ("" if it is met)."""
        test = inequality(text)
        for one in self._inequality(test, Requirement(that=text)):
            why = ""
            if one.effects:
                effect = float(np.mean(list(one.effects.values())))
                if not test.satisfied(effect):
                    why = f"premise {text} is not met (by {abs(effect):.3g}) at {one.label}"
            yield one, why

    def _trend(self, item: Trend) -> Iterator[Found]:
        """Yield the trend over the points of every other cell."""
        check = self.check
        if item.across not in check.cells:
            check = check.model_copy(update={"cells": (*check.cells, item.across)})
        for binding in check.bindings(item.names):
            quantities = Quantities(check, item.names, binding, self.rows)
            curves: dict[Cell, list[Cell]] = defaultdict(list)
            for cell in quantities.cells():
                curves[tuple(pair for pair in cell if pair[0] != item.across)].append(cell)
            for rest, points in curves.items():
                yield self._curve(
                    item, binding, rest, [quantities.table(c) for c in points], points
                )

    def _curve(
        self,
        item: Trend,
        binding: dict[str, str],
        rest: Cell,
        tables: list[Table],
        points: list[Cell],
    ) -> Found:
        """Return the trend of one curve, a number a seed."""
        ordinate, abscissa = expression(item.of), expression(item.against or "0")
        missing = tuple(one for table in tables for one in table.missing)
        fault = next((table.fault for table in tables if table.fault), "")
        swept = [dict(cell).get(item.across) for cell in points]
        if len(points) < (3 if item.by == "spearman" else 2):
            fault = fault or f"only {len(points)} value(s) of {item.across}"
        if not item.against and not all(isinstance(x, int | float) for x in swept):
            fault = fault or f"the values of {item.across} are not numbers"
        if missing or fault:
            return Found(binding, rest, {}, missing, fault)
        effects = {}
        for seed in sorted(set.intersection(*(set(table.seeds) for table in tables))):
            at = [
                {name: held[table.seeds.index(seed)] for name, held in table.values.items()}
                for table in tables
            ]
            x = np.array([abscissa(one) for one in at] if item.against else swept, dtype=float)
            y = np.array([ordinate(one) for one in at], dtype=float)
            effects[seed] = _trend_statistic(x, y if item.direction == "up" else -y, item.by)
        return Found(
            binding, rest, effects, (), "" if effects else "no seed is common to its points"
        )


def _ranks(values: np.ndarray) -> np.ndarray:
    """Return ranks from 0, ties sharing their mean."""
    below = (values[None, :] < values[:, None]).sum(axis=1)
    return below + ((values[None, :] == values[:, None]).sum(axis=1) - 1) / 2


def _trend_statistic(x: np.ndarray, y: np.ndarray, by: str) -> float:
    y = y[np.argsort(x, kind="stable")]
    if by == "last":
        return float(y[-1])
    if by == "ends":
        return float(y[-1] - y[0])
    if by == "steps":
        return float(np.diff(y).min())
    a, b = _ranks(np.sort(x)), _ranks(y)
    if not np.isfinite(y).all():
        return math.nan
    spread = a.std() * b.std()  # zero: all values equal, so there is no trend
    return float(((a - a.mean()) * (b - b.mean())).mean() / spread) if spread else 0.0


def _unmet(found: Found, premises: list[tuple[Found, str]]) -> Unmet:
    """Return what keeps the premises that concern the cell of ``found`` from being met."""
    place = {**found.binding, **dict(found.cell)}
    missing: list[Missing] = []
    unmet: list[str] = []
    for premise, why in premises:
        at = {**premise.binding, **dict(premise.cell)}
        if all(value in (None, place[axis]) for axis, value in at.items() if axis in place):
            missing += premise.missing
            unmet += filter(None, (why or premise.fault,))
    return Unmet(tuple(missing), "; ".join(dict.fromkeys(unmet)))
