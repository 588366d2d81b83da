"""GAN networks: shapes, spectral norm, and the class term of the projection."""

from __future__ import annotations

import pytest
import torch

from synthbook.errors import InputError
from synthbook.gans.networks import Discriminator, Generator, widths
from synthbook.loops import seeded

torch.set_num_threads(1)


def networks(size: int = 8, image_channels: int = 1) -> tuple[Generator, Discriminator]:
    shape = {"image_size": size, "image_channels": image_channels, "num_classes": 3, "channels": 4}
    with seeded(0, "test"):
        return Generator(**shape, latent=5), Discriminator(**shape)


@pytest.mark.parametrize("size", [8, 16, 32, 64, 128])
@pytest.mark.parametrize("image_channels", [1, 3])
def test_shapes_and_ranges(size, image_channels):
    generator, discriminator = networks(size, image_channels)
    labels = torch.tensor([0, 2])
    images = generator(torch.randn(2, 5), labels)
    assert images.shape == (2, image_channels, size, size)
    assert images.abs().max() <= 1
    assert discriminator(images, labels).shape == (2,)


def test_widths_double_as_the_size_halves():
    assert widths(16, 8) == [32, 16]
    assert widths(16, 64) == [64, 64, 64, 32, 16]


@pytest.mark.parametrize("size", [4, 12, 20, 256])
def test_other_sizes_are_refused(size):
    with pytest.raises(InputError, match=f"image size {size}"):
        widths(4, size)


def test_spectral_norm_makes_the_largest_singular_value_one():
    _, discriminator = networks()
    for _ in range(50):  # each training forward is one power iteration
        discriminator(torch.randn(2, 1, 8, 8), torch.tensor([0, 1]))
    normed = 0
    for module in discriminator.modules():
        if hasattr(module, "parametrizations"):
            largest = torch.linalg.matrix_norm(module.weight.flatten(1), 2).item()
            assert largest == pytest.approx(1, abs=0.03)
            normed += 1
    learned = [m for m in discriminator.modules() if type(m).__name__ in MODULES]
    assert normed == len(learned) > 5


MODULES = {"ParametrizedConv2d", "ParametrizedLinear", "ParametrizedEmbedding"} | {
    "Conv2d",
    "Linear",
    "Embedding",
}


def test_logit_is_psi_plus_the_inner_product_with_the_class():
    _, discriminator = networks()
    discriminator.eval()
    images = torch.randn(4, 1, 8, 8)
    h = discriminator.features(images)
    for label in range(3):
        logits = discriminator(images, torch.full((4,), label))
        expected = (
            h @ discriminator.psi.weight[0]
            + discriminator.psi.bias
            + h @ discriminator.embed.weight[label]
        )
        torch.testing.assert_close(logits, expected)


def test_generator_uses_its_class():
    generator, _ = networks()
    with torch.no_grad():
        generator.blocks[0].norm1.bias.weight[1] += 1
    generator.eval()
    latents = torch.randn(2, 5)
    first, second = (generator(latents, torch.full((2,), k)) for k in (0, 1))
    assert (first - second).abs().max() > 1e-4
    torch.testing.assert_close(first, generator(latents, torch.full((2,), 2)))
