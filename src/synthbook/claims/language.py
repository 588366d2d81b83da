"""What a claim is, and what a check of it may say: the data model of ``claims_<paper>.yml``.

A check is data. ``let`` names quantities by the fields of the rows that hold them, ``each`` loops
placeholders such as ``{G}``, ``premise``, ``require`` and ``trend`` say what must be true of the
quantities, ``over`` in how many cells (data sets, backbones, ...), ``margin`` what is no effect:

    check:
      where: {chapter: 12_not_mutual, method: plain, metric: top1_accuracy, split: train}
      each: {G: [diffusion, gan]}
      let:
        RR: {train: real, test: real}
        RS: {train: real, test: '{G}'}
        SR: {train: '{G}', test: real}
      premise: [converged, 'RR >= 95']
      require: [{that: 'RS - SR > 0', margin: 0.5}]
      over: all

Its expressions hold numbers, names of quantities, ``+ - * /``, parentheses, ``abs`` and ``mean``.
``full > max(a, b)`` and ``min(a, b) > small`` are inequalities with each of several rivals. All
else is refused when the text is read.
"""

from __future__ import annotations

import ast
import itertools
import math
import operator
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, Field, model_validator
from simpleeval import InvalidExpression, SimpleEval

from synthbook.errors import InputError

Fields = dict[str, str | int | float | bool]
Over = Literal["all", "any", "most", "mean"]

MOST_BINDINGS = 10_000  # combinations of the values of placeholders
REQUIRED = ("chapter", "method", "train", "test", "metric")
_PLACEHOLDER = re.compile(r"\{(\w+)\}")
_NAME = re.compile(r"^[a-z][a-z0-9_-]*$")  # of a premise
_OPERATORS = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul,
    ast.Div: operator.truediv, ast.UAdd: operator.pos, ast.USub: operator.neg,
}  # fmt: skip
_FUNCTIONS = {
    "mean": lambda *values: sum(values) / len(values),
    "abs": abs,
}
_NODES = (ast.Constant, ast.Name, ast.Load, ast.UnaryOp, ast.BinOp, ast.Call, *_OPERATORS)


@dataclass(frozen=True)
class Expression:
    """Arithmetic over named quantities; of an inequality: its larger minus its smaller side."""

    text: str
    tree: ast.expr
    strict: bool = True  # of an inequality: equality does not satisfy it

    @property
    def names(self) -> set[str]:
        """The quantities it speaks of."""
        names = {node.id for node in ast.walk(self.tree) if isinstance(node, ast.Name)}
        return names - set(_FUNCTIONS)

    def __call__(self, values: Mapping[str, Any]) -> Any:
        """Return its value, of numbers or columns; division by zero gives infinity or NaN."""
        with np.errstate(all="ignore"):
            return SimpleEval(_OPERATORS, _FUNCTIONS, values).eval(self.text, self.tree)

    def unit(self, units: Mapping[str, str]) -> str:
        """Return its unit, given those of the quantities; "" for a ratio or a share.

        Raises:
            InputError: if it adds or compares quantities of different units.
        """

        def of(node: ast.expr) -> str | None:  # None: a bare number, which fits any unit
            match node:
                case ast.Name(id=name):
                    return units[name]
                case ast.Constant():
                    return None
                case ast.UnaryOp(operand=inner):
                    return of(inner)
                case ast.BinOp(left, ast.Mult() | ast.Div() as sign, right):
                    first, second = of(left), of(right)
                    if isinstance(sign, ast.Div):
                        if second in (None, ""):
                            return first
                        return "" if first == second else f"{first or 1}/{second}"
                    if first and second:
                        return f"{first}²" if first == second else f"{first} x {second}"
                    return first or second
            inner = [node.left, node.right] if isinstance(node, ast.BinOp) else node.args
            if len(held := {one for one in map(of, inner) if one is not None}) > 1:
                raise InputError(
                    f"'{self.text}' adds or compares {' and '.join(sorted(map(repr, held)))}; "
                    "compare quantities of one unit"
                )
            return held.pop() if held else None

        return of(self.tree) or ""


