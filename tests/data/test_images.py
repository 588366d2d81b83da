"""Image sets, their fingerprints, and draws from them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthbook.data import ImageSet, at_most, concatenate, few_shot
from synthbook.data.images import pixels_and_labels
from synthbook.errors import InputError


def make(labels, classes=("a", "b"), side=4, name="made"):
    """Return a set whose image k is filled with k, so that images can be told apart."""
    labels = np.asarray(labels, dtype=np.int64)
    images = np.arange(len(labels), dtype=np.uint8)[:, None, None, None]
    return ImageSet(np.broadcast_to(images, (len(labels), side, side, 1)), labels, classes, name)


def identity(images: ImageSet) -> list[int]:
    return images.images[:, 0, 0, 0].tolist()


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (np.zeros((2, 4, 4, 1)), [0, 1], "float64"),
        (np.zeros((2, 4, 4), np.uint8), [0, 1], r"\[2, 4, 4\]"),
        (np.zeros((2, 4, 4, 4), np.uint8), [0, 1], "C = 1 or 3"),
        (np.zeros((2, 4, 4, 1), np.uint8), [0], "one integer for each of its 2 images"),
        (np.zeros((2, 4, 4, 1), np.uint8), [0.0, 1.0], "one integer"),
        (np.zeros((2, 4, 4, 1), np.uint8), [0, 2], "0 to 2; give 0 to 1"),
        (np.zeros((2, 4, 4, 1), np.uint8), [-1, 1], "-1 to 1"),
    ],
)
def test_image_set_refuses_what_it_is_not(images, labels, message):
    with pytest.raises(InputError, match=message):
        ImageSet(images, labels, ("a", "b"), "made")


def test_image_set_properties():
    images = make([0, 1, 1], ("a", "b", "never"))
    assert (len(images), images.num_classes, images.image_size, images.channels) == (3, 3, 4, 1)
    assert images.counts().tolist() == [1, 2, 0]
    assert images.labels.dtype == np.int64
    assert len(images.subset([])) == 0
    assert identity(images.subset([2, 0])) == [2, 0]
    assert identity(images.subset(images.labels == 1)) == [1, 2]


def test_image_size_needs_squares():
    oblong = ImageSet(np.zeros((1, 4, 6, 3), np.uint8), [0], ("a",), "oblong")
    with pytest.raises(InputError, match="4 x 6; load them with image_size"):
        _ = oblong.image_size


def test_fingerprint_sees_pixels_labels_shape_and_classes_but_not_the_name():
    base = make([0, 1])
    assert base.fingerprint() == make([0, 1], name="other").fingerprint()
    pixels = base.images.copy()
    pixels[1, 3, 3, 0] ^= 1
    others = [
        ImageSet(pixels, base.labels, base.classes, "made"),
        make([1, 0]),
        make([0, 1], ("a", "c")),
        ImageSet(base.images.reshape(2, 2, 8, 1), base.labels, base.classes, "made"),
        base.subset([1, 0]),
    ]
    assert len({base.fingerprint(), *(other.fingerprint() for other in others)}) == 6
    assert len(base.fingerprint()) == 16


def test_of_classes_relabels_in_the_given_order():
    images = make([0, 1, 2, 1], ("ant", "bee", "cow"))
    chosen = images.of_classes(["cow", "bee"])
    assert chosen.classes == ("cow", "bee")
    assert identity(chosen) == [1, 2, 3]
    assert chosen.labels.tolist() == [1, 0, 1]
    with pytest.raises(InputError, match="no class 'bea'; did you mean 'bee'"):
        images.of_classes(["bea"])
    with pytest.raises(InputError, match="it has ant, bee, cow"):
        images.of_classes(["zzzzzz"])


def test_concatenate():
    both = concatenate(make([0, 1], name="x"), make([1], name="y"))
    assert (both.name, both.labels.tolist(), identity(both)) == ("x+y", [0, 1, 1], [0, 1, 0])
    assert concatenate(make([0]), name="mine").name == "mine"
    with pytest.raises(InputError, match="image_size"):
        concatenate(make([0]), make([0], side=5))
    with pytest.raises(InputError, match="one list of classes"):
        concatenate(make([0]), make([0], ("a", "c")))


# Draws

LABELS = st.lists(st.integers(0, 2), min_size=3, max_size=60)


@given(LABELS, st.integers(1, 20), st.integers(0, 2**32))
@settings(deadline=None)
def test_few_shot_properties(labels, shots, seed):
    images = make([0, 1, 2, *labels], ("a", "b", "c"))
    if images.counts().min() < shots:
        with pytest.raises(InputError, match=f"shots={shots} cannot be drawn"):
            few_shot(images, shots, seed=seed)
        return
    drawn = few_shot(images, shots, seed=seed)
    assert drawn.counts().tolist() == [shots] * 3
    assert len(set(identity(drawn))) == 3 * shots  # without replacement
    assert (images.labels[identity(drawn)] == drawn.labels).all()
    assert identity(few_shot(images, shots, seed=seed)) == identity(drawn)
    if shots > 1:
        assert set(identity(few_shot(images, shots - 1, seed=seed))) < set(identity(drawn))


@pytest.mark.parametrize(("draw", "count"), [(few_shot, 3), (at_most, 6)])
def test_draws_depend_on_the_seed_and_come_from_all_images(draw, count):
    images = make([0, 1] * 20)
    draws = [frozenset(identity(draw(images, count, seed=seed))) for seed in range(60)]
    assert len(set(draws)) > 50
    assert frozenset.union(*draws) == set(range(40))


@pytest.mark.parametrize("shots", [2, 0, -1])
def test_few_shot_names_the_poorest_class(shots):
    with pytest.raises(InputError, match=r"class 'b' of 'made' has 1 images.*ask for 1 to 1 shots"):
        few_shot(make([0, 0, 1]), shots, seed=0)


@given(total=st.integers(1, 40), count=st.integers(1, 50), seed=st.integers(0, 5))
def test_at_most_keeps_order_and_repeats_nothing(total, count, seed):
    images = make([0] * total)
    drawn = at_most(images, count, seed=seed)
    kept = identity(drawn)
    assert len(drawn) == min(total, count)
    assert kept == sorted(set(kept))
    assert identity(at_most(images, count, seed=seed)) == kept
    if total <= count:
        assert drawn is images


def test_pixels_and_labels_are_what_networks_take():
    pixels, labels = pixels_and_labels(images := make([0, 1, 0]), "cpu")
    assert pixels.shape == (3, 1, 4, 4)
    assert pixels[:, 0, 0, 0].tolist() == identity(images)
    assert labels.tolist() == [0, 1, 0]
    with pytest.raises(InputError, match="no images"):
        pixels_and_labels(make([]), "cpu")
