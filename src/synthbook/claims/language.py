"""What a claim is, and what a check of it may say: the data model of ``claims_<paper>.yml``.

A check is data. ``let`` names quantities by the fields of the rows that hold them, ``each`` loops
placeholders such as ``{G}``, ``premise``, ``require`` and ``trend`` say what must be true of the
quantities, ``over`` says how cells (data sets, backbones, ...) combine:

    check:
      where: {chapter: 12_not_mutual, method: plain, metric: top1_accuracy, split: train}
      each: {G: [diffusion, gan]}
      let:
        RS: {train: real, test: '{G}'}
        SR: {train: '{G}', test: real}
      require: ['RS - SR > 0']
      over: all
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from synthbook.claims.expressions import expression, inequality

Scalar = str | int | float | bool
Fields = dict[str, Scalar]
Over = Literal["all", "any", "most", "mean"]

FIELDS = ("chapter", "method", "train", "test", "dataset", "backbone", "metric")
REQUIRED = ("chapter", "method", "train", "test", "metric")
_PLACEHOLDER = re.compile(r"\{(\w+)\}")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Requirement(_Strict):
    """One inequality; ``only`` keeps the cells where another inequality holds on average."""

    that: str
    over: Over | None = None  # None: the check's own
    only: str | None = None

    @property
    def texts(self) -> list[str]:
        """Its inequalities."""
        return [self.that, *([self.only] if self.only else [])]

    @property
    def names(self) -> frozenset[str]:
        """The quantities it speaks of."""
        return frozenset().union(*(inequality(text).names for text in self.texts))


class Trend(_Strict):
    """An expression that rises or falls over the values of a swept field.

    ``by``: "spearman" (rank correlation with the swept values), "ends" (last minus first value),
    "last" (the value at the largest, against zero) or "steps" (the smallest step between
    neighbours: strictly monotone if positive). ``against``: an expression whose value replaces the
    swept field as abscissa.
    """

    of: str
    across: str
    direction: Literal["up", "down"]
    by: Literal["spearman", "ends", "last", "steps"] = "spearman"
    against: str | None = None
    over: Over | None = None

    @property
    def names(self) -> frozenset[str]:
        """The quantities it speaks of."""
        other = expression(self.against).names if self.against else frozenset()
        return expression(self.of).names | other

    @property
    def text(self) -> str:
        """The trend in words."""
        ordinate = f" against {self.against}" if self.against else ""
        how = {
            "spearman": "rank correlation", "ends": "last - first", "last": "at the largest",
            "steps": "smallest step",
        }  # fmt: skip
        return f"{self.of} goes {self.direction} over {self.across}{ordinate} ({how[self.by]})"


def _requirement(given: Any) -> Any:
    return {"that": given} if isinstance(given, str) else given


class Check(_Strict):
    """A claim in terms of recorded rows: see the module's docstring."""

    where: Fields = {}  # fields that all quantities share
    let: dict[str, Fields] = {}
    each: dict[str, list[str]] = {}
    cells: tuple[str, ...] = ("dataset", "backbone")  # fields that are free: one cell a value
    premise: list[str] = []
    require: list[Annotated[Requirement, BeforeValidator(_requirement)]] = []
    trend: list[Trend] = []
    include: list[str] = []  # ids of claims whose parts are parts of this one
    over: Over = "all"

    def quantity(self, name: str) -> Fields:
        """Return the fields that rows of a quantity have, placeholders not yet filled."""
        return {**self.where, **self.let[name]}

    def placeholders(self, names: Iterable[str]) -> list[str]:
        """Return the axes of ``each`` that the quantities use, in the order of ``each``."""
        texts = [str(value) for name in names for value in self.quantity(name).values()]
        used = {found for text in texts for found in _PLACEHOLDER.findall(text)}
        return [axis for axis in self.each if axis in used]

    def bindings(self, names: Iterable[str]) -> Iterator[dict[str, str]]:
        """Yield the values of the placeholders that the quantities use, all combinations."""
        axes = self.placeholders(names)
        for values in itertools.product(*(self.each[axis] for axis in axes)):
            yield dict(zip(axes, values, strict=True))

    @property
    def chapters(self) -> list[str]:
        """The chapters whose rows it reads."""
        return list(dict.fromkeys(str(self.quantity(name)["chapter"]) for name in self.let))

    @model_validator(mode="after")
    def _consistent(self) -> Check:
        if not (self.require or self.trend or self.include):
            raise ValueError("a check needs 'require', 'trend' or 'include'")
        used = frozenset().union(
            *(inequality(text).names for text in self.premise),
            *(item.names for item in (*self.require, *self.trend)),
        )
        if used != set(self.let):
            unknown, idle = sorted(used - set(self.let)), sorted(set(self.let) - used)
            raise ValueError(f"'let' lacks {unknown} and holds unused {idle}")
        for name in self.let:
            fields = self.quantity(name)
            lacking = [key for key in REQUIRED if key not in fields and key not in self.cells]
            if lacking:
                raise ValueError(f"quantity '{name}' has no {', '.join(lacking)}")
            texts = [value for value in fields.values() if isinstance(value, str)]
            found = {axis for text in texts for axis in _PLACEHOLDER.findall(text)}
            if not found <= set(self.each):
                raise ValueError(f"'each' has no {sorted(found - set(self.each))}")
        if idle := set(self.each) - set(self.placeholders(self.let)):
            raise ValueError(f"'each' holds unused {sorted(idle)}")
        return self


def fill(fields: Fields, binding: dict[str, str]) -> Fields:
    """Return fields with their placeholders replaced."""
    return {
        key: _PLACEHOLDER.sub(lambda found: binding[found[1]], value)
        if isinstance(value, str)
        else value
        for key, value in fields.items()
    }


class Claim(_Strict):
    """A claim of a study: in words, as printed, and (with ``check``) as a question to rows."""

    id: str = Field(pattern=r"^[a-z]+-\d\d$")
    where: str = Field(min_length=1)  # section, table or figure of the paper
    statement: str = Field(min_length=1)
    test: str = Field(min_length=1)  # the check in words, thresholds included
    quantities: list[Fields | str] = Field(min_length=1)
    paper_evidence: str = Field(min_length=1)
    exceptions: str  # where the paper shows or leaves open the contrary
    kind: Literal["main", "ablation", "observation"]
    scale_free: bool  # can be asked of a miniature
    miniature: str | None = None  # what stands in there
    note: str | None = None  # what the check leaves out
    check: Check | None = None

    @property
    def paper(self) -> str:
        """Key of the study."""
        return self.id.partition("-")[0]

    @property
    def chapters(self) -> list[str]:
        """The chapters whose rows its check reads."""
        return self.check.chapters if self.check else []
