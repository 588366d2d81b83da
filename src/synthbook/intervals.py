"""Intervals over seeds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np

from synthbook.errors import InputError

DECIMALS = 9  # of an effect; what lies behind is rounding
WRITTEN = 4  # of them, those that are written of an effect and its interval at most


class Interval(NamedTuple):
    """Mean over seeds and the two ends of its interval, in the unit of the values."""

    mean: float
    low: float
    high: float


def student(t: float, freedom: int) -> float:
    """Return the probability that Student's t is at most ``t``, in closed form.

    Abramowitz and Stegun (1964), 26.7.3 and 26.7.4. (scipy.special takes half a second to import.)
    """
    angle, odd = math.atan2(t, math.sqrt(freedom)), freedom % 2
    total, term = 0.0, math.cos(angle) ** odd
    for power in range(odd, freedom - 1, 2):
        total += term
        term *= math.cos(angle) ** 2 * (power + 1) / (power + 2)
    inside = math.sin(angle) * total
    return (1 + (2 / math.pi * (angle + inside) if odd else inside)) / 2


@cache
def student_quantile(probability: float, freedom: int) -> float:
    """Return the t that Student's t exceeds with one minus ``probability`` (at least 1/2)."""
    low, high = 0.0, math.pi / 2  # of the angle, whose tangent it is
    for _ in range(60):
        middle = (low + high) / 2
        t = math.sqrt(freedom) * math.tan(middle)
        low, high = (middle, high) if student(t, freedom) < probability else (low, middle)
    return math.sqrt(freedom) * math.tan((low + high) / 2)


def interval(values: Iterable[float], level: float = 0.95) -> Interval:
    """Return mean, low and high end of Student's t interval of the mean over seeds.

    It is mean ± t s / sqrt(n) with n - 1 degrees of freedom, exact for normal values. It covers
    what changes with the seed and no more.

    Args:
        values: one finite number a seed, in any order (the order changes no end).
        level: how often such an interval covers the mean of all seeds, in (0, 1).

    Returns:
        ``(mean, low, high)``. One value has no spread: both ends are NaN. Equal values give that
        value three times.

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
    mean, error = float(sample.mean()), float(sample.std(ddof=1)) / math.sqrt(sample.size)
    reach = student_quantile((1 + level) / 2, sample.size - 1) * error
    return Interval(mean, mean - reach, mean + reach)


def effect_text(effect: float | None, low: float | None, high: float | None, unit: str = "") -> str:
    """Return an effect with its interval, "+3.2 [+1.1, +5.0] points"; "" if there is none.

    The half-width of the interval has two digits, and all three numbers as many decimals.
    """
    if effect is None:
        return ""
    # A difference of equal means is some 1e-15, which is no effect and must not look like one.
    effect, low, high = (
        None if x is None else round(x, DECIMALS) + 0.0 for x in (effect, low, high)
    )
    alone = f"{effect:+.3g}" if abs(effect) < 999.5 else f"{effect:+.0f}"  # and not "+1.2e+03"
    if low is None or high is None or math.isnan(low) or math.isnan(high):
        return f"{alone} {unit}".rstrip()
    if low == high:
        return f"{alone} [{alone}, {alone}] {unit}".rstrip()
    decimals = min(WRITTEN, max(0, 1 - math.floor(math.log10((high - low) / 2))))
    while any(end and not round(end, decimals) for end in (low, high)):
        decimals += 1  # an end beside zero must not look like zero: its side decides
    effect, low, high = (round(x, decimals) + 0.0 for x in (effect, low, high))
    ends = f"[{low:+.{decimals}f}, {high:+.{decimals}f}]"
    return f"{effect:+.{decimals}f} {ends} {unit}".rstrip()


class Difference(Interval):
    """The interval of a difference, of which it matters on which side of zero it lies."""

    __slots__ = ()

    @property
    def sign(self) -> int:
        """1 or -1 where the whole interval lies on that side of zero, else 0 (also for NaN)."""
        return int(self.low > 0) - int(self.high < 0)

    def text(self, decimals: int = 2) -> str:
        """Return "-0.31 [-0.33, -0.29]", or the mean alone where one seed gives no interval."""
        mean, low, high = (f"{round(x, decimals) + 0.0:+.{decimals}f}" for x in self)
        return mean if math.isnan(self.low) else f"{mean} [{low}, {high}]"


def holm(p: Sequence[float], alpha: float) -> list[bool]:
    """Return which of several hypotheses their p-values reject, by Holm (1979).

    The chance that one or more of them are rejected wrongly is at most ``alpha``.
    """
    rejected = [False] * len(p)
    for rank, place in enumerate(sorted(range(len(p)), key=p.__getitem__)):
        if p[place] > alpha / (len(p) - rank):
            break
        rejected[place] = True
    return rejected


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
