from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra import numpy as hnp

from synthbook.errors import InputError
from synthbook.measure import gap
from synthbook.measure.fidelity import fidelity

percent = st.floats(0, 100)
losses = hnp.arrays(np.float64, st.integers(1, 60), elements=st.floats(0, 20))

# Table 1 of Wang et al. 2024.
TABLE_1 = {
    ("real", "real"): 96.34,
    ("real", "LSGM"): 93.54,
    ("real", "SG-XL"): 98.68,
    ("LSGM", "real"): 85.76,
    ("LSGM", "LSGM"): 97.71,
    ("SG-XL", "real"): 78.90,
    ("SG-XL", "SG-XL"): 99.82,
}


def test_non_mutual_gap_of_the_papers_table():
    lsgm, sgxl = gap.non_mutual_gap(TABLE_1, "LSGM"), gap.non_mutual_gap(TABLE_1, "SG-XL")
    assert lsgm["synthetic_to_real_drop"] == pytest.approx(11.95)
    assert lsgm["real_to_synthetic_drop"] == pytest.approx(2.80)
    assert sgxl["synthetic_to_real_drop"] == pytest.approx(20.92)
    assert sgxl["real_to_synthetic_drop"] == pytest.approx(-2.34)
    assert sgxl["asymmetry"] == pytest.approx(23.26)
    assert lsgm["transfer_difference"] == pytest.approx(7.78)


@given(percent, percent, percent, percent)
def test_exchanging_the_sources_turns_the_sign(rr, rs, sr, ss):
    table = {("r", "r"): rr, ("r", "s"): rs, ("s", "r"): sr, ("s", "s"): ss}
    one, other = gap.non_mutual_gap(table, "s", real="r"), gap.non_mutual_gap(table, "r", real="s")
    assert one["asymmetry"] == pytest.approx(-other["asymmetry"])
    assert one["transfer_difference"] == pytest.approx(-other["transfer_difference"])


def test_learning_speed_of_a_known_curve():
    # 0, 10, ..., 100 over ten epochs: 95 is reached half-way between epochs 9 and 10.
    result = gap.learning_speed(np.arange(10, 101, 10), [50] * 10, early=0.2)
    assert result["epochs_to_level"] == pytest.approx(9.5)
    assert result["early_accuracy"] == pytest.approx(15)
    assert result["generalisation_gap"] == pytest.approx(50)
    # Reached within the first epoch: the line starts at chance.
    assert gap.learning_speed([100, 100], [0, 0], chance=10)["epochs_to_level"] == pytest.approx(
        85 / 90
    )


@given(hnp.arrays(np.float64, st.integers(1, 30), elements=st.floats(1, 100)), st.floats(0.5, 1))
def test_the_level_is_reached_once_and_on_the_curve(train, level):
    result = gap.learning_speed(train, train, level=level)
    epoch = result["epochs_to_level"]
    assert 0 <= epoch <= len(train)
    height = np.interp(epoch, np.arange(len(train) + 1), [0, *train])
    assert height == pytest.approx(level * train[-1], rel=1e-6)
    assert (train[: int(np.ceil(epoch)) - 1] < level * train[-1]).all()


@given(losses, st.floats(0, 1), st.floats(1, 5))
def test_loss_profile_and_its_shares(values, near_zero, high):
    profile = gap.loss_profile(values, near_zero, high)
    count = len(values)
    assert profile["near_zero"] * count == pytest.approx(sum(v < near_zero for v in values))
    assert profile["high"] * count == pytest.approx(sum(v > high for v in values))
    assert profile["mean"] == pytest.approx(np.mean(values))
    assert profile["median"] == pytest.approx(np.median(values))


@settings(deadline=None)
@given(losses, losses)
def test_easier_share_counts_pairs(a, b):
    a, b = a.round(), b.round()  # with ties
    pairs = [(x < y) + (x == y) / 2 for x in a for y in b]
    assert gap.easier_share(a, b) == pytest.approx(np.mean(pairs))
    assert gap.easier_share(a, b) + gap.easier_share(b, a) == pytest.approx(1)


