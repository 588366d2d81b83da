"""What a check may say: Python's own arithmetic where allowed, refused everywhere else."""

import itertools
import string
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from synthbook.claims.language import Check, Premise, Trend, expression, inequalities
from synthbook.errors import InputError

NAMES = ("RR", "RS", "x1")
numbers = st.integers(-50, 50)
leaves = st.one_of(st.sampled_from(NAMES), numbers.map(lambda n: f"({n})"))
terms = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from("+-*"), inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
        inner.map(lambda t: f"abs({t})"),
        inner.map(lambda t: f"-{t}"),
    ),
    max_leaves=8,
)


@given(text=terms, values=st.tuples(numbers, numbers, numbers))
def test_value_is_pythons_own(text, values):
    at = dict(zip(NAMES, values, strict=True))
    own = eval(text, {"__builtins__": {"abs": abs}}, dict(at))
    assert expression(text)(at) == own


@given(text=terms, other=terms, values=st.tuples(numbers, numbers, numbers))
def test_an_inequality_is_positive_where_it_holds(text, other, values):
    at = dict(zip(NAMES, values, strict=True))
    left, right = expression(text)(at), expression(other)(at)
    for sign, holds in ((">", left > right), ("<", left < right), (">=", left >= right)):
        (test,) = inequalities(f"{text} {sign} {other}")
        assert (test(at) > 0 or (test(at) == 0 and not test.strict)) == holds
        assert test.strict == ("=" not in sign)


def test_columns_are_combined_line_by_line():
    at = {"a": np.array([1.0, 5.0]), "b": np.array([4.0, 2.0])}
    assert expression("mean(a, b)")(at).tolist() == [2.5, 3.5]
    assert expression("mean(a, 0)")(at).tolist() == [0.5, 2.5]
    assert np.isinf(expression("a / (b - b)")(at)).all()  # no warning, no error
    assert expression("mean(a, b, 3)").names == {"a", "b"}


rivals = st.lists(st.sampled_from(("x1", "RR", "2", "x1 - RR", "abs(RR)")), min_size=1, max_size=3)


@given(
    one=rivals, two=rivals, sign=st.sampled_from(("<", ">", "<=", ">=")),
    values=st.tuples(numbers, numbers, numbers),
)  # fmt: skip
def test_rivals_are_one_inequality_each(one, two, sign, values):
    """`RS > max(...)` holds where all of its inequalities do, and likewise behind a minus."""
    at = dict(zip(NAMES, values, strict=True))
    lesser, greater = ("max", "min") if "<" in sign else ("min", "max")
    text = f"{lesser}({', '.join(one)}, 7) - {greater}(RS, 3) {sign} {greater}({', '.join(two)}, 1)"
    found = inequalities(text)
    sides = itertools.product([*one, "7"], ["RS", "3"], [*two, "1"])
    differences = {f"({a}) - ({b}) - ({c})" for a, b, c in sides}
    points = [dict(zip(NAMES, at, strict=True)) for at in ((1.5, 2.25, 9.1), (-3.7, 0.5, -0.3))]
    told = {tuple(round(expression(text)(at), 6) for at in points) for text in differences}
    assert len(found) == len(told)  # those that say the same are one
    own = eval(text, {"__builtins__": {"abs": abs, "min": min, "max": max}}, dict(at))
    assert all(one(at) > 0 or (one(at) == 0 and not one.strict) for one in found) == own
    assert all(inequalities(one.text)[0](at) == one(at) for one in found)
    turned = {"max": "min", "min": "max"}
    with pytest.raises(InputError, match="among rivals"):
        inequalities(f"{turned[lesser]}({', '.join(one)}, 7) {sign} 1")


def test_rivals_that_say_the_same_are_one():
    """A spread that is smaller than a distance: 27 ways to choose, and 12 things to hold."""
    found = inequalities("max(a, b, c) - min(a, b, c) < z - max(a, b, c)")
    assert len(found) == 12
    for at in np.random.default_rng(0).normal(size=(50, 4)):
        *abc, z = at
        held = dict(zip("abcz", at, strict=True))
        own = max(abc) - min(abc) < z - max(abc)
        assert all(one(held) > 0 for one in found) == own
    assert len(inequalities("a > max(b, c, mean(b, b))")) == 2
    assert len(inequalities("a > max(abs(b - c), abs(c - b), b / c, c / b, 2 * b, 2)")) == 6


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("a - b", "FD"), ("2 * a - 3", "FD"), ("a / b", ""), ("a / 2", "FD"), ("a * b", "FD²"),
        ("abs(mean(a, b)) - a", "FD"), ("n / a", "nats/FD"), ("1 - a / b", ""), ("s * a", "FD"),
        ("a / s", "FD"), ("1 / a", "1/FD"), ("a * n", "FD x nats"), ("3 * s", ""),
    ],
)  # fmt: skip
def test_an_effect_has_a_unit(text, unit):
    units = {"a": "FD", "b": "FD", "n": "nats", "s": ""}
    assert expression(text).unit(units) == unit
    (test,) = inequalities(f"{text} > 3 * ({text})")
    assert test.unit(units) == unit


