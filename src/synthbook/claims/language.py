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

Its expressions hold numbers, names of quantities, ``+ - * /``, parentheses and the functions
``min``, ``max``, ``abs`` and ``mean``; anything else is refused when the text is read.
"""

from __future__ import annotations

import ast
import itertools
import operator
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, reduce
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, Field, model_validator
from simpleeval import InvalidExpression, SimpleEval

from synthbook.errors import InputError

Fields = dict[str, str | int | float | bool]
Over = Literal["all", "any", "most", "mean"]

REQUIRED = ("chapter", "method", "train", "test", "metric")
_PLACEHOLDER = re.compile(r"\{(\w+)\}")
_OPERATORS = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul,
    ast.Div: operator.truediv, ast.UAdd: operator.pos, ast.USub: operator.neg,
}  # fmt: skip
_FUNCTIONS = {
    "min": lambda *values: reduce(np.minimum, values),
    "max": lambda *values: reduce(np.maximum, values),
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


def _refusal(text: str, why: object) -> InputError:
    allowed = "numbers, names, + - * /, parentheses, min, max, abs and mean are"
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


@cache
def inequality(text: str) -> Expression:
    """Return an inequality, two expressions around one of ``> >= < <=``, as their difference.

    Its value is positive where the inequality holds. Chains such as ``a < b < c`` have no single
    effect and are refused, as is all else, by an `InputError`.
    """
    match _parse(text):
        case ast.Compare(larger, [ast.Gt() | ast.GtE() as sign], [smaller]):
            pass
        case ast.Compare(smaller, [ast.Lt() | ast.LtE() as sign], [larger]):
            pass
        case _:
            raise _refusal(text, "it must compare two sides once, with one of > >= < <=")
    strict = isinstance(sign, ast.Gt | ast.Lt)
    return _checked(Expression(text, ast.BinOp(larger, ast.Sub(), smaller), strict))


class _Strict(BaseModel, extra="forbid", frozen=True):
    pass


class Requirement(_Strict):
    """One inequality, and how its cells combine."""

    text: str = Field(alias="that")
    over: Over | None = None  # None: the check's own

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, given: Any) -> Any:
        return {"that": given} if isinstance(given, str) else given

    @property
    def expression(self) -> Expression:
        return inequality(self.text)


class Trend(_Strict):
    """An expression that rises or falls over the values of a swept field.

    ``by``: "spearman" (rank correlation with the swept values), "ends" (last minus first value) or
    "last" (the value at the largest, against zero).
    """

    of: str
    across: str
    direction: Literal["up", "down"]
    by: Literal["spearman", "ends", "last"]

    @property
    def expression(self) -> Expression:
        return expression(self.of)

    @property
    def text(self) -> str:
        how = {"spearman": "rank correlation", "ends": "last - first", "last": "at the largest"}
        return f"{self.of} goes {self.direction} over {self.across} ({how[self.by]})"


class Check(_Strict):
    """A claim in terms of recorded rows: see the module's docstring."""

    where: Fields = {}  # fields that all quantities share
    let: dict[str, Fields] = {}
    each: dict[str, Annotated[list[str], Field(min_length=1)]] = {}
    cells: tuple[str, ...] = ("dataset", "backbone")  # fields that are free: one cell a value
    premise: list[str] = []
    require: list[Requirement] = []
    trend: list[Trend] = []
    include: list[str] = []  # ids of claims whose parts are parts of this one
    over: Over = "all"

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
        if not (self.require or self.trend or self.include):
            raise ValueError("a check needs 'require', 'trend' or 'include'")
        spoken = [inequality(text).names for text in self.premise]
        spoken += [item.expression.names for item in (*self.require, *self.trend)]
        if not all(spoken):
            raise ValueError("an inequality or a trend speaks of no quantity")
        for name in self.let:
            if lacking := [key for key in REQUIRED if key not in self.quantity(name)]:
                raise ValueError(f"quantity '{name}' has no {', '.join(lacking)}")
        for word, used in (("let", set().union(*spoken)), ("each", self.placeholders(self.let))):
            if used != (given := set(getattr(self, word))):
                unknown, idle = sorted(used - given), sorted(given - used)
                raise ValueError(f"'{word}' lacks {unknown} and holds unused {idle}")
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
    scale_free: bool  # can be asked of a miniature
    miniature: str | None = None  # what stands in there
    note: str | None = None  # what the check leaves out
    check: Check | None = None

    @property
    def paper(self) -> str:
        return self.id.partition("-")[0]
