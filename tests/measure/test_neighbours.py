"""Neighbours against brute force, and the check of features."""

from __future__ import annotations

import numpy as np
import pytest

from synthbook.errors import InputError
from synthbook.measure.neighbours import checked, nearest, radii


def draw(seed: int, n: int, d: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, d))


def test_neighbours_agree_with_brute_force_whatever_the_block(monkeypatch):
    points, images = draw(70, 40), draw(71, 23)
    every = np.linalg.norm(images[:, None] - points[None], axis=2)
    own = np.linalg.norm(points[:, None] - points[None], axis=2)
    for rows in (2048, 7):
        monkeypatch.setattr("synthbook.measure.neighbours._ROWS", rows)
        index, distance = nearest(images, points)
        assert (index == every.argmin(1)).all()
        np.testing.assert_allclose(distance, every.min(1), rtol=1e-12)
        np.testing.assert_allclose(radii(points, 3), np.sort(own, axis=1)[:, 3], rtol=1e-6)


def test_features_become_float64_rows_and_images_pixels():
    images = np.arange(48, dtype=np.uint8).reshape(4, 2, 2, 3)
    first, second = checked(2, real=images, fake=draw(0, 3, 12).astype(np.float32))
    assert (first == np.arange(48).reshape(4, 12)).all()
    assert first.dtype == second.dtype == np.float64


@pytest.mark.parametrize(
    ("fake", "said"),
    [
        (draw(0, 1), "fake has 1 rows where at least 2"),
        (draw(0, 9, 4), "real has 5 features and fake has 4 features; use one extractor"),
        (np.where(np.arange(45).reshape(9, 5) == 33, np.nan, 0), r"fake\[6\] holds NaN"),
    ],
)
def test_bad_features_are_named(fake, said):
    with pytest.raises(InputError, match=said):
        checked(2, real=draw(1, 9), fake=fake)