def test_units_do_not_mix():
    with pytest.raises(InputError, match="'FD' and 'nats'"):
        expression("a - n").unit({"a": "FD", "n": "nats"})


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os')", "a.b", "a[0]", "a ** 2", "a // b", "a % b", "a @ b", "~a", "not a",
        "a and b", "a if b else c", "lambda: 1", "[a for a in b]", "{a: b}", "(a, b)", "f'{a}'",
        "'text'", "True", "None", "1j", "1e999", "(a := 1)", "sum(a)", "min(*a)",
        "abs(a, b)", "min(a, key=b)", "min", "min - a", "abs(abs)", "print(a)", "a; b", "",
        "a +", "a < b < c", "a == b", "a is b", "a in b", "a < (b < c)", "min(a)(b)", "a.min(b)",
        "a\x00b", "...", "1 / 0", "mean()", "mean(max(a, b))", "2 * max(a, b)",
        "(" * 240 + "a" + ")" * 240, "9" * 400,
    ],
)  # fmt: skip
def test_anything_else_is_refused(text):
    with pytest.raises(InputError, match="not allowed"):
        expression(text)
    with pytest.raises(InputError, match="not allowed"):
        inequalities(text)
    with pytest.raises(InputError, match="not allowed"):
        inequalities(f"{text} > a")


@given(text=st.text(alphabet=string.printable, max_size=60))
def test_any_text_is_arithmetic_or_an_input_error(text):
    try:
        parsed = expression(text)
    except InputError:
        return
    assert np.isscalar(parsed(dict.fromkeys(parsed.names, np.float64(1.5))))


FIELDS = {"chapter": "c", "method": "plain", "test": "real", "metric": "m"}
FALLS = {"of": "A - B", "across": "n", "direction": "down", "by": "ends"}
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
        ({"over": "most", "cells": []}, "has no meaning where there is one cell"),
        ({"require": [{"that": "A > B", "least": 5}]}, "'least' has no meaning but with"),
        ({"require": [{"that": "A > B", "least": 5, "over": "any"}]}, "would decide nothing"),
        ({"require": [{"that": "A > B", "premise": ["C > 0"]}]}, r"lacks \['C'\]"),
        ({"require": [{"that": "A > B", "complete": True}]}, "'complete' has no meaning but with"),
        ({"margin": 0}, "greater than 0"),
        ({"margin": 1, "require": [{"that": "A > B", "margin": 2}]}, "'margin' has no meaning"),
        ({"margin": 1, "require": [], "trend": [FALLS]}, "'margin' has no meaning"),
        ({"beside": [{"that": "A > B"}]}, "because"),
        ({"beside": [{"that": "A > C", "because": "-"}]}, r"lacks \['C'\]"),
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


@pytest.mark.parametrize("word", ["over", "margin", "beside", "trend", "include"])
def test_a_premise_is_inequalities_and_no_more(word):
    words = {"id": "converged", "statement": "-", "why": "-"}
    assert Premise(**words, check=GOOD).check.named == []
    more = {"over": "all", "margin": 1, "beside": [], "trend": [], "include": []}
    with pytest.raises(ValidationError, match=f"'{word}' has no meaning in a premise"):
        Premise(**words, check={**GOOD, word: more[word]})


def test_premises_are_names_or_inequalities():
    assert Check(**GOOD, premise=["A > B", "converged"]).named == ["converged"]
    own = {"that": "A > B", "premise": ["fair"]}
    assert Check(**{**GOOD, "require": [own]}, premise=["converged"]).named == ["converged", "fair"]


def test_reading_checks_needs_neither_pandas_nor_torch():
    code = "import sys, synthbook.claims.language; print({'pandas', 'torch'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
