"""The data instance prior: its scale, and the ways of making new conditions of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from synthbook.data import ImageSet
from synthbook.errors import InputError
from synthbook.gans import prior as priors
from synthbook.gans.networks import create_discriminator, create_generator
from synthbook.gans.prior import (
    Components,
    Elements,
    Interpolations,
    centroids,
    embedded_rows,
    mixture,
    mixup,
    noisy,
    prior,
)
from synthbook.gans.recipes import Training
from synthbook.gans.sampling import sample
from synthbook.gans.train import train


def features(count: int = 40, length: int = 6) -> np.ndarray:
    draw = np.random.default_rng(0)
    return draw.normal(3, [0.1, 1, 2, 5, 20, 100][:length], (count, length)).astype(np.float32)


def identity(length: int) -> nn.Module:
    """Return a generator whose G_emb changes nothing."""
    settings = {"condition_size": length, "embedding": length, "channels": 4, "image_size": 8}
    generator = create_generator("sngan", **settings)
    nn.init.eye_(generator.embed.weight)
    nn.init.zeros_(generator.embed.bias)
    return generator


def groups(*sizes: int) -> np.ndarray:
    """Return features in groups 100 apart: group k has mean 100 k and deviations 1 and 3."""
    draw = np.random.default_rng(1)
    parts = [draw.normal(100 * k, (1, 3), (size, 2)) for k, size in enumerate(sizes)]
    return np.concatenate(parts).astype(np.float32)


def raw(rows: np.ndarray) -> priors.Prior:
    """Return a prior of features as they are."""
    return priors.Prior(torch.from_numpy(rows), 1.0)


def test_vectors_are_the_features_over_one_number_with_a_mean_square_of_one():
    rows = features()
    made = prior(rows)
    assert made.vectors.square().mean().item() == pytest.approx(1, rel=1e-5)
    torch.testing.assert_close(made.vectors * made.scale, torch.from_numpy(rows))
    torch.testing.assert_close(made.mean, torch.from_numpy(rows).mean(0) / made.scale)
    assert torch.equal(made.of(rows[3:5]), made.vectors[3:5])
    assert len(made) == 40


@given(size=st.floats(1e-3, 1e3))
def test_how_large_features_are_makes_no_difference(size):
    rows = features()
    torch.testing.assert_close(prior(rows * np.float32(size)).vectors, prior(rows).vectors)


def test_half_way_between_vectors_of_one_kind_lies_one_of_that_size():
    """Features that share most of their length, as those of photographs of one class do."""
    rows = 1 + features(40, 3) / 50
    pairs = prior(rows).vectors.split(20)
    middle = pairs[0].lerp(pairs[1], 0.5)
    assert middle.norm(dim=1).mean() > 0.97 * pairs[0].norm(dim=1).mean()


def test_features_are_the_same_in_blocks_of_any_size(monkeypatch):
    whole = prior(features())
    monkeypatch.setattr(priors, "ROWS", 7)
    torch.testing.assert_close(prior(features()).vectors, whole.vectors)


@pytest.mark.parametrize("spread", [0, 1e-8])
def test_images_that_differ_by_rounding_alone_are_the_same(spread):
    rows = np.repeat(features(1), 5, axis=0) * np.float32(1 + spread)
    with pytest.raises(InputError, match="have the same features"):
        prior(rows)
    rows[3, 2] *= np.float32(1.001)
    assert len(prior(rows)) == 5


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (features(1), "two images or more, and 1 was given"),
        (features(0), "two images or more, and 0 was given"),
        (np.repeat(features(1), 5, axis=0), "the 5 training images have the same features"),
        (features()[0], r"float32 \[6\]; give floats"),
        (np.ones((3, 2), int), r"int64 \[3, 2\]"),
        (np.where(np.arange(40)[:, None] == 12, np.nan, features()), "of image 12 are not finite"),
    ],
)
def test_bad_features(given, says):
    with pytest.raises(InputError, match=says):
        prior(given)


def test_features_of_other_images_must_be_of_the_same_network():
    with pytest.raises(InputError, match="has 6 features an image, not 5"):
        prior(features()).of(features(3, 5))
    with pytest.raises(InputError, match="of image 1 are not finite"):
        prior(features()).of(np.array([[0.0] * 6, [np.inf] * 6]))


SAMPLERS = [
    Elements(torch.randn(5, 3, generator=torch.Generator().manual_seed(0))),
    Interpolations(torch.randn(5, 3, generator=torch.Generator().manual_seed(0))),
    Components(torch.tensor([0.5, 0.5]), torch.tensor([[0.0] * 3, [9.0] * 3]), torch.ones(2, 3)),
]


@pytest.mark.parametrize("sampler", SAMPLERS, ids=lambda s: type(s).__name__)
def test_a_condition_depends_on_its_number_and_seed_only(sampler):
    state = torch.random.get_rng_state()
    made = sampler.sample(20, 1)
    assert made.shape == (20, 3)
    assert made.dtype == torch.float32
    assert torch.equal(sampler.sample(8, 1), made[:8])
    assert not torch.equal(sampler.sample(20, 2), made)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert sampler.sample(0, 1).shape == (0, 3)


def test_elements_are_training_vectors_all_as_likely():
    made = Elements(torch.arange(4.0)[:, None]).sample(2000, 0)[:, 0]
    shares = torch.bincount(made.long(), minlength=4) / 2000
    torch.testing.assert_close(shares, torch.full((4,), 0.25), rtol=0, atol=0.04)


def test_interpolations_are_uniform_between_two_vectors():
    """Of the vectors 0 and (1, 2): two equal ones in half of the cases, else l (1, 2)."""
    made = Interpolations(torch.tensor([[0.0, 0.0], [1.0, 2.0]])).sample(4000, 0)
    torch.testing.assert_close(made[:, 1], 2 * made[:, 0])
    inside = made[(made[:, 0] > 1e-6) & (made[:, 0] < 1 - 1e-6), 0]
    assert len(inside) / 4000 == pytest.approx(0.5, abs=0.03)
    quarters = torch.histc(inside, 4, 0, 1) / len(inside)
    torch.testing.assert_close(quarters, torch.full((4,), 0.25), rtol=0, atol=0.04)


def test_components_come_by_weight_with_their_own_spread():
    means, deviations = torch.tensor([[0.0], [100.0]]), torch.tensor([[1.0], [5.0]])
    made = Components(torch.tensor([0.2, 0.8]), means, deviations).sample(4000, 0)[:, 0]
    high = made > 50
    assert high.float().mean().item() == pytest.approx(0.8, abs=0.02)
    for part, mean, deviation in ((made[~high], 0, 1), (made[high], 100, 5)):
        assert part.mean().item() == pytest.approx(mean, abs=0.3)
        assert part.std().item() == pytest.approx(deviation, rel=0.07)


def test_centroids_are_means_of_the_embedded_groups_with_unit_noise():
    rows, generator = groups(200, 50, 100), identity(2)
    nn.init.normal_(generator.embed.weight)
    found = centroids(raw(rows), generator, clusters=3, seed=0)
    with torch.no_grad():
        embedded = generator.embed(torch.from_numpy(rows))
    expected = torch.stack([part.mean(0) for part in embedded.split([200, 50, 100])])
    nearest = torch.cdist(expected, found.means).min(1)
    assert sorted(nearest.indices.tolist()) == [0, 1, 2]
    assert nearest.values.max() < 1
    assert torch.equal(found.weights, torch.full((3,), 1 / 3))
    assert torch.equal(found.deviations, torch.ones(3, 2))
    assert found.embedded


def test_a_mixture_has_the_weights_means_and_deviations_of_the_groups():
    found = mixture(raw(groups(400, 100, 200)), identity(2), components=3, seed=0)
    order = found.means[:, 0].argsort()
    torch.testing.assert_close(
        found.weights[order], torch.tensor([4 / 7, 1 / 7, 2 / 7]), rtol=1e-3, atol=1e-3
    )
    means = torch.tensor([0.0, 100.0, 200.0])[:, None].expand(3, 2)
    torch.testing.assert_close(found.means[order], means, rtol=0, atol=1.0)
    expected = torch.tensor([[1.0, 3.0]]).expand(3, 2)
    torch.testing.assert_close(found.deviations[order], expected, rtol=0.2, atol=0.6)
    same = mixture(raw(groups(400, 100, 200)), identity(2), components=3, seed=0)
    assert torch.equal(same.means, found.means)


def test_a_mixture_of_as_many_components_as_images_has_no_spread_of_0():
    found = mixture(raw(groups(3, 2)), identity(2), components=5, seed=0)
    assert (found.deviations > 0).all()
    assert found.sample(10, 0).isfinite().all()


def test_only_so_many_random_vectors_are_embedded_and_in_blocks(monkeypatch):
    monkeypatch.setattr(priors, "ROWS", 8)
    generator, seen = identity(1), []
    generator.embed.register_forward_hook(lambda module, inputs, _: seen.append(len(inputs[0])))
    given = raw(np.arange(100, dtype=np.float32)[:, None])
    points = embedded_rows(given, generator, clusters=3, most=30, seed=0)
    assert seen == [8, 8, 8, 6]
    assert len(set(points[:, 0].tolist())) == 30
    assert points.max() > 70  # not the first ones
    assert not np.array_equal(points, embedded_rows(given, generator, clusters=3, most=30, seed=1))
    assert len(embedded_rows(given, generator, clusters=3, seed=0)) == 100


NAMES = {centroids: "clusters", mixture: "components"}


@pytest.mark.parametrize("fit", NAMES)
@pytest.mark.parametrize(
    ("rows", "clusters", "says"),
    [
        (groups(5), 6, "6 clusters cannot be made of 5 images"),
        (np.repeat(groups(2), 9, axis=0), 3, "18 images, of which 18 were taken and 2 differ"),
        (groups(5), 0, "give 1 to 5"),
    ],
)
def test_fewer_images_than_clusters(fit, rows, clusters, says):
    with pytest.raises(InputError, match=says):
        fit(raw(rows), identity(2), **{NAMES[fit]: clusters}, seed=0)


@pytest.mark.parametrize(
    ("name", "settings", "says"),
    [
        ("sngan", {"condition_size": 3}, "takes vectors of 3 numbers, and the prior has 2"),
        ("sngan", {}, "no layer that embeds its condition"),
        ("sngan", {"condition_size": 2, "shared": False}, "no layer that embeds"),
        ("stylegan2_mlp", {"num_classes": 2}, "takes vectors of 0 numbers"),
    ],
)
def test_generators_of_another_prior_or_of_none(name, settings, says, pair):
    with pytest.raises(InputError, match=says):
        centroids(raw(groups(5)), pair(name, **settings)[0], clusters=2, seed=0)


def test_mixup_takes_each_number_from_one_of_both():
    first, second = torch.zeros(50, 40), torch.ones(50, 40)
    mixed = mixup(first, second, share=0.3, seed=0)
    assert set(mixed.unique().tolist()) == {0.0, 1.0}
    assert mixed.mean().item() == pytest.approx(0.3, abs=0.05)
    assert not torch.equal(mixed[0], mixed[1])
    assert torch.equal(mixup(first[:9], second[:9], share=0.3, seed=0), mixed[:9])
    assert torch.equal(mixup(first, second, share=0.0, seed=0), first)
    assert torch.equal(mixup(first, second, share=1.0, seed=0), second)


def test_noise_has_the_deviation_asked_for():
    vectors = torch.full((60, 50), 3.0)
    made = noisy(vectors, deviation=0.5, seed=0)
    assert (made - 3).std().item() == pytest.approx(0.5, rel=0.05)
    assert (made - 3).mean().item() == pytest.approx(0, abs=0.04)
    assert torch.equal(noisy(vectors[:5], deviation=0.5, seed=0), made[:5])
    assert torch.equal(noisy(vectors, deviation=0.0, seed=0), vectors)


def test_a_trained_pair_makes_what_the_features_of_unseen_images_say():
    """The features are the brightness of the two halves and a number that means nothing."""
    draw = np.random.default_rng(0)
    bright = draw.integers(20, 236, (60, 2))
    pixels = np.repeat(bright, 4, axis=1)[:, None, :, None].repeat(8, 1).astype(np.uint8)
    images = ImageSet(pixels, np.zeros(60, int), ("all",), "halves")
    seen = np.concatenate([bright, draw.normal(size=(60, 1))], axis=1)
    made = prior(seen[:40].astype(np.float32))
    settings = {"image_size": 8, "image_channels": 1, "condition_size": 3, "latent": 8}
    networks = [
        create("sngan", channels=16, discriminator_channels=16, embedding=8, **settings)
        for create in (create_generator, create_discriminator)
    ]
    recipe = Training(steps=400, batch_size=16, ema_decay=0.9)
    generator = train(
        *networks, images.subset(range(40)), recipe, seed=0, conditions=made.vectors
    ).generator
    halves = sample(generator, made.of(seen[40:]), seed=0).reshape(20, 8, 2, 4).mean((1, 3))
    for side in (0, 1):
        assert np.corrcoef(halves[:, side], bright[40:, side])[0, 1] > 0.8
