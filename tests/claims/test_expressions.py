"""The arithmetic of checks: equal to Python's own where allowed, refused everywhere else."""

from __future__ import annotations

import string

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthbook.claims.expressions import expression, inequality
from synthbook.errors import InputError

NAMES = ("RR", "RS", "x1")
numbers = st.integers(-50, 50)
leaves = st.one_of(st.sampled_from(NAMES), numbers.map(lambda n: f"({n})"))
terms = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from("+-*"), inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
        st.tuples(st.sampled_from(("min", "max")), inner, inner).map(
            lambda t: f"{t[0]}({t[1]}, {t[2]})"
        ),
        inner.map(lambda t: f"abs({t})"),
        inner.map(lambda t: f"-{t}"),
    ),
    max_leaves=8,
)


@given(text=terms, values=st.tuples(numbers, numbers, numbers))
def test_value_is_pythons_own(text: str, values: tuple[int, int, int]) -> None:
    at = dict(zip(NAMES, values, strict=True))
    own = eval(text, {"__builtins__": {"min": min, "max": max, "abs": abs}}, dict(at))
    assert float(expression(text)(at)) == own


@given(text=terms, other=terms, values=st.tuples(numbers, numbers, numbers))
def test_inequality_effect_is_positive_where_it_holds(text, other, values) -> None:
    at = dict(zip(NAMES, values, strict=True))
    left, right = expression(text)(at), expression(other)(at)
    for sign, holds in ((">", left > right), ("<", left < right), (">=", left >= right)):
        test = inequality(f"{text} {sign} {other}")
        assert test.satisfied(float(test.effect(at))) == bool(holds)
        assert test.strict == ("=" not in sign)


def test_arrays_are_combined_seed_by_seed() -> None:
    at = {"a": np.array([1.0, 5.0]), "b": np.array([4.0, 2.0])}
    assert expression("max(a, b, 3)")(at).tolist() == [4, 5]
    assert expression("mean(a, b)")(at).tolist() == [2.5, 3.5]
    assert expression("mean(a, 0)")(at).tolist() == [0.5, 2.5]
    assert np.isinf(expression("a / (b - b)")(at)).all()  # no warning, no error


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os')", "a.b", "a[0]", "a ** 2", "a // b", "a % b", "a @ b", "~a", "not a",
        "a and b", "a if b else c", "lambda: 1", "[a for a in b]", "{a: b}", "(a, b)", "f'{a}'",
        "'text'", "True", "None", "1j", "1e999", "a := 1", "sum(a)", "min()", "min(*a)",
        "abs(a, b)", "min(a, key=b)", "min", "print(a)", "a; b", "", "a +", "a < b < c", "a == b",
        "a is b", "a in b", "a < (b < c)", "min(a)(b)", "_a + 1", "a\x00b", "..."
    ],
)  # fmt: skip
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="not allowed"):
        expression(text)
    with pytest.raises(InputError, match="not allowed"):
        inequality(text)


@given(text=st.text(alphabet=string.printable, max_size=60))
def test_any_text_is_arithmetic_or_an_input_error(text: str) -> None:
    try:
        parsed = expression(text)
    except InputError:
        return
    value = parsed({name: np.float64(1.5) for name in parsed.names})
    assert np.isscalar(value) or value.shape == ()


def test_size_is_bounded() -> None:
    with pytest.raises(InputError, match="longer than"):
        expression("+".join(["a"] * 400))
    with pytest.raises(InputError, match="more than"):
        expression("+".join(["a"] * 150))
    with pytest.raises(InputError, match="not allowed"):
        expression("(" * 240 + "a" + ")" * 240)


def test_an_unknown_function_is_named_with_the_nearest() -> None:
    with pytest.raises(InputError, match="did you mean 'mean'"):
        expression("meen(a, b)")
