"""The frozen network: what it returns, what it keeps, and which images it refuses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from synthbook.errors import InputError
from synthbook.randomness import numpy_generator, torch_generator
from synthbook.recognize.batches import Batch
from synthbook.recognize.methods.guide import Guide, create_guide
from synthbook.recognize.models import create_classifier
from synthbook.recognize.recipe import Recipe
from synthbook.recognize.train import trainable

RECIPE = Recipe(epochs=1, batch_size=8, learning_rate=0.1)


def network(seed: int = 0, size: int = 8):
    return create_classifier("small_cnn", num_classes=5, channels=1, image_size=size, seed=seed)


def images(count: int, size: int = 8) -> Tensor:
    return torch.rand(count, 1, size, size, generator=torch_generator(0, "images"))


def batch(pixels: Tensor, indices: list[int]) -> Batch:
    chosen = torch.tensor(indices)
    return Batch(pixels[chosen], torch.zeros(len(indices), dtype=torch.long), chosen)


def test_it_is_frozen_and_in_evaluation_mode() -> None:
    guide = Guide(network(), input_size=8, channels=1)
    assert trainable(guide.network) == []
    before = {name: value.clone() for name, value in guide.network.state_dict().items()}
    features = guide.features(images(4))
    assert not features.requires_grad
    assert features.shape == (4, guide.width)
    for name, value in guide.network.state_dict().items():
        assert torch.equal(value, before[name])


def test_images_of_any_size_are_resized() -> None:
    guide = Guide(network(size=16), input_size=16, channels=1)
    resized = F.interpolate(images(3), size=(16, 16), mode="bilinear", antialias=True)
    torch.testing.assert_close(guide.features(images(3)), guide.network.features(resized))


def test_features_are_computed_once_and_looked_up() -> None:
    guide, pixels = Guide(network(), input_size=8, channels=1), images(10)
    seen: list[int] = []
    inner = guide.features
    guide.features = lambda entering: (seen.append(len(entering)), inner(entering))[1]
    guide.remember({"real": range(10)}, RECIPE)
    first = guide.of("real", batch(pixels, [3, 1, 7]))
    second = guide.of("real", batch(pixels, [7, 3, 2]))
    assert seen == [3, 1]
    torch.testing.assert_close(first, inner(pixels[[3, 1, 7]]), atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(second, inner(pixels[[7, 3, 2]]), atol=1e-6, rtol=1e-5)
    other = images(10).flip(0)
    guide.remember({"real": range(10)}, RECIPE)  # another set under the same name
    torch.testing.assert_close(
        guide.of("real", batch(other, [0])), inner(other[:1]), atol=1e-6, rtol=1e-5
    )


@pytest.mark.parametrize("change", [{"flip": True}, {"crop_padding": 1}])
def test_nothing_is_kept_of_images_that_change(change: dict[str, int]) -> None:
    guide, pixels = Guide(network(), input_size=8, channels=1), images(4)
    guide.remember({"real": range(4)}, replace(RECIPE, **change))
    guide.of("real", batch(pixels, [0, 1]))
    changed = guide.of("real", batch(pixels.flip(3), [0, 1]))
    torch.testing.assert_close(changed, guide.features(pixels.flip(3)[:2]))


def test_a_size_it_cannot_take_is_named() -> None:
    patches = create_classifier(
        "vit_tiny_patch16_224", num_classes=2, channels=3, image_size=32, seed=0
    )
    with pytest.raises(InputError, match=r"vit_tiny_patch16_224' cannot take images of 40 px"):
        Guide(patches, input_size=40)


def test_an_unknown_or_missing_backbone_is_named() -> None:
    with pytest.raises(InputError, match="did you mean 'efficientnet_lite0'"):
        create_guide("efficientnet_lite_0", channels=1, input_size=32)
    with pytest.raises(InputError, match="no pretrained weights"):
        create_guide("small_cnn", channels=1, input_size=8)


def test_the_bundled_guide_has_imagenets_head_and_takes_grey_images() -> None:
    guide = create_guide("efficientnet_lite0", channels=1, input_size=32)
    assert guide.network.num_classes == 1000
    assert guide.width == 1280
    control = create_guide("efficientnet_lite0", channels=1, input_size=32, pretrained=False)
    assert control.width == 1280
    pixels = numpy_generator(0, "grey").random((3, 1, 8, 8), dtype=np.float32)
    grey = torch.from_numpy(pixels)
    torch.testing.assert_close(
        guide.features(grey), guide.features(grey.expand(-1, 3, -1, -1)), atol=1e-5, rtol=1e-4
    )
    assert not torch.allclose(guide.features(grey), control.features(grey))
