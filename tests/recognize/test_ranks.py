"""Accuracies of logits: equal to counting by hand, and among some classes only."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from synthbook.errors import InputError
from synthbook.recognize.ranks import measures, ranks


def slowly(logits: np.ndarray, labels: np.ndarray, k: int) -> float:
    """Share of images whose label is among the first k of a stable sort."""
    hits = 0
    for row, label in zip(logits, labels, strict=True):
        first = sorted(range(len(row)), key=lambda c, row=row: (-row[c], c))[:k]
        hits += label in first
    return 100 * hits / len(labels)


@given(st.integers(1, 12), st.integers(2, 9), st.integers(0, 10**6))
def test_top_k_is_that_of_a_sort_with_ties(count: int, classes: int, seed: int) -> None:
    draw = np.random.default_rng(seed)
    logits, labels = draw.integers(0, 4, (count, classes)), draw.integers(0, classes, count)
    found = measures(logits, labels)
    assert found["top1"] == pytest.approx(slowly(logits, labels, 1))
    assert found["top5"] == pytest.approx(slowly(logits, labels, 5))
    assert ((ranks(logits, labels) == 0) == (logits.argmax(1) == labels)).all()


def test_classes_count_alike_in_the_mean_per_class() -> None:
    labels = np.array([0] * 9 + [1])
    logits = np.tile([1.0, 0.0, 0.5], (10, 1))  # class 2 has no image
    assert measures(logits, labels)["top1"] == 90
    assert measures(logits, labels)["mean_per_class"] == 50


def test_among_present_classes_the_others_cannot_be_named() -> None:
    logits, labels = torch.tensor([[3.0, 1, 2, 0], [3.0, 0, 1, 2]]), np.array([1, 3])
    assert measures(logits, labels)["top1"] == 0
    assert measures(logits, labels, among="present")["top1"] == 100
    assert measures(logits, labels, among=[1, 2, 3])["top1"] == 50
    only = logits[:, [1, 2, 3]]
    assert measures(logits, labels, among=[1, 2, 3]) == measures(only, np.array([0, 2]))


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: measures(np.zeros((2, 3)), np.array([0])), r"give \[N, K\]"),
        (lambda: measures(np.zeros((1, 3)), np.array([3])), "0 to 2"),
        (lambda: measures(np.full((1, 3), np.nan), np.array([0])), "nan"),
        (lambda: measures(np.zeros((1, 3)), np.array([0]), among=[1, 2]), "leaves out class 0"),
        (lambda: measures(np.zeros((1, 3)), np.array([0]), among=[0, 3]), "0 to 2"),
        (lambda: measures(np.zeros((1, 3)), np.array([0]), among="some"), "'present'"),
    ],
)
def test_bad_input_is_named(call, said: str) -> None:
    with pytest.raises(InputError, match=said):
        call()
