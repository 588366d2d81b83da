"""Fixed splits: stratified, exact, and the papers' protocol."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthbook.data.splits import by_share, by_size, plan
from synthbook.errors import InputError


@given(st.lists(st.integers(3, 40), min_size=2, max_size=5))
@settings(deadline=None)
def test_by_share_is_a_stratified_partition(sizes):
    labels = np.repeat(np.arange(len(sizes)), sizes)
    parts = by_share(labels, {"train": 0.6, "val": 0.1, "test": 0.3})
    assert sorted(np.concatenate(list(parts.values())).tolist()) == list(range(len(labels)))
    for k, size in enumerate(sizes):
        for part, share in (("train", 0.6), ("val", 0.1), ("test", 0.3)):
            count = int((labels[parts[part]] == k).sum())
            assert count >= 1
            assert abs(count - share * size) <= 1


@given(st.lists(st.integers(1, 40), min_size=2, max_size=5), st.data())
@settings(deadline=None)
def test_by_size_is_exact_in_size_and_stratified(sizes, data):
    labels = np.repeat(np.arange(len(sizes)), sizes)
    first = data.draw(st.integers(0, len(labels)))
    wanted = {"train": first, "test": len(labels) - first}
    parts = by_size(labels, wanted)
    assert {part: len(indices) for part, indices in parts.items()} == wanted
    assert sorted(np.concatenate(list(parts.values())).tolist()) == list(range(len(labels)))
    for k, size in enumerate(sizes):
        count = (labels[parts["train"]] == k).sum()
        bound = 0.5 + len(sizes) * size / (2 * len(labels))
        assert abs(count - size * first / len(labels)) <= bound + 1e-9


def test_validation_is_a_tenth_of_each_class_of_train_as_in_the_papers():
    labels = {"train": np.arange(5000) % 10, "test": np.arange(10)}
    chosen = plan(labels, tuple("abcdefghij"), "made")
    assert list(chosen) == ["train", "val", "test"]
    part, indices = chosen["val"]
    assert part == "train"
    assert np.bincount(labels["train"][indices]).tolist() == [50] * 10
    assert not set(indices) & set(chosen["train"][1])
    assert chosen["test"][1].tolist() == list(range(10))


def test_a_class_too_small_to_split_is_named():
    with pytest.raises(InputError, match=r"class 'b' of 'made' has only 2 image\(s\) in the pool"):
        plan({"pool": np.array([0, 0, 0, 1, 1])}, ("a", "b"), "made")
    with pytest.raises(InputError, match=r"class 'a' .*\(2 classes are like this\);.* these"):
        plan({"pool": np.array([0, 1, 1, 2, 2, 2])}, ("a", "b", "c"), "made")
    with pytest.raises(InputError, match="class 'b' of 'made' has no image in train"):
        plan({"train": np.array([0, 0]), "test": np.array([1])}, ("a", "b"), "made")