@given(losses, st.data())
def test_extremes_and_low_loss_are_the_ends_of_the_order(values, data):
    k = data.draw(st.integers(1, len(values)))
    least, most = gap.extremes(values, k)
    assert values[least].tolist() == sorted(values)[:k]
    assert values[most].tolist() == sorted(values, reverse=True)[:k]
    quantile = data.draw(st.floats(0.05, 1))
    mask = gap.low_loss(values, quantile)
    assert mask.sum() == int(quantile * len(values) + 1e-9)
    if mask.any() and not mask.all():
        assert values[mask].max() <= values[~mask].min()


def two_modes(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Three classes of 50 images; the last 10 of each are a mode of their own."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(150, 4))
    labels = np.repeat([0, 1, 2], 50)
    rare = np.tile(np.arange(50) >= 40, 3)
    features[rare] += [8, 0, 0, 0]
    return features + 20 * labels[:, None], labels, rare


def test_rare_images_finds_the_small_far_mode():
    features, labels, rare = two_modes()
    mask = gap.rare_images(features, labels, 0.2)
    assert (mask & rare).sum() >= 0.9 * rare.sum()
    assert np.bincount(labels[mask]).tolist() == [10, 10, 10]
    assert (mask == gap.rare_images(features, labels, 0.2)).all()


@pytest.mark.parametrize("strays", [1, 2])
def test_rare_images_takes_groups_and_leaves_lone_outliers(strays):
    # 36 common images, one stray or two at distance 15, and a mode of 3 at distance 10.
    rng = np.random.default_rng(3)
    common, mode = rng.normal(size=(36, 2)), rng.normal(size=(3, 2)) * 0.1
    mode[:, 0] += 10
    features = np.concatenate([common, [[0, 15]] * strays, mode])
    mask = gap.rare_images(features, np.zeros(39 + strays, int), 0.075, clusters=3)
    assert np.flatnonzero(mask).tolist() == [36 + strays + k for k in range(3)]


def test_of_the_last_cluster_the_farthest_images_are_rare():
    # 40 images about 0, and 10 in a row from 10 to 19, of which 6 are asked for.
    common = 0.1 * np.random.default_rng(5).normal(size=(40, 2))
    mode = np.stack([np.arange(10, 20), np.zeros(10)], axis=1)
    features = np.concatenate([common, mode])
    mask = gap.rare_images(features, np.zeros(50, int), 0.12, clusters=2)
    assert np.flatnonzero(mask).tolist() == [44, 45, 46, 47, 48, 49]


@pytest.mark.parametrize("share", [0.05, 0.33, 0.9])
def test_rare_images_marks_as_many_of_every_class(share):
    features, labels, _ = two_modes()
    keep = np.arange(150) < 130  # the last class has 30 images
    mask = gap.rare_images(features[keep], labels[keep], share)
    assert set(np.bincount(labels[keep][mask])) == {int(30 * share + 1e-9)}


@given(st.integers(0, 2**31), st.lists(st.booleans(), min_size=30, max_size=30))
def test_random_like_has_the_same_counts(seed, chosen):
    mask, labels = np.array(chosen), np.arange(30) % 3
    drawn = gap.random_like(mask, labels, seed=seed)
    assert np.bincount(labels[drawn], minlength=3).tolist() == [
        int((mask & (labels == c)).sum()) for c in range(3)
    ]
    assert (drawn == gap.random_like(mask, labels, seed=seed)).all()


def test_random_like_draws_from_the_whole_class():
    mask, labels = np.arange(20) < 5, np.zeros(20, int)
    seen = np.any([gap.random_like(mask, labels, seed=s) for s in range(60)], axis=0)
    assert seen.all()


def measured(real: np.ndarray, fake: np.ndarray) -> dict[str, float]:
    return gap.taxonomy(
        fidelity(real, fake, extractor_name="x", neighbours=3), gap.separability(real, fake)
    )


def test_taxonomy_puts_each_fault_where_it_belongs():
    rng = np.random.default_rng(1)
    far, tint = np.array([9, 9, 0, 0]), np.array([0, 0, 0, 2.5])
    real = np.concatenate([rng.normal(size=(150, 4)), rng.normal(size=(150, 4)) + far])
    fresh = np.concatenate([rng.normal(size=(150, 4)), rng.normal(size=(150, 4)) + far])
    perfect = measured(real, fresh)
    tinted = measured(real, fresh + tint)
    dropped = measured(real, rng.normal(size=(300, 4)))
    distorted = measured(real, fresh + 4 * rng.normal(size=(300, 4)))
    assert max(perfect["appearance"], perfect["content"], perfect["quality"]) < 0.2
    assert tinted["appearance"] > 0.6
    assert dropped["content"] > 0.4
    assert dropped["content_coverage"] > 0.4
    assert dropped["quality"] < 0.2
    assert dropped["content_minus_quality"] > 0.2
    assert distorted["quality"] > 0.4
    assert distorted["quality_density"] > 0.4
    assert distorted["content_minus_quality"] < 0


def test_each_factor_is_the_measure_that_the_text_names():
    measures = {"recall": 0.9, "precision": 0.7, "coverage": 0.6, "density": 0.25}
    found = gap.taxonomy(measures, 0.8)
    wanted = {
        "appearance": 0.8, "content": 0.1, "content_coverage": 0.4, "quality": 0.3,
        "quality_density": 0.75, "content_minus_quality": -0.2,
    }  # fmt: skip
    assert found == pytest.approx(wanted)
    assert gap.taxonomy(measures | {"density": 1.2}, 0.8)["quality_density"] == 0


def test_separability_does_not_hinge_on_the_units_of_a_feature():
    rng = np.random.default_rng(6)
    a, b = rng.normal(size=(80, 5)), rng.normal(size=(80, 5)) + 0.6
    units = np.array([1e-3, 0.1, 1, 30, 1e4])
    found = gap.separability(a, b)
    assert 0.2 < found < 0.9
    assert gap.separability(units * a, units * b) == pytest.approx(found)


def test_separability_is_zero_for_one_source_and_one_for_two():
    rng = np.random.default_rng(2)
    a, b = rng.normal(size=(100, 200)), rng.normal(size=(60, 200))
    assert gap.separability(a, b) < 0.2
    assert gap.separability(a, b + 3) == pytest.approx(1)


def test_separability_does_not_hinge_on_the_counts():
    rng = np.random.default_rng(4)
    a, b = rng.normal(size=(600, 3)), rng.normal(size=(600, 3)) + np.array([1, 0, 0])
    assert gap.separability(a, b[:40]) == pytest.approx(gap.separability(a, b), abs=0.15)


labels9 = np.zeros(9, int)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: gap.learning_speed([1, 2], [1]), "one number an epoch"),
        (lambda: gap.learning_speed([], []), "one number an epoch"),
        (lambda: gap.learning_speed([1.0], [np.nan]), "NaN"),
        (lambda: gap.loss_profile(np.array([np.nan])), "NaN"),
        (lambda: gap.loss_profile(np.zeros((2, 2))), "one number a sample"),
        (lambda: gap.low_loss(np.array([1, np.nan])), "NaN"),
        (lambda: gap.easier_share(np.ones(3), np.array([])), "one number a sample"),
        (lambda: gap.rare_images(np.ones((9, 2)), labels9, 0.01), "at least one image"),
        (lambda: gap.rare_images(np.full((9, 2), np.nan), labels9, 0.5), "NaN"),
        (lambda: gap.separability(np.ones((9, 2)), np.ones((3, 2))), "fake has 3 rows"),
    ],
)
def test_bad_input_is_named(call, said):
    with pytest.raises(InputError, match=said):
        call()
