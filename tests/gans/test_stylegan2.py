"""StyleGAN2's layers against their definitions, and the network's own draws."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn.functional import conv2d, conv_transpose2d, leaky_relu

from synthbook.gans.stylegan2 import (
    EqualConv,
    EqualLinear,
    ModulatedConv,
    activation,
    blur,
    minibatch_deviation,
    unit,
    upsample,
)

FIR = torch.outer(torch.tensor([1.0, 3, 3, 1]), torch.tensor([1.0, 3, 3, 1])) / 64


@pytest.mark.parametrize(("size", "up"), [(1, False), (3, False), (3, True)])
@pytest.mark.parametrize("demodulate", [False, True])
def test_modulated_convolution_equals_a_loop_over_images(size, up, demodulate):
    """Karras et al. 2020, Eqs. 1 and 3, image by image, with weights of their own."""
    layer = ModulatedConv(3, 4, size, 5, up=up, demodulate=demodulate)
    x, style = torch.randn(6, 3, 7, 7), torch.randn(6, 5)
    expected = []
    for image, scale in zip(x, layer.style(style), strict=True):
        weight = layer.weight * layer.scale * scale[None, :, None, None]
        if demodulate:
            norm = weight.square().sum((1, 2, 3), keepdim=True) + 1e-8
            weight = weight / norm.sqrt()
        if up:
            full = conv_transpose2d(image[None], weight.transpose(0, 1), stride=2)
            taps = (4 * FIR).expand(4, 1, 4, 4)
            expected.append(conv2d(full, taps, padding=1, groups=4))
        else:
            expected.append(conv2d(image[None], weight, padding=size // 2))
    torch.testing.assert_close(layer(x, style), torch.cat(expected), rtol=1e-4, atol=1e-5)


def test_equalised_rate_keeps_variance_and_speed():
    """Adam's first step moves every stored weight by the rate, whatever the layer's width."""
    for inputs in (4, 256):
        layer = EqualLinear(inputs, 512)
        assert layer.weight.std().item() == pytest.approx(1, abs=0.1)
        assert layer(torch.randn(512, inputs)).var().item() == pytest.approx(1, abs=0.15)
        effective = layer.weight * layer.scale
        assert effective.std().item() == pytest.approx(1 / math.sqrt(inputs), rel=0.1)
    slow = EqualLinear(64, 512, rate=0.01)
    x = torch.randn(512, 64)
    assert slow(x).var().item() == pytest.approx(1, abs=0.15)
    before = slow(x)
    optimizer = torch.optim.Adam(slow.parameters(), lr=0.1)
    old = slow.weight.detach().clone()
    slow(x).sum().backward()
    optimizer.step()
    torch.testing.assert_close(
        (slow.weight - old).abs(), torch.full_like(old, 0.1), rtol=1e-2, atol=0
    )
    moved = ((slow.weight - old) * slow.scale).abs().mean().item()
    assert moved == pytest.approx(0.1 * 0.01 / 8, rel=1e-2)  # the rate of the mapping network
    assert not torch.equal(slow(x), before)
    conv = EqualConv(32, 64, 3)
    out = conv(torch.randn(4, 32, 8, 8))[:, :, 1:-1, 1:-1]
    assert out.var().item() == pytest.approx(1, abs=0.15)


def test_filters_keep_constants_and_halve_or_double():
    flat = torch.ones(1, 2, 8, 8)
    torch.testing.assert_close(upsample(flat)[:, :, 2:-2, 2:-2], torch.ones(1, 2, 12, 12))
    torch.testing.assert_close(blur(flat, 1, stride=2)[:, :, 1:-1, 1:-1], torch.ones(1, 2, 2, 2))
    point = torch.zeros(1, 1, 5, 5)
    point[0, 0, 2, 2] = 1
    torch.testing.assert_close(upsample(point)[0, 0, 3:7, 3:7], 4 * FIR)
    for size in (1, 3):
        layer = EqualConv(2, 3, size, down=True)
        assert layer(torch.randn(1, 2, 8, 8)).shape == (1, 3, 4, 4)


def test_activation_and_unit():
    x = torch.randn(100, 50)
    torch.testing.assert_close(activation(x), leaky_relu(x, 0.2) * 2**0.5)
    torch.testing.assert_close(unit(x).square().mean(1), torch.ones(100), rtol=1e-4, atol=0)


def test_minibatch_deviation_by_hand_and_within_groups():
    x = torch.randn(8, 3, 2, 2)
    out = minibatch_deviation(x, 4)
    assert torch.equal(out[:, :3], x)
    for start in (0, 4):
        expected = x[start : start + 4].var(0, unbiased=False).sqrt().mean()
        torch.testing.assert_close(
            out[start : start + 4, 3], expected.expand(4, 2, 2), rtol=1e-4, atol=1e-5
        )
    x[4:] = 100  # the other group does not see it
    torch.testing.assert_close(minibatch_deviation(x, 4)[:4], out[:4])
    assert minibatch_deviation(x[:1], 4)[0, 3].max() < 1e-3
    assert minibatch_deviation(x[:6], 4).shape == (6, 4, 2, 2)


def test_without_draws_images_are_fixed_and_with_them_they_vary(pair):
    generator, _ = pair("stylegan2", 16)
    latents = torch.randn(3, 4)
    torch.testing.assert_close(generator(latents), generator(latents))

    def drawn(seed: int) -> torch.Tensor:
        return generator(latents, None, torch.Generator().manual_seed(seed))

    assert torch.equal(drawn(0), drawn(0))
    assert any(not torch.allclose(drawn(k), drawn(0)) for k in range(1, 4))
    # Without mixing, and with the noise's strength at 0 as at first, nothing varies.
    still, _ = pair("stylegan2", 16, style_mixing=0.0)
    images = still(latents)
    for seed in (0, 1):
        torch.testing.assert_close(
            still(latents, None, torch.Generator().manual_seed(seed)), images
        )


def test_mixing_takes_late_styles_from_other_latents(pair):
    generator, _ = pair("stylegan2", 16, style_mixing=1.0)
    latents = torch.randn(3, 4)
    own = generator.mapping(latents, None)
    for seed in range(5):
        styles = generator.styles(latents, None, torch.Generator().manual_seed(seed))
        same = [torch.equal(styles[:, k], own) for k in range(generator.num_styles)]
        assert same[0]
        assert not same[-1]
        assert same == sorted(same, reverse=True)


def test_half_precision_keeps_images_in_full_precision(pair):
    generator, discriminator = pair("stylegan2", 16)
    latents = torch.randn(4, 4)
    exact = generator(latents)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        images = generator(latents)
        logits = discriminator(images)
    assert images.dtype == torch.float32
    assert logits.isfinite().all()
    assert (images - exact).abs().max() < 0.1 * exact.abs().max()