def _refusal(text: str, why: object) -> InputError:
    allowed = "numbers, names, + - * /, parentheses, abs and mean are, max and min among rivals"
    return InputError(f"the expression '{text}' is not allowed: {why}; only {allowed}")


def _parse(text: str) -> ast.expr:
    try:
        return ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        raise _refusal(text, "it is no expression") from error


def _checked(expression: Expression) -> Expression:
    """Return an expression if it holds arithmetic only, after a trial with numbers."""
    for node in ast.walk(expression.tree):
        if not isinstance(node, _NODES):
            raise _refusal(expression.text, f"it holds {type(node).__name__}")
        if isinstance(node, ast.Name) and node.id in ("max", "min"):
            raise _refusal(expression.text, f"{node.id} has no rivals there")
        if isinstance(node, ast.Constant) and not (
            type(node.value) in (int, float) and node.value < 1e300
        ):
            raise _refusal(expression.text, f"{node.value!r} is no finite number")
    try:
        value = expression(dict.fromkeys(expression.names, np.float64(1.5)))
    except (InvalidExpression, TypeError, ArithmeticError, RecursionError) as error:
        raise _refusal(expression.text, error) from error
    if callable(value):
        raise _refusal(expression.text, "it is a function")
    return expression


@cache
def expression(text: str) -> Expression:
    """Return the arithmetic expression that a text is; anything else is an `InputError`."""
    return _checked(Expression(text, _parse(text)))


def _rivals(side: ast.expr, rival: str) -> list[ast.expr]:
    """Return what a side of an inequality becomes, one for each rival among its terms.

    ``rival`` is the function that leaves the inequality a conjunction: "max" on the smaller side,
    "min" on the larger one, and the other of the two behind a minus.
    """
    match side:
        case ast.Call(ast.Name(id=name), [_, *_] as given, []) if name == rival:
            return [one for inner in given for one in _rivals(inner, rival)]
        case ast.BinOp(left, ast.Add() | ast.Sub() as sign, right):
            turned = rival if isinstance(sign, ast.Add) else {"max": "min", "min": "max"}[rival]
            pairs = itertools.product(_rivals(left, rival), _rivals(right, turned))
            return [ast.BinOp(one, sign, two) for one, two in pairs]
    return [side]


def _weights(tree: ast.expr) -> dict[str, float]:
    """Return an expression as a weighted sum, term -> weight; the term of a number is "".

    What is no sum, such as a ratio or an absolute value, is a term as a whole.
    """

    def added(pairs: Iterable[tuple[ast.expr, float]]) -> dict[str, float]:
        found: dict[str, float] = {}
        for one, factor in pairs:
            for term, weight in _weights(one).items():
                found[term] = found.get(term, 0.0) + factor * weight
        return {term: weight for term, weight in found.items() if round(weight, 9)}

    match tree:
        case ast.Constant(value=number):
            return {"": float(number)}
        case ast.UnaryOp(sign, inner):
            return added([(inner, -1.0 if isinstance(sign, ast.USub) else 1.0)])
        case ast.BinOp(left, ast.Add() | ast.Sub() as sign, right):
            return added([(left, 1.0), (right, 1.0 if isinstance(sign, ast.Add) else -1.0)])
        case ast.Call(ast.Name(id="mean"), [_, *_] as given):
            return added((one, 1 / len(given)) for one in given)
    return {ast.dump(tree): 1.0}


