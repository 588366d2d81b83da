"""The Frechet distance of few images against torch-fidelity's and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthbook.errors import InputError
from synthbook.measure.fidelity import frechet_distance
from synthbook.measure.frechet import distance, frechet_from_few, reference


def normal(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


@pytest.mark.parametrize(
    ("rows", "others", "width"),
    [(40, 30, 90), (30, 30, 90), (150, 120, 12), (100, 100, 12), (100, 20, 50), (20, 100, 50)],
)
def test_it_equals_torch_fidelity(rows, others, width):
    a = normal(0, rows, width) @ normal(1, width, width) / np.sqrt(width)
    b = 1.5 * normal(2, others, width) + 0.2
    assert frechet_from_few(a, b) == pytest.approx(frechet_distance(a, b), rel=1e-5)
    assert frechet_from_few(b, a) == pytest.approx(frechet_from_few(a, b), rel=1e-10)


@settings(max_examples=25, deadline=None)
@given(
    rows=st.integers(2, 12), others=st.integers(2, 12), width=st.integers(1, 8), seed=st.integers(0)
)
def test_it_equals_the_formula_at_any_shape(rows, others, width, seed):
    a, b = normal(seed, rows, width), 2 * normal(seed + 1, others, width) + 1
    ca, cb = (np.atleast_2d(np.cov(x, rowvar=False)) for x in (a, b))
    # The eigenvalues of C_a C_b are those of a symmetric matrix, which has no rounding below 0
    # but by its last digits.
    value, vector = np.linalg.eigh(ca)
    root = (vector * np.sqrt(value.clip(0))) @ vector.T
    mixed = np.sqrt(np.linalg.eigvalsh(root @ cb @ root).clip(0)).sum()
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(ca + cb) - 2 * mixed
    assert frechet_from_few(a, b) == pytest.approx(expected, rel=1e-5, abs=1e-5)


@pytest.mark.parametrize(("rows", "width"), [(40, 200), (200, 40), (50, 50), (2, 1)])
def test_equal_sets_give_zero_also_in_another_order(rows, width):
    a = 10 * normal(3, rows, width) + 5
    assert 0 <= frechet_from_few(a, a) < 1e-8
    assert 0 <= frechet_from_few(a, a[::-1]) < 1e-8


def test_gaussians_of_one_dimension_have_a_closed_form():
    x = normal(4, 60, 1)
    x = (x - x.mean()) / x.std(ddof=1)
    assert frechet_from_few(3 * x + 1, 0.5 * x - 1) == pytest.approx(2**2 + 2.5**2)
    # The sign of a factor makes no difference to a covariance.
    assert frechet_from_few(3 * x + 1, -0.5 * x - 1) == pytest.approx(2**2 + 2.5**2)


def test_few_images_of_known_covariances_have_a_closed_form():
    # Four points along an axis each: spreads s and t along the same axis, or along two.
    points, axes = np.array([-1.0, -1.0, 1.0, 1.0]) * np.sqrt(3 / 4), np.eye(50)
    a, b, c = (
        2 * np.outer(points, axes[0]),
        3 * np.outer(points, axes[0]),
        np.outer(points, axes[1]),
    )
    assert frechet_from_few(a, b + axes[2]) == pytest.approx((2 - 3) ** 2 + 1)
    assert frechet_from_few(a, c) == pytest.approx(2**2 + 1**2)


def test_rotations_change_nothing_and_scales_act_squared():
    a, b = normal(5, 20, 30), normal(6, 25, 30) + 0.3
    turn = np.linalg.qr(normal(7, 30, 30))[0]
    assert frechet_from_few(a @ turn, b @ turn) == pytest.approx(frechet_from_few(a, b))
    assert frechet_from_few(3 * a, 3 * b) == pytest.approx(9 * frechet_from_few(a, b))


@pytest.mark.parametrize("rows", [15, 60])
def test_a_reference_serves_many_sets_and_stays_small(rows):
    a = normal(8, rows, 20)
    kept = reference(a)
    assert kept.factor.shape == (min(rows, 20), 20)
    np.testing.assert_allclose(kept.factor.T @ kept.factor, np.cov(a, rowvar=False), atol=1e-12)
    for k in range(3):
        b = normal(9 + k, 10 + 20 * k, 20)
        assert distance(kept, b) == frechet_from_few(a, b)


def test_images_and_single_precision_are_taken():
    images = np.random.default_rng(0).integers(0, 256, (20, 4, 4, 3), dtype=np.uint8)
    pixels = images.reshape(20, -1).astype(np.float32)
    assert frechet_from_few(images[:10], images[10:]) == frechet_from_few(pixels[:10], pixels[10:])


def test_bad_input_is_named():
    a, nan = normal(0, 5, 3), normal(0, 5, 3)
    nan[2, 1] = np.nan
    for first, second, words in [
        (a[:1], a, "real has 1 rows where at least 2"),
        (a, a[:1], "fake has 1 rows where at least 2"),
        (a, a[:, :2], "real has 3 features and fake has 2"),
        (nan, a, r"real\[2\] holds NaN"),
        (a, nan, r"fake\[2\] holds NaN"),
        (a[0], a, "real is float64 of shape"),
    ]:
        with pytest.raises(InputError, match=words):
            frechet_from_few(first, second)
