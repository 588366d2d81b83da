"""Self-conditioned GAN: clusters of features as labels, which keep their names."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import sklearn.cluster
import torch

from synthbook.data import ImageSet
from synthbook.errors import InputError
from synthbook.gans.baselines.self_conditioned import SelfConditioned, matched, unlabelled
from synthbook.gans.batches import ImageStream, Real
from synthbook.gans.extra import evaluating
from synthbook.gans.networks import create_config, create_discriminator
from synthbook.training import normalise


def shades(count: int = 30) -> ImageSet:
    """Return flat images, dark, grey and bright in turns."""
    values = np.array([10, 130, 240])[np.arange(count) % 3] + np.arange(count) % 5
    pixels = np.broadcast_to(values[:, None, None, None], (count, 8, 8, 3)).astype(np.uint8)
    return unlabelled(ImageSet(pixels, np.zeros(count, int), ("all",), "shades"), 3)


def discriminator(classes: int = 3) -> torch.nn.Module:
    settings = {"image_size": 8, "discriminator_channels": 4, "num_classes": classes}
    return create_discriminator("sngan", **settings)


@pytest.fixture
def ready():
    """Return a function that makes the method and its real images."""

    def made(images: ImageSet, network: torch.nn.Module, **how) -> tuple[SelfConditioned, Real]:
        real = Real(images, network.config, None, "cpu")
        extra = SelfConditioned(**{"clusters": 3, "every": 2, "samples": 18, "seed": 0} | how)
        extra.begin(real)
        return extra, real

    return made


def groups(labels: torch.Tensor) -> set[frozenset[int]]:
    values = labels.tolist()
    return {frozenset(k for k, v in enumerate(values) if v == c) for c in set(values)}


def test_labels_are_clusters_of_the_discriminators_features(ready):
    images, network = shades(), discriminator()
    extra, real = ready(images, network)
    state = {k: v.clone() for k, v in network.state_dict().items()}
    extra.renew(0, network)
    expected = {frozenset(range(k, 30, 3)) for k in range(3)}
    assert groups(real.conditions) == expected  # what the loop gives to both networks
    assert real.conditions.dtype == torch.int64
    # Neither the network nor the set of images is touched.
    assert network.training
    assert all(torch.equal(v, state[k]) for k, v in network.state_dict().items())
    assert images.labels.tolist() == [k % 3 for k in range(30)]


def test_unmoved_clusters_keep_their_labels(ready):
    network = discriminator()
    extra, real = ready(shades(), network)
    extra.renew(0, network)
    before = real.conditions.clone()
    extra.renew(1, network)  # not due
    assert torch.equal(real.conditions, before)
    for step in (2, 4, 6):  # other samples each time
        extra.renew(step, network)
        assert torch.equal(real.conditions, before)
    # Under other names they keep those.
    names = torch.tensor([2, 0, 1])
    extra.labels.copy_(names[before])
    extra.renew(8, network)
    assert torch.equal(real.conditions, names[before])


def test_new_clusters_start_from_the_means_of_the_old_ones(ready, monkeypatch):
    """Of the features as they are now; the first ones have no old ones to start from."""
    network, started, inner = discriminator(), [], sklearn.cluster.KMeans

    def noted(clusters: int, **how: Any) -> Any:
        started.append(how["init"])
        return inner(clusters, **how)

    monkeypatch.setattr(sklearn.cluster, "KMeans", noted)
    extra, real = ready(shades(), network, samples=30)
    extra.renew(0, network)
    before = real.conditions.clone()
    torch.nn.init.normal_(network.blocks[0].conv1.bias)
    extra.renew(2, network)
    assert started[0] == "k-means++"
    with evaluating(network), torch.no_grad():
        h = network.features(normalise(real.images(torch.arange(30))))
    wanted = torch.stack([h[before == k].mean(0) for k in range(3)])
    np.testing.assert_allclose(started[1], wanted.numpy(), rtol=1e-4, atol=1e-5)


def test_matching_keeps_most_labels_of_all_permutations():
    draw = np.random.default_rng(0)
    for _ in range(20):
        old, new = draw.integers(0, 4, (2, 15))
        kept = (matched(old, new, 4) == old).sum()
        best = max((np.array(p)[new] == old).sum() for p in itertools.permutations(range(4)))
        assert kept == best
    for permutation in itertools.permutations(range(4)):
        assert np.array_equal(matched(old, np.array(permutation)[old], 4), old)


def test_killed_and_resumed_equals_never_killed(noise, run, resumed, same):
    images, seen = unlabelled(noise, 3), []

    def extra(network: torch.nn.Module) -> SelfConditioned:
        return SelfConditioned(clusters=3, every=2, samples=8, seed=0)

    def look(step: int, computed: dict[str, float]) -> None:
        seen.append(computed)

    whole, labelled = run("sngan", images, extra, num_classes=3, how={"on_step": look})
    for made, other in resumed("sngan", images, extra, num_classes=3):
        assert same(made, whole)
        assert torch.equal(other.labels, labelled.labels)
    assert len(seen) == 6
    assert not torch.equal(labelled.labels, torch.arange(12) % 3)
    plain = run("sngan", images, num_classes=3)[0]
    assert not same(whole, plain)


def test_duplicates_leave_clusters_without_images(ready):
    black = ImageSet(np.zeros((9, 8, 8, 3), np.uint8), np.zeros(9, int), ("all",), "black")
    network = discriminator()
    extra, real = ready(unlabelled(black, 3), network)
    for step in (0, 2):
        extra.renew(step, network)
        assert len(set(real.conditions.tolist())) == 1


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"clusters": 0}, "0 clusters of 18 samples every 2 steps"),
        ({"every": 0}, "every 0 steps"),
        ({"samples": 2}, "3 clusters of 2 samples"),
        ({"clusters": 4}, "4 clusters need a set of images, and networks with num_classes 4"),
    ],
)
def test_settings_that_are_not_possible(settings, says, ready):
    with pytest.raises(InputError, match=says):
        ready(shades(), discriminator(), **settings)


def test_images_that_are_too_few_or_a_stream(ready):
    with pytest.raises(InputError, match="3 clusters cannot be made of 2 images"):
        ready(shades(2), discriminator())
    stream = ImageStream(lambda k: torch.zeros(len(k), 3, 8, 8), 8, 3, "endless", 3)
    config = create_config("sngan", image_size=8, num_classes=3)
    with pytest.raises(InputError, match="3 clusters need a set of images"):
        SelfConditioned(clusters=3, samples=3, seed=0).begin(Real(stream, config, None, "cpu"))
