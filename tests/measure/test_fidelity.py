"""Fidelity against closed forms, brute force and torch-fidelity."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from synthbook.errors import InputError
from synthbook.measure import fidelity as module
from synthbook.measure.fidelity import (
    DIP_NEIGHBOURS,
    density_coverage,
    fidelity,
    floor,
    frechet_distance,
    gaussian,
    gaussian_distance,
    kernel_distance,
    precision_recall,
)
from synthbook.measure.gap import random_like


def normal(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def frechet_from_few(a: np.ndarray, b: np.ndarray) -> float:
    return gaussian_distance(gaussian(a), gaussian(b))


BOTH = pytest.mark.parametrize("distance", [frechet_distance, frechet_from_few])


@BOTH
def test_frechet_distance_of_diagonal_gaussians_is_the_closed_form(distance):
    # Columns with exact mean 0 and covariance diag(s^2): whiten a sample, then scale.
    x = normal(1, 300, 5)
    x -= x.mean(0)
    x = x @ np.linalg.inv(np.linalg.cholesky(np.cov(x, rowvar=False))).T
    s, t, m = np.array([1, 2, 0.5, 3, 1]), np.array([2, 1, 0.5, 1, 4]), np.array([0, 1, 0, 0, 2])
    expected = (m**2).sum() + ((s - t) ** 2).sum()
    assert distance(x * s, x * t + m) == pytest.approx(expected, rel=1e-6)
    assert distance(x, x + m) == pytest.approx((m**2).sum(), rel=1e-6)


@BOTH
def test_frechet_distance_of_one_feature(distance):
    a, b = normal(8, 50, 1), 3 * normal(9, 70, 1) + 1
    expected = (a.mean() - b.mean()) ** 2 + (a.std(ddof=1) - b.std(ddof=1)) ** 2
    assert distance(a, b) == pytest.approx(expected, rel=1e-9)
    # The sign of a factor makes no difference to a covariance.
    assert distance(a, 2 * b.mean() - b) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("rows", "width"), [(40, 200), (200, 40), (50, 50), (2, 1)])
def test_equal_sets_give_zero_also_in_another_order(rows, width):
    a = 10 * normal(3, rows, width) + 5
    assert 0 <= frechet_from_few(a, a) < 1e-8
    assert 0 <= frechet_from_few(a, a[::-1]) < 1e-8


@settings(max_examples=25, deadline=None)
@given(rows=st.integers(2, 150), others=st.integers(2, 150), width=st.integers(1, 60))
def test_it_equals_torch_fidelity_at_any_shape(rows, others, width):
    a = normal(0, rows, width) @ normal(1, width, width) / np.sqrt(width)
    b = 1.5 * normal(2, others, width) + 0.2
    assert frechet_from_few(a, b) == pytest.approx(frechet_distance(a, b), rel=1e-4, abs=1e-4)
    assert frechet_from_few(b, a) == pytest.approx(frechet_from_few(a, b), rel=1e-9)


@pytest.mark.parametrize("rows", [15, 60])
def test_a_gaussian_has_a_small_factor_of_the_covariance(rows):
    a = normal(8, rows, 20)
    assert gaussian(a).factor.shape == (min(rows, 20), 20)
    np.testing.assert_allclose(
        gaussian(a).factor.T @ gaussian(a).factor, np.cov(a, rowvar=False), atol=1e-12
    )


def naive_mmd(a: np.ndarray, b: np.ndarray) -> float:
    def kernel(x, y):
        return (x @ y / len(x) + 1) ** 3

    n = len(a)
    same = sum(kernel(s[i], s[j]) for s in (a, b) for i in range(n) for j in range(n) if i != j)
    cross = sum(kernel(a[i], b[j]) for i in range(n) for j in range(n))
    return same / (n * (n - 1)) - 2 * cross / n**2


def test_kernel_distance_agrees_with_a_double_loop():
    a, b = normal(10, 12, 4), normal(11, 12, 4) + 0.5
    assert kernel_distance(a, b, subset_size=12, subsets=3) == pytest.approx(naive_mmd(a, b))


def test_kernel_distance_is_near_zero_for_equal_sources_and_seeded():
    a, b, far = normal(12, 300, 5), normal(13, 300, 5), normal(14, 300, 5) + 1
    near = kernel_distance(a, b, subset_size=100, subsets=20, seed=1)
    assert abs(near) < 0.1 * kernel_distance(a, far, subset_size=100, subsets=20, seed=1)
    assert near == kernel_distance(a, b, subset_size=100, subsets=20, seed=1)
    assert near != kernel_distance(a, b, subset_size=100, subsets=20, seed=2)


def test_no_function_touches_the_global_random_stream_or_prints(capsys):
    a = normal(15, 40, 3)
    np.random.seed(0)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    fidelity(a, a + 0.1, extractor_name="x", neighbours=3)
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002
    assert capsys.readouterr() == ("", "")


def brute(real: np.ndarray, fake: np.ndarray, k: int) -> tuple[float, float, float, float]:
    """Precision, recall, density and coverage, one image at a time."""

    def balls(points):
        return [sorted(np.linalg.norm(points - p, axis=1))[k] for p in points]

    r, f = balls(real), balls(fake)
    inside = [[np.linalg.norm(y - x) <= s for x, s in zip(real, r, strict=True)] for y in fake]
    other = [[np.linalg.norm(y - x) <= s for x, s in zip(fake, f, strict=True)] for y in real]
    hits = np.array(inside)
    return (
        float(np.mean([any(row) for row in inside])),
        float(np.mean([any(row) for row in other])),
        hits.sum() / (k * len(fake)),
        float(hits.any(axis=0).mean()),
    )


@pytest.mark.parametrize("k", [1, 3, 5])
def test_precision_recall_density_coverage_agree_with_brute_force(k):
    real, fake = normal(16, 50, 3), 0.7 * normal(17, 40, 3) + 0.5
    expected = brute(real, fake, k)
    assert precision_recall(real, fake, k) + density_coverage(real, fake, k) == pytest.approx(
        expected, abs=1e-6
    )


def test_precision_and_recall_may_count_different_neighbours():
    real, fake = normal(40, 60, 4), 1.2 * normal(41, 70, 4)
    near, far = DIP_NEIGHBOURS
    both = precision_recall(real, fake, DIP_NEIGHBOURS)
    assert both == (precision_recall(real, fake, near)[0], precision_recall(real, fake, far)[1])
    assert precision_recall(real[:11], fake[:41], DIP_NEIGHBOURS)[1] <= 1
    with pytest.raises(InputError, match="fake has 40 rows where at least 41"):
        precision_recall(real, fake[:40], DIP_NEIGHBOURS)
    with pytest.raises(InputError, match="real has 10 rows where at least 11"):
        precision_recall(real[:10], fake, DIP_NEIGHBOURS)


@pytest.mark.parametrize("copies", [False, True])
def test_precision_and_recall_are_those_of_torch_fidelity(copies):
    from torch_fidelity.metric_prc import prc_features_to_metric

    for seed in range(20):
        n, m, width, k = np.random.default_rng(seed).integers([10, 10, 1, 1], [90, 90, 30, 6])
        real, fake = normal(seed, n, width), 0.8 * normal(seed + 100, m, width) + 0.2
        if copies:  # in sixteenths, whose products are exact: ties are ties on every processor
            real, fake = np.round(16 * real) / 16, np.round(16 * fake) / 16
            fake = np.concatenate([fake, real[: n // 3]])
            real = np.concatenate([real, real[: n // 2]])
        expected = prc_features_to_metric(
            torch.from_numpy(fake), torch.from_numpy(real), prc_neighborhood=int(k),
            prc_batch_size=10_000, save_cpu_ram=True, verbose=False,
        )  # fmt: skip
        assert precision_recall(real, fake, k) == (expected["precision"], expected["recall"])


def test_coverage_of_a_perfect_generator_is_the_known_expectation():
    # Naeem et al. 2020: E = 1 - prod_{i<k} (N-1-i) / (M+N-1-i), whatever the distribution.
    n, m, k = 80, 60, 3
    expected = 1 - np.prod([(n - 1 - i) / (m + n - 1 - i) for i in range(k)])
    runs = [
        density_coverage(normal(100 + s, n, 2), normal(900 + s, m, 2), k)[1] for s in range(200)
    ]
    assert np.mean(runs) == pytest.approx(expected, abs=4 * np.std(runs) / np.sqrt(len(runs)))


def test_density_of_many_real_images_does_not_depend_on_the_block(monkeypatch):
    real, fake = normal(23, 90, 3), normal(24, 70, 3)
    whole = density_coverage(real, fake)
    monkeypatch.setattr("synthbook.measure.neighbours._ROWS", 11)
    assert density_coverage(real, fake) == whole


def test_fidelity_names_the_distance_after_the_extractor():
    a, b = normal(25, 40, 3), normal(26, 30, 3)
    own = fidelity(a, b, extractor_name="efficientnet_lite0@64")
    fid = fidelity(a, b, extractor_name="inception")
    assert list(own) == [
        *("fd", "kd", "precision", "recall", "density", "coverage", "n_real", "n_fake")
    ]
    assert list(fid)[:2] == ["fid", "kid"]
    assert (own["n_real"], own["n_fake"]) == (40, 30)
    assert own["fd"] == fid["fid"] == frechet_distance(a, b)


def test_the_floor_is_what_equal_sources_get():
    a, b, worse = normal(27, 400, 4), normal(28, 400, 4), normal(29, 200, 4) + 0.5
    low = floor(a, extractor_name="x")
    assert low["n_real"] == low["n_fake"] == 200
    assert frechet_distance(a[:200], b[:200]) < 3 * low["fd"] < frechet_distance(a[:200], worse)
    assert floor(a, extractor_name="x") == low
    assert floor(a, seed=1, extractor_name="x") != low


def test_fidelity_is_what_its_measures_are_alone():
    real, fake = normal(31, 60, 3), 0.8 * normal(32, 50, 3) + 0.3
    found = fidelity(real, fake, extractor_name="x", neighbours=4, seed=3)
    near = precision_recall(real, fake, 4) + density_coverage(real, fake, 4)
    names = ("precision", "recall", "density", "coverage")
    assert tuple(found[name] for name in names) == near
    assert found["kd"] == kernel_distance(real, fake, 25, subsets=20, seed=3)


def test_the_floor_compares_two_halves_that_share_no_image(monkeypatch):
    asked, real = [], normal(33, 21, 3)
    monkeypatch.setattr(module, "fidelity", lambda *sets, **how: asked.append((sets, how)))
    floor(real, extractor_name="x", neighbours=7, seed=2)
    ((halves, how),) = asked
    assert how == {"extractor_name": "x", "neighbours": 7, "seed": 2}
    rows = [{row.tobytes() for row in half} for half in (*halves, real)]
    assert [len(some) for some in rows] == [10, 10, 21]
    assert not rows[0] & rows[1]
    assert rows[0] | rows[1] < rows[2]


ok = normal(30, 9, 3)


@pytest.mark.parametrize(
    "call",
    [
        lambda: floor(ok, 5, extractor_name="x"),
        lambda: kernel_distance(ok, ok, 5, 1, 5),
        lambda: random_like(np.ones(9, bool), np.zeros(9, int), 5),
    ],
)
def test_a_seed_is_given_by_name_and_is_no_number_of_neighbours(call):
    with pytest.raises(TypeError, match="positional argument"):
        call()


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: frechet_distance(ok, ok[:1]), "fake has 1 rows where at least 2"),
        (lambda: frechet_distance(ok, ok[:, :2]), "real has 3 features and fake has 2"),
        (lambda: gaussian(ok[:1]), "features has 1 rows"),
        (lambda: kernel_distance(ok, ok, 10), "at least 10"),
        (lambda: precision_recall(ok, ok, 9), "at least 10 are needed"),
        (lambda: precision_recall(ok, ok * np.nan), r"fake\[0\] holds NaN"),
        (lambda: density_coverage(ok, ok, 9), "at least 10 are needed"),
        (lambda: density_coverage(ok, ok, 0), "neighbours is 0"),
        (lambda: fidelity(ok, ok[:4], extractor_name="x"), "fake has 4 rows"),
        (lambda: floor(ok, extractor_name="x"), "at least 6"),
    ],
)
def test_bad_input_is_named(call, said):
    with pytest.raises(InputError, match=said):
        call()
