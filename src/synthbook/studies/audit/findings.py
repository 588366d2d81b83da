"""A piece of advice, and the differences with their intervals that it rests on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from synthbook.intervals import interval
from synthbook.studies.audit.distances import FLOOR

if TYPE_CHECKING:
    from synthbook.studies.audit.report import Report

SEVERITIES = ("stop", "warn", "ok")


@dataclass(frozen=True)
class Advice:
    """One finding: ``what`` was measured against what, ``so`` what it means, what to ``do``.

    ``severity`` is 'stop' (do not use or publish them as they are), 'warn' or 'ok'; ``topic`` is
    a short name, ``chapter`` the chapter that explains the measure ("" for this one).
    """

    severity: str
    topic: str
    what: str
    so: str
    do: str
    chapter: str = ""


class Difference(NamedTuple):
    """A difference with its 95 % interval; ``sign`` is 0 if that spans zero or is not there."""

    mean: float
    low: float
    high: float

    @property
    def sign(self) -> int:
        """1 or -1 where the whole interval lies on that side of zero, else 0."""
        return int(self.low > 0) - int(self.high < 0)

    def text(self, decimals: int = 2) -> str:
        """Return "-0.31 [-0.33, -0.29]", or the mean alone where one seed gives no interval."""
        ends = f" [{self.low:+.{decimals}f}, {self.high:+.{decimals}f}]"
        return f"{self.mean:+.{decimals}f}{'' if math.isnan(self.low) else ends}"


def paired(values: Sequence[float], reference: Sequence[float]) -> Difference:
    """Return values less reference, seed by seed: the bootstrap interval over seeds."""
    return Difference(*interval(a - b for a, b in zip(values, reference, strict=True)))


def rates(count: float, total: float, other: float, other_total: float) -> Difference:
    """Return the difference of two shares with the 95 % interval of Agresti and Caffo (2000).

    One success and one failure are added to each sample, so that a share of zero gets an interval
    of positive width. The mean is the plain difference.
    """
    first, second = (count + 1) / (total + 2), (other + 1) / (other_total + 2)
    error = math.sqrt(first * (1 - first) / (total + 2) + second * (1 - second) / (other_total + 2))
    middle = first - second
    plain = count / total - other / other_total
    return Difference(plain, middle - 1.96 * error, middle + 1.96 * error)


def mean(values: Sequence[float]) -> float:
    """Return the mean over seeds."""
    return sum(values) / len(values)


def against(report: Report, name: str, decimals: int = 2) -> tuple[Difference, str]:
    """Return a measure less that of unseen real images, and the comparison in words."""
    own, floor = report.values[name], report.values[name + FLOOR]
    found = paired(own, floor)
    text = f"{mean(own):.{decimals}f} against {mean(floor):.{decimals}f}"
    return found, f"{text} (difference {found.text(decimals)})"


def undecided(report: Report, topic: str, what: str) -> Advice:
    """Return a warning that more seeds are needed."""
    seeds = len(report.seeds)
    so = f"undecided: {'one seed has no interval' if seeds == 1 else 'the interval spans zero'}"
    return Advice("warn", topic, what, so, f"run more seeds: -p seeds {max(5, 2 * seeds)}")
