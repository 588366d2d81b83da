"""What a report means and what to do about it, in plain words, by rules written down here.

No rule compares a number with a threshold taken out of the air: each compares generated images
with unseen real ones (or with training on real images alone) that were measured in the same run,
and asks on which side of zero the interval of the difference lies. The exceptions are a score
that is itself a test (`repeats`), and counts of equal images, of which one is enough.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from synthbook.studies.audit.findings import SEVERITIES, Advice, undecided
from synthbook.studies.audit.rules_copies import equal_images, near_copies, repeats, test_images
from synthbook.studies.audit.rules_gap import (
    alone,
    appearance,
    content,
    direction,
    easy,
    labels,
    quality,
    remedies,
    together,
)

if TYPE_CHECKING:
    from synthbook.studies.audit.report import Report

__all__ = ["OVER_SEEDS", "RULES", "Advice", "advice"]

OVER_SEEDS = (together, remedies, alone, content, quality, appearance, direction, easy, labels)
RULES: tuple[Callable[[Report], Advice], ...] = (
    equal_images, near_copies, repeats, test_images, *OVER_SEEDS,
)  # fmt: skip


def advice(report: Report) -> list[Advice]:
    """Return what follows from a report, the gravest first; one entry a rule, none left out.

    With one seed, whatever needs an interval over seeds is undecided and a warning.
    """
    found = []
    for rule in RULES:
        one = rule(report)
        if len(report.seeds) == 1 and rule in OVER_SEEDS:
            one = undecided(report, one.topic, one.what)
        found.append(one)
    return sorted(found, key=lambda one: SEVERITIES.index(one.severity))
