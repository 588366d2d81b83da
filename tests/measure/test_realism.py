"""Realism of single images and the spread of classes, against direct formulas."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from synthbook.errors import InputError
from synthbook.measure.fidelity import precision_recall
from synthbook.measure.realism import class_spread, realism
from synthbook.randomness import numpy_generator


def test_realism_is_the_largest_ratio_of_radius_and_distance() -> None:
    draw = numpy_generator(0, "realism")
    real, fake = draw.normal(size=(40, 6)), draw.normal(size=(25, 6))
    apart = np.linalg.norm(real[:, None] - real[None], axis=2)
    radius = np.sort(apart, axis=1)[:, 3]  # the nearest is the image itself
    chosen = radius <= np.median(radius)
    expected = [
        max(r / np.linalg.norm(one - x) for r, x in zip(radius[chosen], real[chosen], strict=True))
        for one in fake
    ]
    np.testing.assert_allclose(realism(real, fake, 3), expected, rtol=1e-6)


def test_in_a_kept_ball_is_one_or_more_and_a_copy_is_far_above_but_of_an_outlier() -> None:
    draw = numpy_generator(1, "realism")
    real, fake = draw.normal(size=(60, 3)), draw.normal(size=(50, 3))
    scores = realism(real, fake, 5)
    inside = (scores >= 1).mean()
    assert 0 < inside <= precision_recall(real, fake, 5)[0] + 1e-9  # which has all balls
    radius = np.sort(np.linalg.norm(real[:, None] - real[None], axis=2), axis=1)[:, 5]
    copy = real[radius.argmin()][None]
    assert realism(real, copy, 5)[0] > 1e6
    assert realism(real, real[radius.argmax()][None], 5)[0] < 1
    far = realism(real, fake[:1] + 1000, 5)
    assert 0 < far[0] < 0.01


def test_spread_is_the_mean_over_pairs_of_a_class() -> None:
    draw = numpy_generator(2, "spread")
    rows, labels = draw.normal(size=(30, 5)) + 1, draw.integers(0, 3, 30)
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    means = []
    for label in range(3):
        some = unit[labels == label]
        means.append(np.mean([1 - a @ b for a, b in itertools.combinations(some, 2)]))
    assert class_spread(rows, labels) == pytest.approx(np.mean(means))
    assert class_spread(np.ones((4, 2)), np.zeros(4, int)) == pytest.approx(0, abs=1e-9)
    one_each = class_spread(rows[:3], np.arange(3))
    assert np.isnan(one_each)


def test_too_few_real_images_are_refused() -> None:
    with pytest.raises(InputError, match="real has 3 rows"):
        realism(np.eye(3), np.eye(3), 5)
