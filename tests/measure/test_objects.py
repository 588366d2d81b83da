"""Counts of bright regions in drawn images, and Otsu's threshold against its definition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthbook.data import load
from synthbook.errors import InputError
from synthbook.measure.objects import PART, object_counts, otsu

CENTRES = [(8, 8), (8, 24), (24, 8), (24, 24), (8, 40), (24, 40)]


def discs(count: int, *, radius: float = 5, ground: int = 20, bright: int = 220) -> np.ndarray:
    """Return one grey image uint8 [32, 48, 1] with ``count`` discs that do not touch."""
    y, x = np.mgrid[:32, :48]
    image = np.full((32, 48), ground)
    for row, column in CENTRES[:count]:
        image[(y - row) ** 2 + (x - column) ** 2 <= radius**2] = bright
    return image.astype(np.uint8)[..., None]


def noisy(image: np.ndarray, seed: int, spread: float) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, spread, image.shape)
    return (image + noise).round().clip(0, 255).astype(np.uint8)


def test_images_are_counted_apart_and_in_parts():
    counts = np.random.default_rng(0).integers(0, 7, PART + 20)
    drawn = np.stack([discs(k) for k in range(7)])
    np.testing.assert_array_equal(object_counts(drawn[counts]), counts)


def test_noise_makes_no_objects():
    images = np.stack([noisy(discs(k), seed, 25) for k in range(1, 7) for seed in range(5)])
    assert object_counts(images).tolist() == [k for k in range(1, 7) for _ in range(5)]


@pytest.mark.parametrize("count", range(1, 7))
def test_the_ground_may_be_bright(count):
    image = noisy(discs(count), count, 5)
    assert object_counts(np.stack([image, 255 - image])).tolist() == [count, count]


def test_little_contrast_is_no_object():
    flat = np.full((1, 16, 16, 1), 200, np.uint8)
    faint, enough = flat.copy(), flat.copy()
    faint[0, 4:8, 4:8], enough[0, 4:8, 4:8] = 231, 232
    assert object_counts(np.concatenate([flat, faint, enough])).tolist() == [0, 0, 1]


def test_corners_join_and_small_regions_do_not_count():
    image = np.zeros((1, 20, 20, 1), np.uint8)
    image[0, 2:5, 2:5] = image[0, 5:8, 5:8] = 255  # they touch at a corner
    image[0, 15, 15:18] = 255  # 3 of 400 pixels
    image[0, 1, 18] = 255
    assert object_counts(image).tolist() == [1]
    assert object_counts(image, smallest=3 / 400).tolist() == [2]
    assert object_counts(image, smallest=0).tolist() == [2]  # never a single pixel
    assert object_counts(image, smallest=0.05).tolist() == [0]


@settings(max_examples=40, deadline=None)
@given(
    count=st.integers(0, 6),
    times=st.integers(1, 4),
    plus=st.integers(0, 40),
    seed=st.integers(0, 10**6),
)
def test_contrast_and_brightness_change_nothing(count, times, plus, seed):
    image = noisy(discs(count, ground=10, bright=50), seed, 2) if count else discs(0)
    image = image.clip(0, 53)  # 4 x 53 + 40 still is a grey level
    changed = (image.astype(int) * times + plus).astype(np.uint8)
    assert object_counts(np.stack([image, changed])).tolist() == [count, count]


def test_grey_is_the_mean_of_the_channels():
    apart = np.concatenate([discs(1, ground=0), discs(2, ground=0), discs(3, ground=0)], axis=2)
    assert object_counts(apart[None]).tolist() == [2]  # of 220, 147 and 73, the last is ground
    balanced = np.concatenate([discs(2), discs(2), 240 - discs(2)], axis=2)
    assert object_counts(balanced[None]).tolist() == [2]
    balanced = np.concatenate([np.full_like(discs(2), 9), discs(2), 240 - discs(2)], axis=2)
    assert object_counts(balanced[None]).tolist() == [0]


def largest_between(grey: np.ndarray) -> float:
    """Return the largest between-class variance of all thresholds."""
    splits = [between(grey, t) for t in range(255) if grey.min() <= t < grey.max()]
    return max(splits, default=0)


def between(grey: np.ndarray, t: int) -> float:
    low, high = grey[grey <= t], grey[grey > t]
    share = len(low) / grey.size
    return share * (1 - share) * (low.mean() - high.mean()) ** 2


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), levels=st.sampled_from([2, 5, 40, 256]))
def test_otsu_has_the_largest_variance_between_classes(seed, levels):
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 256, levels)
    grey = values[rng.integers(0, levels, (3, 9, 7)) * rng.integers(0, 2, (3, 9, 7))]
    found = otsu(grey.astype(np.uint8))
    for image, t in zip(grey, found, strict=True):
        if image.min() == image.max():
            assert t == 0
        else:
            assert t in image
            assert t < image.max()
            assert between(image, t) == pytest.approx(largest_between(image))


def test_real_digits_are_mostly_one_object():
    counts = object_counts(load("digits", image_size=32).train.images)
    assert (counts == 1).mean() > 0.95
    assert counts.min() >= 1
    assert counts.max() <= 3


def test_bad_input_is_named():
    with pytest.raises(InputError, match="give at least one image as uint8"):
        object_counts(discs(1))
