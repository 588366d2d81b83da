from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra import numpy as hnp

from synthbook.errors import InputError
from synthbook.generate.filters import confident

logits = hnp.arrays(
    np.float64,
    hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=12),
    elements=st.floats(-20, 20),
)


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


@given(logits, st.floats(0, 0.99), st.randoms(use_true_random=False))
def test_confident_agrees_with_its_definition_row_by_row(x, threshold, random):
    probs = softmax(x)
    condition = np.array([random.randrange(x.shape[1]) for _ in x])
    keep, labels = confident(probs, threshold)
    both, _ = confident(probs, threshold, condition)
    assert keep.dtype == bool
    assert labels.dtype == np.int64
    for row, p in enumerate(probs):
        assert p[labels[row]] == max(p)
        assert keep[row] == (max(p) > threshold)
        assert both[row] == (keep[row] and labels[row] == condition[row])


@given(logits, st.floats(0, 0.49), st.floats(0.5, 0.99))
def test_a_higher_threshold_never_keeps_more(x, low, high):
    probs = softmax(x)
    assert not (confident(probs, high)[0] & ~confident(probs, low)[0]).any()


def test_the_threshold_itself_is_not_above_it():
    assert confident(np.array([[0.75, 0.25]]), 0.75)[0].tolist() == [False]
    assert confident(np.array([[0.75, 0.25]]), 0.7499)[0].tolist() == [True]


def test_half_precision_rows_are_accepted():
    probs = softmax(np.random.default_rng(0).normal(size=(50, 10))).astype(np.float16)
    assert confident(probs, 0.1)[0].shape == (50,)


@pytest.mark.parametrize(
    ("probabilities", "threshold", "condition", "said"),
    [
        (np.array([[2.0, 1.0]]), 0.8, None, "softmax"),
        (np.array([[0.5, 0.5], [np.nan, 1.0]]), 0.8, None, r"probabilities\[1\]"),
        (np.array([[1.5, -0.5]]), 0.8, None, "no distribution"),
        (np.array([0.5, 0.5]), 0.8, None, "shape"),
        (np.array([[1, 0]]), 0.8, None, "floats"),
        (np.array([[0.5, 0.5]]), 1.0, None, "threshold is 1.0"),
        (np.array([[0.5, 0.5]]), -0.1, None, "threshold"),
        (np.array([[0.5, 0.5]]), 0.8, np.array([0, 1]), "each of the 1 rows"),
        (np.array([[0.5, 0.5]]), 0.8, np.array([2]), "classes 0 to 1"),
        (np.array([[0.5, 0.5]]), 0.8, np.array([0.0]), "class index"),
    ],
)
def test_bad_input_is_named(probabilities, threshold, condition, said):
    with pytest.raises(InputError, match=said):
        confident(probabilities, threshold, condition)
