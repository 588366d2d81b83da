"""Differences over seeds, and which of a dozen of them are more than chance."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from synthbook.intervals import DECIMALS, Difference, holm, interval, student

FEWEST = 5  # seeds that a word about accuracy takes
ALPHA = 0.05  # the chance that one or more of the differences that are decided are none


@dataclass(frozen=True)
class Comparison:
    """A difference over seeds: ``gap`` with its 95 % interval, and what may be said of it.

    ``sign`` is 1 or -1 where it is decided, else 0, and ``doubt`` says why it is not. ``p`` is the
    two-sided p-value of no difference, None where none was tested.
    """

    gap: Difference
    p: float | None
    sign: int = 0
    doubt: str = ""


def compare(
    differences: Mapping[str, Sequence[float]], accuracies: Collection[str] = ()
) -> dict[str, Comparison]:
    """Return name -> what may be said of its differences, one number a seed.

    Student's t decides, with Holm's correction (1979) over all that are tested. Of one seed none
    is, and of fewer than `FEWEST` no difference of ``accuracies``.
    """
    found = {}
    for name, values in differences.items():
        few = f"{len(values)} seeds, and accuracy takes {FEWEST}" if name in accuracies else ""
        doubt = few if len(values) < FEWEST else ""
        doubt = "one seed has no interval" if len(values) == 1 else doubt
        gap = Difference(*interval(values))
        found[name] = Comparison(gap, None if doubt else _p(values), doubt=doubt)
    tested = [name for name, one in found.items() if one.p is not None]
    decided = holm([found[name].p for name in tested], ALPHA)
    for name, is_decided in zip(tested, decided, strict=True):
        gap, doubt = found[name].gap, "the interval spans zero"
        if gap.sign:
            doubt = f"it may be chance, as one of {len(tested)} comparisons"
        sign, doubt = (int(np.sign(gap.mean)), "") if is_decided else (0, doubt)
        found[name] = Comparison(gap, found[name].p, sign, doubt)
    return found


def _p(values: Sequence[float]) -> float:
    mean, error = np.mean(values), np.std(values, ddof=1) / math.sqrt(len(values))
    if round(error, DECIMALS) == 0:
        return float(round(mean, DECIMALS) == 0)
    return 2 * student(-abs(mean / error), len(values) - 1)
