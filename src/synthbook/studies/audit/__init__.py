"""A user's own real and generated images: every measure of the gap at once, and advice.

`check` and `load_generated` read the generated images; `fidelity`, `memorisation` and
`usefulness` measure; `try_remedies` trains on both in other ways; `audit` does all of it and
returns a `Report`; `advice` says in plain words what follows from it. Torch is imported by the
functions that compute, so that `check` answers within a second.
"""

from synthbook.studies.audit.advising import Advice, advice
from synthbook.studies.audit.copies import Copies, closeness, memorisation, thumbnails
from synthbook.studies.audit.distances import FLOOR, fidelity
from synthbook.studies.audit.images import Pool, check, draw, load_generated, same_classes, some
from synthbook.studies.audit.lessons import BOTH, GENERATED, REAL, Lessons, usefulness
from synthbook.studies.audit.remedies import (
    AUG,
    Effect,
    Remedies,
    effects,
    guide_for,
    try_remedies,
)
from synthbook.studies.audit.report import Report, assemble, audit
from synthbook.studies.audit.show import advice_table, by_class

__all__ = [
    "AUG",
    "BOTH",
    "FLOOR",
    "GENERATED",
    "REAL",
    "Advice",
    "Copies",
    "Effect",
    "Lessons",
    "Pool",
    "Remedies",
    "Report",
    "advice",
    "advice_table",
    "assemble",
    "audit",
    "by_class",
    "check",
    "closeness",
    "draw",
    "effects",
    "fidelity",
    "guide_for",
    "load_generated",
    "memorisation",
    "same_classes",
    "some",
    "thumbnails",
    "try_remedies",
    "usefulness",
]
