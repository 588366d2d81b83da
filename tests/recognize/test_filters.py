"""The CLIP filter and the real filter, by hand and by brute force."""

from __future__ import annotations

import numpy as np
import pytest

from synthbook import machine
from synthbook.errors import InputError
from synthbook.recognize import filters
from synthbook.recognize.clip import Encoded
from synthbook.recognize.filters import clip_filter, real_filter
from synthbook.recognize.heads import probabilities, random_head, unit

CLASSES = ("a", "b", "c")
HEAD = random_head(3, 8, seed=0)


def drawn(count: int, seed: int = 0, *, noise: float = 1.0) -> Encoded:
    draw = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    rows = HEAD[labels] + noise * draw.standard_normal((count, 8)).astype(np.float32)
    return Encoded(unit(rows.astype(np.float32)), labels, CLASSES, "drawn")


def own_scores(images: Encoded, scale: float = 10.0) -> np.ndarray:
    return probabilities(images, HEAD, scale)[np.arange(len(images)), images.labels]


@pytest.mark.parametrize("threshold", [None, 0.0, 0.7])
def test_the_clip_filter_keeps_what_is_above_the_threshold(threshold):
    images = drawn(60)
    kept = clip_filter(images, HEAD, 10.0, threshold=threshold)
    passes = own_scores(images) > (1 / 3 if threshold is None else threshold)
    assert sorted(kept.indices) == np.flatnonzero(passes).tolist()
    assert kept.passed == passes.mean()
    assert kept.fallback == ()
    assert np.array_equal(kept.images.features, images.features[kept.indices])
    assert np.array_equal(kept.images.labels, images.labels[kept.indices])


def test_a_top_share_is_of_each_class():
    images = drawn(61)
    kept = clip_filter(images, HEAD, 10.0, top_share=0.25)
    scores = own_scores(images)
    for k, count in enumerate((6, 5, 5)):  # a quarter of 21, 20 and 20, rounded up
        mine, members = kept.indices[kept.images.labels == k], np.flatnonzero(images.labels == k)
        assert len(mine) == count
        assert scores[mine].min() >= np.delete(scores[members], np.isin(members, mine)).max()
    assert len(clip_filter(images, HEAD, 10.0, top_share=1.0).images) == 61


def test_a_class_that_would_be_empty_keeps_its_best_and_says_so(monkeypatch):
    said = []
    monkeypatch.setattr(machine, "say", said.append)
    images = drawn(30, noise=0.1)
    wrong = Encoded(
        images.features, np.where(images.labels == 2, 2, 1 - images.labels), CLASSES, "x"
    )
    kept = clip_filter(wrong, HEAD, 30.0, least=3)
    assert kept.fallback == ("a", "b")
    assert kept.images.counts().tolist() == [3, 3, 10]
    scores = own_scores(wrong, 30.0)
    for k in (0, 1):
        members = np.flatnonzero(wrong.labels == k)
        mine = kept.indices[kept.images.labels == k]
        assert set(mine) == set(members[np.argsort(-scores[members])[:3]])
    assert len(said) == 1
    assert "too few images of 2 of 3 classes of 'x' (a, b)" in said[0]


def test_a_count_is_drawn_from_what_passed_or_is_the_best():
    """The public code: 800 of those above 1/k, or the 800 most probable."""
    images = drawn(300)
    passes = own_scores(images) > 1 / 3
    kept = clip_filter(images, HEAD, 10.0, count=20)
    assert kept.images.counts().tolist() == [20, 20, 20]
    assert passes[kept.indices].all()
    other = clip_filter(images, HEAD, 10.0, count=20, seed=1)
    assert set(other.indices) != set(kept.indices)
    many = clip_filter(images, HEAD, 10.0, count=100)
    assert many.images.counts().tolist() == [100, 100, 100]
    assert many.fallback == CLASSES


def test_the_real_filter_is_a_nearest_neighbour():
    images, shots = drawn(90, noise=1.5), drawn(12, seed=1, noise=0.7)
    kept = real_filter(images, shots)
    nearest = [int(np.argmax([f @ s for s in shots.features])) for f in images.features]
    right = shots.labels[nearest] == images.labels
    assert sorted(kept.indices) == np.flatnonzero(right).tolist()
    assert 0 < kept.passed < 1
    loose = real_filter(images, shots, margin=2.0)
    assert len(loose.images) == 90
    assert len(real_filter(images, shots, margin=0.1).images) >= len(kept.images)


def test_the_real_filter_keeps_the_same_block_by_block(monkeypatch):
    images, shots = drawn(90, noise=1.5), drawn(12, seed=1, noise=0.7)
    whole = real_filter(images, shots)
    for block in (5, 100, 12 * 89):  # of cosines: an image, eight, and all but one
        monkeypatch.setattr(filters, "BLOCK", block)
        kept = real_filter(images, shots)
        assert np.array_equal(kept.indices, whole.indices)
        assert kept.passed == whole.passed


def test_what_the_real_filter_drops_does_not_come_back():
    images, shots = drawn(90, noise=1.5), drawn(12, seed=1, noise=0.7)
    passed = real_filter(images, shots)
    counts, middle = passed.images.counts(), int(np.median(passed.images.counts()))
    kept = real_filter(images, shots, count=middle)
    assert kept.images.counts().tolist() == np.minimum(counts, middle).tolist()
    assert counts.min() < middle < counts.max()
    assert {*kept.indices} <= {*passed.indices}
    full = real_filter(images, shots, count=30, least=30)
    assert full.images.counts().tolist() == [30, 30, 30]


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ({"threshold": 0.5, "top_share": 0.5}, "exclude each other"),
        ({"threshold": 1.0}, "give a threshold from 0 to below 1"),
        ({"top_share": 0.0}, "a share above 0"),
        ({"count": 0}, "give whole numbers of 1 or more"),
        ({"least": 0}, "give whole numbers of 1 or more"),
    ],
)
def test_settings_that_are_none(how, says):
    with pytest.raises(InputError, match=says):
        clip_filter(drawn(9), HEAD, 10.0, **how)


def test_sets_that_have_nothing_to_choose_from():
    images = drawn(9)
    with pytest.raises(InputError, match="class 'c' of 'drawn' has no image for the CLIP filter"):
        clip_filter(images.subset(images.labels < 2), HEAD, 10.0)
    with pytest.raises(InputError, match="class 'a' of 'drawn' has none; give a shot of every"):
        real_filter(images, images.subset([]))
    with pytest.raises(InputError, match="class 'b' of 'drawn' has none"):
        real_filter(images, images.subset(images.labels != 1))
    others = Encoded(images.features, images.labels, ("x", "y", "z"), "others")
    with pytest.raises(
        InputError,
        match=r"'drawn' has the classes a, b, c ... and 'others' x, y, z ...; bring both",
    ):
        real_filter(images, others)
