from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from synthbook.errors import InputError
from synthbook.measure.copying import copying, leaks, mann_whitney
from synthbook.measure.neighbours import nearest


def draw(seed: int, n: int, d: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, d))


def test_copies_score_below_zero_and_a_blurred_generator_above():
    train, held = draw(0, 200), draw(1, 150)
    result = copying(train, held, train[:120] + 0.05 * draw(2, 120))
    assert result["copying_z"] < -8
    assert result["copying_p"] < 1e-12
    assert result["near_copies"] > 0.9
    assert result["authenticity"] < 0.1
    result = copying(train, held, 3 * draw(5, 150))
    assert result["copying_z"] > 5
    assert result["copying_p"] > 0.999


def test_fresh_samples_are_flagged_as_often_as_the_level_says():
    results = [
        copying(draw(3 * s + 10, 150), draw(3 * s + 11, 80), draw(3 * s + 12, 80))
        for s in range(200)
    ]
    z = np.array([r["copying_z"] for r in results])
    flagged = sum(r["copying_p"] < 0.05 for r in results)
    # 200 draws of a 5 % event: between 2 and 21 with probability above 0.999.
    assert 2 <= flagged <= 21
    assert abs(z.mean()) < 4 / np.sqrt(len(z))
    assert 0.8 < z.std() < 1.2
    assert np.mean([r["near_copies"] for r in results]) == pytest.approx(0.05, abs=0.02)


def test_mann_whitney_agrees_with_scipy_and_with_counting():
    rng = np.random.default_rng(6)
    a, b = rng.integers(0, 12, 40).astype(float), rng.integers(0, 14, 55).astype(float)
    z, p = mann_whitney(a, b)
    u = sum((x > y) + 0.5 * (x == y) for x in a for y in b)
    assert np.sign(z) == np.sign(u - 40 * 55 / 2)
    assert p == pytest.approx(scipy.stats.norm.cdf(z))
    assert mann_whitney(np.zeros(4), np.zeros(5)) == (0.0, 0.5)


def test_authenticity_agrees_with_its_definition():
    train, made = draw(96, 50), draw(97, 40) * 0.8
    authentic = []
    for image in made:
        distance = np.linalg.norm(train - image, axis=1)
        i = distance.argmin()
        authentic.append(distance[i] > sorted(np.linalg.norm(train - train[i], axis=1))[1])
    assert 0 < np.mean(authentic) < 1
    assert copying(train, draw(98, 30), made)["authenticity"] == np.mean(authentic)


def test_raw_images_work_and_equal_ones_have_distance_zero():
    rng = np.random.default_rng(7)
    train = rng.integers(0, 256, (60, 8, 8, 1), dtype=np.uint8)
    held = rng.integers(0, 256, (40, 8, 8, 1), dtype=np.uint8)
    made = np.concatenate([train[[3, 17]], rng.integers(0, 256, (30, 8, 8, 1), dtype=np.uint8)])
    index, distance = nearest(made, train)
    assert index[:2].tolist() == [3, 17]
    assert (distance[:2] == 0).all()
    assert (distance[2:] > 0).all()
    assert copying(train, held, made)["near_copies"] >= 2 / 32
    made = np.concatenate([made, held[:3]])
    assert leaks(train, np.concatenate([held, train[:1]]), made) == {
        "generated_in_train": 2,
        "generated_in_held_out": 3,
        "held_out_in_train": 1,
    }


ok = draw(80, 9)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: copying(ok, ok[:1], ok), "held_out has 1 rows"),
        (lambda: copying(ok, ok, ok[:, :2]), "generated has 2"),
        (lambda: copying(ok, ok * np.nan, ok), r"held_out\[0\] holds NaN"),
        (lambda: leaks(ok, ok, ok[:, :2]), "one size and type"),
    ],
)
def test_bad_input_is_named(call, said):
    with pytest.raises(InputError, match=said):
        call()
