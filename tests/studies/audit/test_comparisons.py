"""Which differences over seeds are more than chance."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st
from scipy.stats import ttest_1samp

from synthbook.intervals import interval
from synthbook.studies.audit.comparisons import ALPHA, compare

gains = st.lists(st.integers(-50, 50).map(lambda x: x / 8), min_size=5, max_size=5)


@given(st.lists(gains, min_size=1, max_size=12))
@limits(deadline=None)
def test_holm_decides_the_smallest_p_values_of_students_test(differences):
    found = compare(dict(enumerate(differences)))
    expected = [1.0 if not any(row) else 0.0 if len(set(row)) == 1 else ttest_1samp(row, 0).pvalue
                for row in differences]  # fmt: skip
    np.testing.assert_allclose([one.p for one in found.values()], expected, atol=1e-9)
    order, count = np.argsort(expected, kind="stable"), 0
    while count < len(order) and expected[order[count]] <= ALPHA / (len(order) - count):
        count += 1
    assert sum(one.sign != 0 for one in found.values()) == count
    for name, one in found.items():
        assert one.gap == interval(differences[name])
        assert one.sign in (0, one.gap.sign)  # never more than the interval itself says
        assert (one.doubt == "") == (one.sign != 0)


def test_more_comparisons_decide_no_more():
    one, other = {"a": (1, 2, 1, 2, 3)}, {str(k): (1, -1, 0, 2, -2) for k in range(11)}
    assert compare(one)["a"].sign == 1
    assert compare(one | other)["a"].sign == 0
    assert "as one of 12 comparisons" in compare(one | other)["a"].doubt


@pytest.mark.parametrize(("seeds", "signs"), [(1, (0, 0)), (2, (1, 0)), (4, (1, 0)), (5, (1, 1))])
def test_accuracy_takes_five_seeds(seeds, signs):
    values = (100.0, 101.0, 100.0, 101.0, 100.0)[:seeds]
    found = compare({"share": values, "points": values}, {"points"})
    assert (found["share"].sign, found["points"].sign) == signs
    assert (found["points"].p is None) == (seeds < 5)


def test_false_alarms_are_as_rare_as_promised():
    draws = np.random.default_rng(0).normal(size=(2000, 12, 5))
    wrong = sum(any(one.sign for one in compare(dict(enumerate(run))).values()) for run in draws)
    assert wrong / len(draws) < ALPHA + 3 * (ALPHA * (1 - ALPHA) / len(draws)) ** 0.5
