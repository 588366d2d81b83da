import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import t as t_distribution
from scipy.stats import ttest_1samp

from synthbook.errors import InputError
from synthbook.intervals import (
    Difference,
    effect_text,
    holm,
    interval,
    rates,
    student,
    student_quantile,
)

numbers = st.floats(-1e6, 1e6).map(lambda x: round(x, 3))


@given(st.lists(numbers, min_size=2, max_size=6), st.integers(-100, 100), st.randoms())
def test_shift_scale_and_order(values, shift, random):
    base = interval(values)
    moved = interval([2 * value + shift for value in values])
    for one, two in zip(base, moved, strict=True):
        assert two == pytest.approx(2 * one + shift, rel=1e-9, abs=1e-6)
    shuffled = list(values)
    random.shuffle(shuffled)
    assert interval(shuffled) == base


@given(st.lists(numbers, min_size=2, max_size=8, unique=True), st.sampled_from((0.5, 0.95, 0.99)))
def test_it_is_students(values, level):
    low, high = ttest_1samp(values, 0).confidence_interval(level)
    assert interval(values, level) == pytest.approx(
        (np.mean(values), low, high), rel=1e-9, abs=1e-6
    )


@given(st.floats(-50, 50), st.integers(1, 60))
def test_students_distribution_is_scipys(t, freedom):
    assert student(t, freedom) == pytest.approx(t_distribution.cdf(t, freedom), abs=1e-12)


@given(st.floats(0.5, 0.9999), st.integers(1, 60))
def test_its_quantile_is_its_inverse(probability, freedom):
    assert student(student_quantile(probability, freedom), freedom) == pytest.approx(probability)


def test_a_wider_level_is_a_wider_interval():
    values = np.arange(5.0)
    narrow, wide = interval(values, 0.5), interval(values, 0.99)
    assert wide.low < narrow.low < narrow.high < wide.high


def test_one_value_has_no_ends():
    mean, low, high = interval([4.0])
    assert mean == 4.0
    assert math.isnan(low)
    assert math.isnan(high)


def test_equal_values_have_equal_ends():
    assert interval([0.1] * 7) == (0.1, 0.1, 0.1)


@pytest.mark.parametrize("values", [[], [1.0, math.nan], [math.inf]])
def test_bad_values(values):
    with pytest.raises(InputError):
        interval(values)


@pytest.mark.parametrize("level", [0, 1, -1, 95])
def test_bad_levels(level):
    with pytest.raises(InputError, match="level"):
        interval([1.0, 2.0], level)


def test_an_effect_is_written_with_its_interval_and_without_rounding_noise() -> None:
    assert effect_text(None, None, None) == ""
    assert effect_text(3.21, None, None) == "+3.21"
    assert effect_text(-1234.5, None, None, "FD") == "-1234 FD"
    assert effect_text(999.7, 999.7, 999.7) == "+1000 [+1000, +1000]"
    assert effect_text(2.84e-15, -1.67, 1.333) == "+0.0 [-1.7, +1.3]"
    assert effect_text(1.0, float("nan"), float("nan"), "nats") == "+1 nats"
    assert effect_text(3.21, 1, 5, "points") == "+3.2 [+1.0, +5.0] points"


@pytest.mark.parametrize(
    ("numbers", "text"),
    [
        ((4.595, 2.3, 6.89), "+4.6 [+2.3, +6.9]"),
        ((-1.92, -3.16, -0.678), "-1.9 [-3.2, -0.7]"),
        ((24.3, 21.6, 27.0), "+24.3 [+21.6, +27.0]"),
        ((2100.4, 1800.1, 2400.7), "+2100 [+1800, +2401]"),
        ((0.03, 0.012, 0.048), "+0.030 [+0.012, +0.048]"),
        ((2.5, 0.003, 4.997), "+2.500 [+0.003, +4.997]"),  # above zero, and seen to be
        ((1e-7, -2e-6, 2.2e-6), "+0.000000 [-0.000002, +0.000002]"),
        ((5.0, 5.0, 5.0), "+5 [+5, +5]"),
    ],
)
def test_an_effect_and_both_ends_have_as_many_decimals_as_the_interval_is_wide(
    numbers, text
) -> None:
    assert effect_text(*numbers) == text


def test_a_difference_has_a_sign_where_its_interval_lies_on_one_side_of_zero():
    gap = Difference(*interval([2.0, 2.0, 2.5]))
    assert gap.sign == 1
    assert gap.text(1) == "+2.2 [+1.4, +2.9]"
    assert Difference(-0.001, -0.002, 0.001).text() == "+0.00 [+0.00, +0.00]"
    assert Difference(*interval([-2.0, -2.0, -2.5])).sign == -1
    assert Difference(*interval([-1.0, 1.0])).sign == 0


def test_one_difference_decides_nothing():
    gap = Difference(*interval([2.0]))
    assert gap.sign == 0
    assert gap.text() == "+2.00"


def test_rates_are_agresti_and_caffo():
    gap = rates(0, 98, 0, 98)  # both become 1 of 100
    half = 1.96 * np.sqrt(2 * 0.01 * 0.99 / 100)
    np.testing.assert_allclose(gap, [0, -half, half])
    assert gap.sign == 0
    assert rates(30, 100, 2, 100).sign == 1
    assert rates(2, 100, 30, 100).sign == -1


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.floats(0.01, 0.5))
def test_holm_is_holms(p, alpha):
    """Holm (1979): a p-value is adjusted to the largest, so far, of (m - rank) p."""
    order = np.argsort(p)
    steps = [(len(p) - rank) * p[place] for rank, place in enumerate(order)]
    adjusted = np.empty(len(p))
    adjusted[order] = np.maximum.accumulate(steps)
    clear = abs(adjusted - alpha) > 1e-9
    assert (np.array(holm(p, alpha)) == (adjusted <= alpha))[clear].all()