@cache
def inequalities(text: str) -> tuple[Expression, ...]:
    """Return an inequality around one of ``> >= < <=`` as a difference, or one for each rival.

    A value is positive where its inequality holds. Rivals that say the same, as ``a - b < z - b``
    and ``a - c < z - c``, are one. Chains such as ``a < b < c`` have no single effect and are
    refused, as is all else, by an `InputError`.
    """
    match whole := _parse(text):
        case ast.Compare(left, [ast.Gt() | ast.GtE() | ast.Lt() | ast.LtE() as sign], [right]):
            pass
        case _:
            raise _refusal(text, "it must compare two sides once, with one of > >= < <=")
    strict, down = isinstance(sign, ast.Gt | ast.Lt), isinstance(sign, ast.Lt | ast.LtE)
    try:
        pairs = [*itertools.product(
            _rivals(left, "max" if down else "min"), _rivals(right, "min" if down else "max")
        )]  # fmt: skip
        texts = [ast.unparse(ast.Compare(one, whole.ops, [two])) for one, two in pairs]
    except RecursionError as error:
        raise _refusal(text, "it is no expression") from error
    larger_first = ((two, one) if down else (one, two) for one, two in pairs)
    found = (
        _checked(
            Expression(text if len(pairs) == 1 else single, ast.BinOp(a, ast.Sub(), b), strict)
        )
        for single, (a, b) in zip(texts, larger_first, strict=True)
    )
    different: dict[frozenset[tuple[str, float]], Expression] = {}
    for one in found:
        weights = _weights(one.tree).items()
        different.setdefault(frozenset((t, round(weight, 9)) for t, weight in weights), one)
    return tuple(different.values())


class _Strict(BaseModel, extra="forbid", frozen=True):
    pass


class _Asked(_Strict):
    over: Over | None = None  # None: the check's own
    margin: float | None = Field(None, gt=0)  # effects inside it are none; in the effect's unit
    premise: list[str] = []  # besides those of the check
    least: int | None = Field(None, gt=1)  # of fewer cells it is not asked, and decides nothing
    sets: int | None = Field(None, gt=1)  # of fewer data sets it is undecided

    @property
    def names(self) -> set[str]:
        """The quantities it speaks of."""
        return set().union(*(one.names for one in self.expressions))


class Requirement(_Asked):
    """One inequality, in how many cells it must hold, and what is no effect."""

    text: str = Field(alias="that")
    complete: bool = False  # asked only in cells where all its quantities have rows

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, given: Any) -> Any:
        return {"that": given} if isinstance(given, str) else given

    @property
    def expressions(self) -> tuple[Expression, ...]:
        """One a rival."""
        return inequalities(self.text)


class Beside(Requirement):
    """An inequality that is shown and decides nothing: an earlier form, or the printed one."""

    because: str = Field(min_length=1)


class Trend(_Asked):
    """An expression that rises or falls over the values of a swept field.

    ``by``: "spearman" (rank correlation with the swept values), "ends" (last minus first value) or
    "last" (the value at the largest, against zero).
    """

    of: str
    across: str
    direction: Literal["up", "down"]
    by: Literal["spearman", "ends", "last"]

    @property
    def expressions(self) -> tuple[Expression, ...]:
        return (replace(expression(self.of), text=self.text),)

    @property
    def text(self) -> str:
        how = {"spearman": "rank correlation", "ends": "last - first", "last": "at the largest"}
        return f"{self.of} goes {self.direction} over {self.across} ({how[self.by]})"


