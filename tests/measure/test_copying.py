from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from sklearn.cluster import KMeans

from synthbook.errors import InputError
from synthbook.measure.copying import copying, data_copying, leaks, mann_whitney, replayed
from synthbook.measure.fidelity import frechet_distance
from synthbook.measure.neighbours import nearest
from synthbook.randomness import derive


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


def clusters(seed: int, n: int, spread: float = 1.0) -> np.ndarray:
    """Return points [n, 3] around three far centres, twice as many around the first one."""
    which = np.random.default_rng(seed + 1000).choice([0, 0, 1, 2], n)
    return 12 * np.eye(3)[which] + spread * draw(seed, n, 3)


def test_c_t_tells_copies_fresh_and_underfitted_samples():
    train, held = clusters(0, 300), clusters(1, 200)
    copies = [train[k::2][:140] + 0.02 * draw(2 + k, 140, 3) for k in range(2)]
    result = data_copying(train, held, copies, cells=3)
    assert result.c_t.high < -8
    assert result.used == 1
    wide = [clusters(4 + k, 200, spread=2) for k in range(3)]
    assert data_copying(train, held, wide, cells=3).c_t.low > 3
    fresh = [
        data_copying(clusters(k, 200), clusters(k + 1, 150), [clusters(k + 2, 150)], cells=3)
        for k in range(100, 220, 3)
    ]
    scores = np.array([result.c_t.mean for result in fresh])
    assert abs(scores.mean()) < 4 * scores.std() / np.sqrt(len(scores))
    assert scores.std() < 1.2


def test_one_cell_is_the_global_test():
    train, held, made = draw(30, 90), draw(31, 70), 0.8 * draw(32, 60)
    result = data_copying(train, held, [made], cells=1)
    assert result.trials == (copying(train, held, made)["copying_z"],)
    assert np.isnan(result.c_t.low)


def test_cells_are_weighted_by_held_out_images_and_few_generated_ones_leave_a_cell_out():
    train, held = clusters(40, 300), clusters(41, 200)
    made = clusters(42, 160)
    of_train, of_held, of_made = (x.argmax(1) for x in (train, held, made))

    def by_hand(least: int, made: np.ndarray, of_made: np.ndarray) -> tuple[float, float]:
        total = weight = 0.0
        for cell in range(3):
            if (of_made == cell).sum() > least:
                known = train[of_train == cell]
                distances = [
                    np.linalg.norm(x[:, None] - known, axis=2).min(1)
                    for x in (made[of_made == cell], held[of_held == cell])
                ]
                share = (of_held == cell).mean()
                total += share * mann_whitney(*distances)[0]
                weight += share
        return total / weight, weight

    result = data_copying(train, held, [made, made], cells=3)
    assert result.trials == pytest.approx([by_hand(20, made, of_made)[0]] * 2)
    assert result.used == 1
    # Exactly 20 in the last cell are not more than 20.
    kept = np.sort(np.r_[np.flatnonzero(of_made < 2), np.flatnonzero(of_made == 2)[:20]])
    score, used = by_hand(20, made[kept], of_made[kept])
    result = data_copying(train, held, [made[kept]], cells=3)
    assert result.trials == pytest.approx([score])
    assert result.used == pytest.approx(used)
    assert used < 1
    assert data_copying(train, held, [made[kept]], cells=3, least=19).used == 1


def test_equal_training_images_leave_cells_empty_and_the_rest_counts():
    train = np.repeat(draw(50, 1), 30, 0)
    held, made = draw(51, 40), draw(52, 40)
    assert data_copying(train, held, [made], cells=4).trials == pytest.approx(
        [copying(train, held, made)["copying_z"]]
    )


def test_the_seed_and_nothing_else_decides():
    train, held = draw(60, 120), draw(61, 100)
    trials = [draw(62 + k, 100) for k in range(3)]
    first, second, other = (
        data_copying(train, held, trials, least=5, seed=seed).trials for seed in (0, 0, 1)
    )
    assert first == second != other


def test_replayed_images_are_training_images_and_no_better_than_fresh_ones():
    train, held = draw(70, 40), draw(71, 2000)
    again = replayed(train, 2000, seed=3)
    assert {*map(bytes, again)} == {*map(bytes, train)}
    assert (replayed(train, 2000, seed=3) == again).all()
    assert (replayed(train, 2000, seed=4) != again).any()
    fresh = frechet_distance(held, draw(72, 2000))
    # As good as the training set itself, and far from what new images get.
    assert frechet_distance(held, again) == pytest.approx(frechet_distance(held, train), rel=0.3)
    assert frechet_distance(held, again) > 10 * fresh


ok = draw(80, 9)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: copying(ok, ok[:1], ok), "held_out has 1 rows"),
        (lambda: copying(ok, ok, ok[:, :2]), "generated has 2"),
        (lambda: copying(ok, ok * np.nan, ok), r"held_out\[0\] holds NaN"),
        (lambda: leaks(ok, ok, ok[:, :2]), "one size and type"),
        (lambda: data_copying(ok, ok, [ok], cells=10), "give 1 to 9 cells"),
        (lambda: data_copying(ok, ok, []), "no trial"),
        (lambda: data_copying(ok, ok, [ok], cells=1), "more than 20 of the 9 generated"),
        (lambda: data_copying(ok, ok, [ok, ok * np.nan]), r"generated\[0\] holds NaN"),
    ],
)
def test_bad_input_is_named(call, said):
    with pytest.raises(InputError, match=said):
        call()


def test_distances_are_to_training_images_of_the_own_cell():
    """Cells that touch: the nearest training image of all is often another cell's."""
    train, held, made = draw(90, 200, 2), draw(91, 150, 2), draw(92, 150, 2)
    means = KMeans(5, random_state=derive(0, "data copying", 0) % 2**32).fit(train)
    of = [means.predict(x) for x in (train, held, made)]
    total = weight = 0.0
    for cell in range(5):
        known, seen, drawn = (x[k == cell] for x, k in zip((train, held, made), of, strict=True))
        if len(drawn) > 20:
            distances = (np.linalg.norm(x[:, None] - known, axis=2).min(1) for x in (drawn, seen))
            total += len(seen) * mann_whitney(*distances)[0]
            weight += len(seen)
    assert data_copying(train, held, [made]).trials == pytest.approx([total / weight])
