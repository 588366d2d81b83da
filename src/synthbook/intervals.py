"""Intervals over seeds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from synthbook.errors import InputError
from synthbook.randomness import numpy_generator

RESAMPLES = 10_000
DECIMALS = 9  # of an effect; what lies behind is rounding


class Interval(NamedTuple):
    """Mean over seeds and the two ends of its interval, in the unit of the values."""

    mean: float
    low: float
    high: float


def interval(values: Iterable[float], level: float = 0.95) -> Interval:
    """Return mean, low and high end of a percentile-bootstrap interval of the mean over seeds.

    The 10,000 resamples come from a generator fixed by the number of values, so the same values
    always give the same interval. With three to five seeds the percentile bootstrap is too narrow
    (Efron and Tibshirani 1993, ch. 13): read it as the spread that seeds cause, no more.

    Args:
        values: one finite number a seed, in any order (the order changes no end).
        level: share of the resampled means inside, in (0, 1).

    Returns:
        ``(mean, low, high)``. One value has no spread to resample: both ends are NaN. Equal values
        give that value three times.

    Raises:
        InputError: if there is no value, one is not finite, or ``level`` is outside (0, 1).
    """
    sample = np.sort(np.asarray(list(values), dtype=np.float64).ravel())
    if sample.size == 0:
        raise InputError("no value to form an interval from; give one number a seed")
    if not np.isfinite(sample).all():
        raise InputError(f"values {sample.tolist()} hold NaN or infinity; drop failed runs first")
    if not 0 < level < 1:
        raise InputError(f"level = {level} is outside (0, 1); give a share such as 0.95")
    if sample.size == 1:
        return Interval(float(sample[0]), math.nan, math.nan)
    if sample[0] == sample[-1]:
        return Interval(*[float(sample[0])] * 3)
    draws = numpy_generator(0, "interval", sample.size).integers(
        0, sample.size, size=(RESAMPLES, sample.size)
    )
    tail = (1 - level) / 2
    low, high = np.quantile(sample[draws].mean(axis=1), [tail, 1 - tail])
    return Interval(float(sample.mean()), float(low), float(high))


def effect_text(effect: float | None, low: float | None, high: float | None) -> str:
    """Return an effect with its interval, "+3.2 [+1.1, +5.0]"; "" if there is none."""
    if effect is None:
        return ""
    # A difference of equal means is some 1e-15, which is no effect and must not look like one.
    effect, low, high = (
        None if x is None else round(x, DECIMALS) + 0.0 for x in (effect, low, high)
    )
    if low is None or high is None or math.isnan(low) or math.isnan(high):
        return f"{effect:+.3g}"
    return f"{effect:+.3g} [{low:+.3g}, {high:+.3g}]"


class Difference(Interval):
    """The interval of a difference, of which it matters on which side of zero it lies."""

    __slots__ = ()

    @property
    def sign(self) -> int:
        """1 or -1 where the whole interval lies on that side of zero, else 0 (also for NaN)."""
        return int(self.low > 0) - int(self.high < 0)

    def text(self, decimals: int = 2) -> str:
        """Return "-0.31 [-0.33, -0.29]", or the mean alone where one seed gives no interval."""
        ends = f" [{self.low:+.{decimals}f}, {self.high:+.{decimals}f}]"
        return f"{self.mean:+.{decimals}f}{'' if math.isnan(self.low) else ends}"


def paired(values: Sequence[float], reference: Sequence[float]) -> Difference:
    """Return ``values`` less ``reference``, seed by seed, with the `interval` over seeds."""
    return Difference(*interval(a - b for a, b in zip(values, reference, strict=True)))


def rates(count: float, total: float, other: float, other_total: float) -> Difference:
    """Return ``count / total - other / other_total`` with Agresti and Caffo's 95 % interval (2000).

    One success and one failure are added to each sample, so that a share of zero gets an interval
    of positive width. The mean is the plain difference.
    """
    first, second = (count + 1) / (total + 2), (other + 1) / (other_total + 2)
    error = math.sqrt(first * (1 - first) / (total + 2) + second * (1 - second) / (other_total + 2))
    middle = first - second
    plain = count / total - other / other_total
    return Difference(plain, middle - 1.96 * error, middle + 1.96 * error)