class Check(_Strict):
    """A claim or a premise in terms of recorded rows: see the module's docstring."""

    where: Fields = {}  # fields that all quantities share
    let: dict[str, Fields] = {}
    each: dict[str, Annotated[list[str], Field(min_length=1)]] = {}
    cells: tuple[str, ...] = ("dataset", "backbone")  # fields that are free: one cell a value
    premise: list[str] = []  # names of `Premise`s, or inequalities
    require: list[Requirement] = []
    trend: list[Trend] = []
    beside: list[Beside] = []
    include: list[str] = []  # ids of claims whose parts are parts of this one
    over: Over = "all"
    margin: float | None = Field(None, gt=0)  # of the requirements that state none
    evidence: dict[str, list[str | int | float]] | str | None = None  # the paper's cells, in words

    @property
    def named(self) -> list[str]:
        """The premises that are named, not written out."""
        return [text for text in self.premises if _NAME.match(text)]

    @property
    def premises(self) -> list[str]:
        """All of them, those of single requirements too."""
        items = (*self.require, *self.trend, *self.beside)
        return [*self.premise, *(text for item in items for text in item.premise)]

    def quantity(self, name: str, binding: Mapping[str, str] = {}) -> Fields:
        """Return the fields that rows of a quantity have, with placeholders filled as bound."""
        return {
            key: _PLACEHOLDER.sub(lambda found: binding.get(found[1], found[0]), value)
            if isinstance(value, str)
            else value
            for key, value in {**self.where, **self.let[name]}.items()
        }

    def placeholders(self, names: Iterable[str]) -> set[str]:
        """Return the placeholders that the quantities use."""
        values = (value for name in names for value in self.quantity(name).values())
        return set(_PLACEHOLDER.findall(" ".join(map(str, values))))

    def bindings(self, names: Iterable[str]) -> list[dict[str, str]]:
        """Return the values of the placeholders that the quantities use, in all combinations."""
        used = self.placeholders(names)
        axes = {axis: values for axis, values in self.each.items() if axis in used}
        return [dict(zip(axes, held, strict=True)) for held in itertools.product(*axes.values())]

    @model_validator(mode="after")
    def _consistent(self) -> Check:
        if (count := math.prod(map(len, self.each.values()))) > MOST_BINDINGS:
            raise ValueError(f"'each' has {count:,} combinations; give {MOST_BINDINGS:,} at most")
        asked = (*self.require, *self.trend)
        if not (asked or self.include):
            raise ValueError("a check needs 'require', 'trend' or 'include'")
        spoken = [one.names for item in (*asked, *self.beside) for one in item.expressions]
        for text in set(self.premises) - set(self.named):
            spoken += [one.names for one in inequalities(text)]
        if not all(spoken):
            raise ValueError("an inequality or a trend speaks of no quantity")
        for name in self.let:
            if lacking := [key for key in REQUIRED if key not in self.quantity(name)]:
                raise ValueError(f"quantity '{name}' has no {', '.join(lacking)}")
        for word, used in (("let", set().union(*spoken)), ("each", self.placeholders(self.let))):
            if used != (given := set(getattr(self, word))):
                unknown, idle = sorted(used - given), sorted(given - used)
                raise ValueError(f"'{word}' lacks {unknown} and holds unused {idle}")
        if self.margin and all(item.margin for item in self.require):
            raise ValueError("'margin' has no meaning where no inequality is without its own")
        several = [item for item in (self, *asked) if item.over in ("any", "most", "mean")]
        if several and not (asked and (self.each or self.cells)):
            raise ValueError(f"'over: {several[0].over}' has no meaning where there is one cell")
        if any(item.complete and (item.over or self.over) != "any" for item in self.require):
            raise ValueError("'complete' has no meaning but with 'over: any'")
        counts = [item for item in asked if item.least]
        if any((item.over or self.over) not in ("most", "any") for item in counts):
            raise ValueError("'least' has no meaning but with 'over: most' or 'over: any'")
        if counts and len(counts) == len(asked) and not self.include:
            raise ValueError("where every inequality has 'least', few cells would decide nothing")
        return self


class Premise(_Strict):
    """A condition of the bed, without which a claim cannot be judged there."""

    id: str = Field(pattern=_NAME.pattern)
    statement: str = Field(min_length=1)
    why: str = Field(min_length=1)
    check: Check

    @model_validator(mode="after")
    def _bare(self) -> Premise:
        if idle := self.check.model_fields_set & {"trend", "include", "over", "margin", "beside"}:
            raise ValueError(f"'{min(idle)}' has no meaning in a premise; it holds cell by cell")
        return self


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
    scale_free: bool  # can be asked of a miniature; False: the paper's own sizes are part of it
    miniature: str | None = None  # what stands in there
    note: str | None = None  # what the check leaves out
    check: Check | None = None

    @property
    def paper(self) -> str:
        return self.id.partition("-")[0]
