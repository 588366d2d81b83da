"""Effects, their p-values, and several of them at once, against closed forms and simulations."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import t, ttest_1samp

from synthbook.claims.inference import ALPHA, at_least, estimate, replicates, seeds_needed
from synthbook.intervals import interval

numbers = st.integers(-50, 50)
probabilities = st.lists(st.floats(0, 1), min_size=1, max_size=8)


@given(st.lists(st.tuples(numbers, numbers), min_size=2, max_size=8), numbers, numbers)
def test_of_a_linear_statistic_the_jackknife_is_students(pairs, first, second):
    a, b = np.transpose(pairs).astype(float)

    def statistic(columns):
        return first * columns["a"] - second * columns["b"] + 3

    found = estimate(replicates(statistic, {"a": a, "b": b}))
    own = interval(statistic({"a": a, "b": b}))
    assert (found.effect, found.low, found.high) == pytest.approx(own, abs=1e-8)
    if own.low < own.high:
        test = ttest_1samp(statistic({"a": a, "b": b}), 0, alternative="greater")
        assert (found.p_hold, found.p_fail) == pytest.approx((test.pvalue, 1 - test.pvalue))
        assert (found.p_hold <= ALPHA) == (found.low >= 0)


def test_other_statistics_are_of_the_means():
    random = np.random.default_rng(0)
    a, b = 5 + random.normal(size=(2, 200))
    found = estimate(replicates(lambda columns: columns["a"] / columns["b"], {"a": a, "b": b}))
    assert found.effect == pytest.approx(a.mean() / b.mean())
    delta = np.std((a - found.effect * b) / b.mean(), ddof=1) / math.sqrt(200)
    assert found.high - found.effect == pytest.approx(t.ppf(0.975, 199) * delta, rel=0.02)
    one = replicates(lambda columns: abs(columns["a"]), {"a": np.array([1.0, -1])})
    assert one.tolist() == [0, 1, 1]


def test_seeds_that_agree_are_decided_by_the_sign():
    signs = {1: (0, 1), -1: (1, 0), 0: (1, 1)}
    for sign, expected in signs.items():
        found = estimate(np.full(6, 0.5 * sign))
        assert (found.low, found.high) == (0.5 * sign, 0.5 * sign)
        assert (found.p_hold, found.p_fail) == expected
    assert estimate(np.zeros(6), strict=False).p_hold == 0
    assert estimate(np.array([1.0, np.inf])).effect is None
    assert estimate(np.array([1.0])).low is None


@given(probabilities)
def test_all_is_the_intersection_union_test_and_any_is_bonferronis(p):
    assert at_least(len(p), p) == max(p)
    assert at_least(1, p) == min(1, len(p) * min(p))


@pytest.mark.parametrize(("cells", "needed"), [(4, 3), (4, 1), (5, 3), (2, 2)])
def test_too_few_true_cells_are_seldom_enough(cells, needed):
    """The worst case: one fewer than needed are surely true, and the others are not."""
    p = np.random.default_rng(0).uniform(size=(4000, cells))
    p[:, : needed - 1] = 0
    assert np.mean([at_least(needed, line) <= 0.05 for line in p]) <= 0.06


def test_an_effect_of_two_standard_deviations_is_found():
    random = np.random.default_rng(0)
    found = [estimate(replicates(lambda c: c["a"], {"a": 2 + random.normal(size=5)}))
             for _ in range(2000)]  # fmt: skip
    power = np.mean([one.p_hold <= ALPHA for one in found])
    assert power == pytest.approx(0.92, abs=0.03)
    assert np.mean([one.p_fail <= ALPHA for one in found]) == 0


@given(st.floats(0.3, 3), st.integers(5, 12))
def test_so_many_seeds_would_decide(effect, seeds):
    values = np.random.default_rng(seeds).normal(size=seeds)
    values = effect + (values - values.mean()) / values.std(ddof=1)
    found = estimate(replicates(lambda c: c["a"], {"a": values}))
    if found.low > 0:
        return

    def decides(n):
        return t.ppf(0.975, n - 1) / math.sqrt(n) < effect

    told = seeds_needed(found)
    first = next((n for n in range(seeds + 1, 101) if decides(n)), None)
    assert told == (f"about {first} seeds would decide" if first else
                    "more than 100 seeds would decide")  # fmt: skip
