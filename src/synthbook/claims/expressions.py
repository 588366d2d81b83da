"""Arithmetic written in data: parsed by Python's own parser, evaluated by nothing but this file.

A claim's check is text in a YAML file. Its expressions may hold numbers, names of quantities,
``+ - * /``, parentheses and the functions ``min``, ``max``, ``abs`` and ``mean``; everything else
that Python could do (attributes, subscripts, calls, comprehensions, powers ...) is refused when
the text is read, before any value is known.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np

from synthbook.errors import InputError, did_you_mean

MAX_CHARACTERS = 500
MAX_NODES = 200

_ARITHMETIC = {
    ast.Add: np.add,
    ast.Sub: np.subtract,
    ast.Mult: np.multiply,
    ast.Div: np.divide,
}
_SIGN = {ast.USub: np.negative, ast.UAdd: np.positive}
_COMPARE = {ast.Gt: ">", ast.GtE: ">=", ast.Lt: "<", ast.LtE: "<="}
_FUNCTIONS = {
    "min": lambda *values: np.minimum.reduce(np.broadcast_arrays(*values)),
    "max": lambda *values: np.maximum.reduce(np.broadcast_arrays(*values)),
    "mean": lambda *values: np.mean(np.broadcast_arrays(*values), axis=0),
    "abs": np.abs,
}


def _refuse(text: str, why: str) -> InputError:
    allowed = "numbers, names, + - * /, parentheses, min, max, abs and mean are"
    return InputError(f"the expression '{text}' is not allowed: {why}; only {allowed}")


def _check(node: ast.expr, text: str) -> None:
    """Raise InputError if ``node`` holds anything but the arithmetic of this module."""
    match node:
        case ast.Constant(value=bool()):
            raise _refuse(text, f"{node.value} is no number")
        case ast.Constant(value=int() | float()):
            if not math.isfinite(node.value):
                raise _refuse(text, "it holds a number that is not finite")
        case ast.Name():
            if node.id in _FUNCTIONS or node.id.startswith("_"):
                raise _refuse(text, f"'{node.id}' cannot be the name of a quantity")
        case ast.UnaryOp() if type(node.op) in _SIGN:
            _check(node.operand, text)
        case ast.BinOp() if type(node.op) in _ARITHMETIC:
            _check(node.left, text)
            _check(node.right, text)
        case ast.Call(func=ast.Name(), args=[_, *_], keywords=[]):
            if node.func.id not in _FUNCTIONS:
                hint = did_you_mean(node.func.id, _FUNCTIONS)
                raise _refuse(text, f"there is no function '{node.func.id}'{hint}")
            if node.func.id == "abs" and len(node.args) != 1:
                raise _refuse(text, "abs takes one value")
            for argument in node.args:
                _check(argument, text)
        case _:
            raise _refuse(text, f"it holds {type(node).__name__}")


def _evaluate(node: ast.expr, values: Mapping[str, np.ndarray]) -> np.ndarray:
    match node:
        case ast.Constant():
            return np.float64(node.value)
        case ast.Name():
            return np.asarray(values[node.id], dtype=np.float64)
        case ast.UnaryOp():
            return _SIGN[type(node.op)](_evaluate(node.operand, values))
        case ast.BinOp():
            left, right = _evaluate(node.left, values), _evaluate(node.right, values)
            return _ARITHMETIC[type(node.op)](left, right)
        case ast.Call():
            arguments = [_evaluate(argument, values) for argument in node.args]
            return _FUNCTIONS[node.func.id](*arguments)
    raise AssertionError(f"unchecked node {node!r}")  # _check lets nothing else through


def _parse(text: str) -> ast.expr:
    if len(text) > MAX_CHARACTERS:
        raise _refuse(text[:40] + " ...", f"it is longer than {MAX_CHARACTERS} characters")
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        raise _refuse(text, "it is no expression") from error
    if sum(1 for _ in ast.walk(tree)) > MAX_NODES:
        raise _refuse(text, f"it has more than {MAX_NODES} parts")
    return tree


def _names(*nodes: ast.expr) -> frozenset[str]:
    found = (node for tree in nodes for node in ast.walk(tree))
    return frozenset(node.id for node in found if isinstance(node, ast.Name)) - set(_FUNCTIONS)


@dataclass(frozen=True, eq=False)
class Expression:
    """An arithmetic expression over named quantities."""

    text: str
    names: frozenset[str]
    _tree: ast.expr

    def __call__(self, values: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return its value; arrays are combined element by element (one element a seed).

        Division by zero gives an infinity or NaN, never a warning: the caller looks for them.
        """
        with np.errstate(all="ignore"):
            return _evaluate(self._tree, values)


@dataclass(frozen=True, eq=False)
class Inequality:
    """``left > right`` (or ``>=``, ``<``, ``<=``), whose effect is positive where it holds."""

    text: str
    operator: str
    names: frozenset[str]
    _left: ast.expr
    _right: ast.expr

    @property
    def strict(self) -> bool:
        """Whether equality does not satisfy it."""
        return "=" not in self.operator

    def effect(self, values: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the larger side minus the smaller one, as the inequality claims them."""
        with np.errstate(all="ignore"):
            difference = _evaluate(self._left, values) - _evaluate(self._right, values)
        return difference if self.operator.startswith(">") else -difference

    def satisfied(self, effect: float) -> bool:
        """Whether an effect (of one seed, or a mean) satisfies the inequality."""
        return effect > 0 if self.strict else effect >= 0


@cache
def expression(text: str) -> Expression:
    """Return the parsed arithmetic expression.

    Raises:
        InputError: if the text holds anything else.
    """
    tree = _parse(text)
    _check(tree, text)
    return Expression(text.strip(), _names(tree), tree)


@cache
def inequality(text: str) -> Inequality:
    """Return the parsed inequality: two arithmetic expressions around one of ``> >= < <=``.

    Raises:
        InputError: if the text is anything else; chains such as ``a < b < c`` are refused because
            they have no single effect (write two inequalities).
    """
    tree = _parse(text)
    if not isinstance(tree, ast.Compare) or len(tree.ops) != 1:
        raise _refuse(text, "it must compare two sides once")
    if type(tree.ops[0]) not in _COMPARE:
        raise _refuse(text, "the comparison must be one of > >= < <=")
    left, right = tree.left, tree.comparators[0]
    _check(left, text)
    _check(right, text)
    operator = _COMPARE[type(tree.ops[0])]
    return Inequality(text.strip(), operator, _names(left, right), left, right)
