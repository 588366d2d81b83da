"""How alike images are: sums over pairs, as they are written."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthbook.measure import alike
from synthbook.measure.alike import (
    mean_cosine,
    nearest_images,
    pixel_difference,
    similarities,
    squared_errors,
    unit,
)

DRAW = np.random.default_rng(0)


@given(st.integers(1, 4), st.integers(2, 5), st.integers(1, 6), st.integers(0, 10**6))
def test_the_mean_cosine_is_that_over_pairs(groups: int, count: int, width: int, seed: int) -> None:
    rows = unit(np.random.default_rng(seed).normal(size=(groups, count, width)))
    pairs = [group[i] @ group[j] for group in rows for i, j in permutations(range(count), 2)]
    assert mean_cosine(rows) == pytest.approx(np.mean(pairs), abs=1e-9)


@given(st.integers(1, 3), st.integers(2, 4), st.integers(0, 10**6))
def test_the_difference_of_pixels_is_that_over_pairs(groups: int, count: int, seed: int) -> None:
    images = np.random.default_rng(seed).integers(0, 256, (groups, count, 3, 2, 3), dtype=np.uint8)
    squares = [
        np.square(group[i].astype(float) - group[j]).mean()
        for group in images
        for i, j in permutations(range(count), 2)
    ]
    assert pixel_difference(images) == pytest.approx(np.sqrt(np.mean(squares)))


def test_rows_are_most_similar_to_themselves_and_in_another_order_to_others() -> None:
    rows = unit(DRAW.normal(size=(6, 9)))
    same, turned = similarities(rows, rows), similarities(rows, np.roll(rows, 1, axis=0))
    assert same["own_similarity"] == pytest.approx(1)
    assert same["own_first"] == 1
    assert turned["own_first"] == 0
    # The order of the rows moves cosines from own to other, and no sum.
    sums = [6 * one["own_similarity"] + 30 * one["other_similarity"] for one in (same, turned)]
    assert sums[0] == pytest.approx(sums[1])
    assert sums[0] == pytest.approx((rows @ rows.T).sum())


def test_what_has_nothing_in_common_has_a_similarity_of_zero() -> None:
    found = similarities(np.eye(8)[:4], np.eye(8)[4:])
    assert found["own_similarity"] == found["other_similarity"] == 0


def test_errors_are_those_of_images_between_zero_and_one() -> None:
    images = DRAW.integers(0, 256, (3, 4, 4, 3), dtype=np.uint8)
    assert (squared_errors(images, images) == 0).all()
    black, white = np.zeros_like(images), np.full_like(images, 255)
    assert squared_errors(black, white) == pytest.approx(np.ones(3))
    half = squared_errors(black, np.full((4, 4, 3), 127.5))
    assert half == pytest.approx(np.full(3, 0.25))


def test_the_nearest_image_is_that_with_the_smallest_error(monkeypatch) -> None:
    images, among = (DRAW.integers(0, 256, (n, 4, 4, 3), dtype=np.uint8) for n in (5, 23))
    wanted = [squared_errors(among, image).argmin() for image in images]
    for block in (4, 5, 100):
        monkeypatch.setattr(alike, "BLOCK", block)
        assert nearest_images(images, among).tolist() == wanted
    assert nearest_images(among[7:9], among).tolist() == [7, 8]
