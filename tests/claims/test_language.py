"""What a check may say: Python's own arithmetic where allowed, refused everywhere else."""

import string
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from synthbook.claims.language import Check, Trend, expression, inequality
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
def test_value_is_pythons_own(text, values):
    at = dict(zip(NAMES, values, strict=True))
    own = eval(text, {"__builtins__": {"min": min, "max": max, "abs": abs}}, dict(at))
    assert expression(text)(at) == own


@given(text=terms, other=terms, values=st.tuples(numbers, numbers, numbers))
def test_an_inequality_is_positive_where_it_holds(text, other, values):
    at = dict(zip(NAMES, values, strict=True))
    left, right = expression(text)(at), expression(other)(at)
    for sign, holds in ((">", left > right), ("<", left < right), (">=", left >= right)):
        test = inequality(f"{text} {sign} {other}")
        assert (test(at) > 0 or (test(at) == 0 and not test.strict)) == holds
        assert test.strict == ("=" not in sign)


def test_columns_are_combined_line_by_line():
    at = {"a": np.array([1.0, 5.0]), "b": np.array([4.0, 2.0])}
    assert expression("max(a, b, 3)")(at).tolist() == [4, 5]
    assert expression("mean(a, b)")(at).tolist() == [2.5, 3.5]
    assert expression("mean(a, 0)")(at).tolist() == [0.5, 2.5]
    assert np.isinf(expression("a / (b - b)")(at)).all()  # no warning, no error
    assert expression("max(a, b, 3)").names == {"a", "b"}


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os')", "a.b", "a[0]", "a ** 2", "a // b", "a % b", "a @ b", "~a", "not a",
        "a and b", "a if b else c", "lambda: 1", "[a for a in b]", "{a: b}", "(a, b)", "f'{a}'",
        "'text'", "True", "None", "1j", "1e999", "(a := 1)", "sum(a)", "min()", "min(*a)",
        "abs(a, b)", "min(a, key=b)", "min", "min - a", "max(min, a)", "print(a)", "a; b", "",
        "a +", "a < b < c", "a == b", "a is b", "a in b", "a < (b < c)", "min(a)(b)", "a.min(b)",
        "a\x00b", "...", "1 / 0", "mean()", "(" * 240 + "a" + ")" * 240, "9" * 400,
    ],
)  # fmt: skip
def test_anything_else_is_refused(text):
    with pytest.raises(InputError, match="not allowed"):
        expression(text)
    with pytest.raises(InputError, match="not allowed"):
        inequality(text)
    with pytest.raises(InputError, match="not allowed"):
        inequality(f"{text} > a")


@given(text=st.text(alphabet=string.printable, max_size=60))
def test_any_text_is_arithmetic_or_an_input_error(text):
    try:
        parsed = expression(text)
    except InputError:
        return
    assert np.isscalar(parsed(dict.fromkeys(parsed.names, np.float64(1.5))))


FIELDS = {"chapter": "c", "method": "plain", "test": "real", "metric": "m"}
GOOD = {"where": FIELDS, "let": {"A": {"train": "a"}, "B": {"train": "b"}}, "require": ["A > B"]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"require": ["A > C"]}, r"lacks \['C'\]"),
        ({"require": ["A > 0"]}, r"unused \['B'\]"),
        ({"require": ["A - B"]}, "must compare"),
        ({"require": ["A > B", "1 > 0"]}, "speaks of no quantity"),
        ({"require": []}, "needs"),
        ({"let": {"A": {"train": "{G}"}, "B": {"train": "b"}}}, r"'each' lacks \['G'\]"),
        ({"each": {"G": ["x"]}}, r"unused \['G'\]"),
        ({"each": {"G": []}}, "at least 1"),
        ({"where": {"chapter": "c"}}, "has no method"),
        ({"over": "usually"}, "over"),
        ({"requires": []}, "requires"),
    ],
)
def test_a_check_with_a_mistake_is_refused(change, message):
    assert Check(**GOOD)
    with pytest.raises(ValidationError, match=message):
        Check(**{**GOOD, **change})


def test_quantities_are_filled_in_every_combination():
    check = Check(
        where=FIELDS, require=["A > B"], each={"G": ["g", "h"], "M": ["x", "y"]},
        let={"A": {"train": "{G}+{M}", "n": 4}, "B": {"train": "{G}"}},
    )  # fmt: skip
    bound = [check.quantity("A", held)["train"] for held in check.bindings("AB")]
    assert bound == ["g+x", "g+y", "h+x", "h+y"]
    assert list(check.bindings("B")) == [{"G": "g"}, {"G": "h"}]
    assert check.quantity("A")["n"] == 4


def test_a_trend_is_told_in_words():
    trend = Trend(of="A - B", across="n", direction="down", by="ends")
    assert trend.text == "A - B goes down over n (last - first)"


def test_reading_checks_needs_neither_pandas_nor_torch():
    code = "import sys, synthbook.claims.language; print({'pandas', 'torch'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
