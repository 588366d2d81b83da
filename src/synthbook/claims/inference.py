"""What numbers of a few seeds say of an effect, and of many effects at once.

A statistic is a function of means over seeds, so that no maximum or absolute value is taken of one
seed. Student's t judges it, by the spread of its jackknife pseudo-values (Tukey 1958); for a linear
statistic these are its values at the seeds, and the interval is the usual one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from synthbook.intervals import DECIMALS, student, student_quantile

ALPHA = 0.025  # on each side: an effect is decided where its 95 % interval excludes zero
MIN_SEEDS = 5
MOST_SEEDS = 100  # as far as it is told how many would decide
Columns = Mapping[Any, np.ndarray]  # a line a seed


@dataclass(frozen=True)
class Estimate:
    """A statistic with its interval, and how well the seeds bear out each of its signs.

    ``p_hold`` is small where it is above zero and ``p_fail`` where it is below: one-sided p-values
    of zero. Both are 1 where nothing can be said.
    """

    effect: float | None = None  # None: not finite
    low: float | None = None  # ends of the 95 % interval; None with one seed
    high: float | None = None
    seeds: int = 0
    p_hold: float = 1.0
    p_fail: float = 1.0


def replicates(statistic: Callable[[Columns], Any], columns: Columns) -> np.ndarray:
    """Return a statistic of the column means: of all seeds first, then without each of them."""

    def means(column: np.ndarray) -> np.ndarray:
        others = (column.sum(0) - column) / max(len(column) - 1, 1)
        return np.concatenate([column.mean(0, keepdims=True), others[len(column) == 1 :]])

    return statistic({name: means(column) for name, column in columns.items()})


def estimate(values: np.ndarray, *, strict: bool = True) -> Estimate:
    """Return the estimate of `replicates`; not ``strict``: zero supports the claim too."""
    seeds, first = len(values) - 1 or 1, float(values[0])
    if not np.isfinite(values).all():
        return Estimate(seeds=seeds)
    effect = round(first, DECIMALS) + 0.0
    if len(values) == 1:
        return Estimate(effect, seeds=1)
    pseudo = seeds * first - (seeds - 1) * values[1:]
    error = float(pseudo.std(ddof=1)) / math.sqrt(seeds)
    if round(error, DECIMALS) == 0:  # all seeds agree, and the sign decides
        supported = effect > 0 or (effect == 0 and not strict)
        return Estimate(effect, effect, effect, seeds, float(not supported), float(effect >= 0))
    reach = student_quantile(1 - ALPHA, seeds - 1) * error
    low, high = (round(end, DECIMALS) + 0.0 for end in (first - reach, first + reach))
    below = student(first / error, seeds - 1)
    return Estimate(effect, low, high, seeds, 1 - below, below)


def at_least(needed: int, p: Sequence[float]) -> float:
    """Return the p-value of "at least ``needed`` of these hold" (Benjamini and Heller 2008).

    With all of them needed it is the largest (the intersection-union test), with one of them the
    smallest times their number (Bonferroni).
    """
    return min(1.0, (len(p) - needed + 1) * sorted(p)[needed - 1])


def seeds_needed(one: Estimate) -> str:
    """Return about how many seeds would decide an effect, at its size and spread, in words."""
    error = (one.high - one.low) / 2 / student_quantile(1 - ALPHA, one.seeds - 1)
    for seeds in range(one.seeds + 1, MOST_SEEDS + 1):
        reach = student_quantile(1 - ALPHA, seeds - 1) * error * math.sqrt(one.seeds / seeds)
        if reach < abs(one.effect):
            return f"about {seeds} seeds would decide"
    return f"more than {MOST_SEEDS} seeds would decide"
