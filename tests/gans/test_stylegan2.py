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
    ResidualDown,
    StyledConv,
    ToImage,
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


@pytest.mark.parametrize("size", [1, 3])
def test_a_convolution_that_halves_has_the_filter_in_its_kernel(size):
    """To filter and then to convolve is one convolution with both kernels' convolution."""
    layer, x = EqualConv(2, 3, size, down=True), torch.randn(2, 2, 8, 8)
    torch.nn.init.normal_(layer.bias)
    single = (layer.weight * layer.scale).flatten(0, 1)[:, None]
    kernel = conv_transpose2d(single, FIR[None, None]).view(3, 2, size + 3, size + 3)
    wanted = conv2d(x, kernel, layer.bias, stride=2, padding=size // 2 + 1)
    torch.testing.assert_close(layer(x), wanted, rtol=1e-4, atol=1e-5)


def test_a_block_of_the_discriminator_is_its_formula():
    block, x = ResidualDown(3, 4), torch.randn(2, 3, 8, 8)
    h = block.conv1(leaky_relu(block.conv0(x), 0.2) * 2**0.5)
    wanted = leaky_relu(h, 0.2) + block.skip(x) / 2**0.5
    torch.testing.assert_close(block(x), wanted)


def test_an_image_layer_is_not_demodulated():
    """A style of twice the size makes an image of twice the contrast."""
    layer, x, style = ToImage(3, 2, 5), torch.randn(4, 3, 7, 7), torch.randn(4, 5)
    image = layer(x, style)
    with torch.no_grad():
        for parameter in layer.conv.style.parameters():
            parameter.mul_(2)
    torch.testing.assert_close(layer(x, style), 2 * image)


@pytest.mark.parametrize("name", ["stylegan2", "stylegan2_mlp"])
def test_the_mapping_sees_directions_alone_and_learns_slowly(name, pair):
    generator, _ = pair(name, condition_size=3)
    mapping, z, c = generator.mapping, torch.randn(5, 4), torch.randn(5, 3)
    e = mapping.embed(c)
    w = mapping(z, e, embedded=True)
    torch.testing.assert_close(mapping(z, c), w)
    torch.testing.assert_close(mapping(7 * z, 5 * e, embedded=True), w, rtol=1e-4, atol=1e-5)
    for layer, inputs in zip(mapping.layers, (4 + 6, 6), strict=True):
        assert layer.scale == pytest.approx(0.01 / math.sqrt(inputs))
        assert layer.weight.std().item() == pytest.approx(100, rel=0.4)
    if name == "stylegan2_mlp":  # Data Instance Prior, Appendix A: two layers with ReLU
        first, _, second = mapping.embed
        torch.testing.assert_close(second(first(c).clamp(min=0)), e)


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


def test_layers_take_their_styles_in_turn(pair):
    """The first layer of a size and the image of the one before share one, as in public code."""
    generator, _ = pair("stylegan2", 16)
    styles, taken = torch.randn(2, generator.num_styles, 6), []
    for module in generator.modules():
        if isinstance(module, StyledConv | ToImage):
            module.register_forward_hook(lambda _, given, made: taken.append(given[1]))
    generator.synthesis(styles)
    found = [(styles == one[:, None]).all(2).all(0).nonzero().item() for one in taken]
    assert found == [0, 1, 1, 2, 3, 3, 4, 5]


def test_noise_is_drawn_for_each_image(pair):
    generator, _ = pair("stylegan2", 16, style_mixing=0.0)
    for module in generator.modules():
        if isinstance(module, StyledConv):
            torch.nn.init.constant_(module.strength, 0.5)
    latents = torch.randn(1, 4).expand(2, -1)
    draws = (None, *(torch.Generator().manual_seed(seed) for seed in (0, 1)))
    fixed, drawn, other = (generator(latents, None, draw) for draw in draws)
    torch.testing.assert_close(fixed[0], fixed[1])
    for one, another in (drawn, (drawn[0], other[0]), (drawn[0], fixed[0])):
        assert (one - another).abs().max() > 0.1


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
