"""A user's own real and generated images: every measure of the gap at once, and a verdict.

`check_inputs` says what the images are, `audit` measures and trains and returns a `Report`,
`advise` says in plain words what follows from it. Torch is imported by the functions that
compute, so that `check_inputs` answers within a second.
"""

from synthbook.studies.audit.advice import Verdict, advise
from synthbook.studies.audit.images import AuditSettings, check_inputs, settings_of
from synthbook.studies.audit.lessons import AUG
from synthbook.studies.audit.measures import FLOOR
from synthbook.studies.audit.report import Report, audit
from synthbook.studies.audit.show import by_class, copies_table, lessons_table, spread

__all__ = [
    "AUG", "FLOOR", "AuditSettings", "Report", "Verdict", "advise", "audit", "by_class",
    "check_inputs", "copies_table", "lessons_table", "settings_of", "spread",
]  # fmt: skip
