"""The frozen network: what it returns, what it keeps, and which images it refuses."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from synthbook.data import ImageSet
from synthbook.errors import InputError
from synthbook.randomness import torch_generator
from synthbook.recognize.batches import Batch, Stream, as_input
from synthbook.recognize.methods.guide import TABLES, Guide, create_guide
from synthbook.recognize.models import create_classifier
from synthbook.recognize.recipe import Recipe
from synthbook.recognize.train import trainable

RECIPE = Recipe(epochs=1, batch_size=8, learning_rate=0.1)
IMAGES = torch.rand(10, 1, 8, 8, generator=torch_generator(0, "images"))


def test_it_is_frozen_and_in_evaluation_mode(guide, weights) -> None:
    frozen = guide()
    before = weights(frozen.network)
    features = frozen.features(IMAGES)
    assert trainable(frozen.network) == []
    assert not features.requires_grad
    assert features.shape == (10, frozen.width)
    assert torch.equal(weights(frozen.network), before)


def test_images_of_any_size_are_resized(guide) -> None:
    resized = F.interpolate(IMAGES, size=(16, 16), mode="bilinear", antialias=True)
    torch.testing.assert_close(guide(16).features(IMAGES), guide().network.features(resized))


def batch(images: ImageSet, indices: list[int]) -> Batch:
    chosen = torch.tensor(indices)
    pixels = as_input(torch.from_numpy(images.images))[chosen]
    return Batch(pixels, torch.zeros(len(indices), dtype=torch.long), chosen)


def test_features_of_a_set_are_computed_once_and_looked_up(guide, quadrants) -> None:
    frozen, seen, first, second = guide(), [], quadrants(10, 1), quadrants(10, 2)
    inner = frozen.features
    frozen.features = lambda entering: (seen.append(len(entering)), inner(entering))[1]
    for images in (first, second, first):  # another set under the same name
        frozen.remember({"real": images}, RECIPE)
        for indices in ([3, 1, 7], [7, 3, 2]):
            some = batch(images, indices)
            found = frozen.of("real", some)
            torch.testing.assert_close(found, inner(some.images), atol=1e-6, rtol=1e-5)
    assert seen == [10, 10]
    frozen.of("synthetic", some)
    assert seen == [10, 10, 3]
    for seed in range(20):  # of the last sets only
        frozen.remember({"real": quadrants(4, seed)}, RECIPE)
    assert len(frozen._tables) == TABLES


@pytest.mark.parametrize("flip", [False, True])
def test_the_guide_sees_images_as_they_are_and_not_resized_for_another_network(
    flip: bool, guide, quadrants
) -> None:
    frozen, images = guide(), quadrants(5, 1)
    recipe = replace(RECIPE, input_size=16, flip=flip)
    frozen.remember({"real": images}, recipe)
    (some,) = Stream(images, recipe, name="real", seed=0).epoch(0, [0, 5])
    assert some.images.shape[-1] == 16
    whole = as_input(torch.from_numpy(images.images))[some.indices]
    mirrored = [
        not torch.equal(x, as_input(p[None])[0]) for x, p in zip(whole, some.pixels, strict=False)
    ]
    assert any(mirrored) == flip
    whole = torch.stack([x.flip(2) if m else x for x, m in zip(whole, mirrored, strict=False)])
    found = frozen.of("real", some)
    torch.testing.assert_close(found, frozen.features(whole), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("change", [{"flip": True}, {"crop_padding": 1}])
def test_nothing_is_kept_of_images_that_change(change: dict[str, int], guide, quadrants) -> None:
    frozen, images = guide(), quadrants(10, 1)
    frozen.remember({"real": images}, replace(RECIPE, **change))
    some = batch(images, [0, 1])
    changed = replace(some, images=some.images.flip(3))
    torch.testing.assert_close(frozen.of("real", changed), frozen.features(changed.images))


def test_a_size_it_cannot_take_is_named() -> None:
    patches = create_classifier(
        "vit_tiny_patch16_224", num_classes=2, channels=3, image_size=32, seed=0
    )
    with pytest.raises(InputError, match=r"vit_tiny_patch16_224' cannot take images of 40 px"):
        Guide(patches, input_size=40)


def test_the_bundled_guide_has_imagenets_head_and_takes_grey_images() -> None:
    guide = create_guide("efficientnet_lite0", channels=1, input_size=32)
    control = create_guide("efficientnet_lite0", channels=1, input_size=32, pretrained=False)
    assert guide.network.num_classes == 1000
    assert guide.width == control.width == 1280
    colour = guide.features(IMAGES.expand(-1, 3, -1, -1))
    torch.testing.assert_close(guide.features(IMAGES), colour, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(guide.features(IMAGES), control.features(IMAGES))
