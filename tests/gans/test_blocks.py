"""Residual blocks: what takes fewer products gives what the plain layers give."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, relu
from torch.nn.utils.parametrizations import spectral_norm

from synthbook.gans.blocks import ConditionalBatchNorm, DownBlock, UpBlock, double, doubled, halved


def convolution(inputs: int, outputs: int, bias: bool = True) -> nn.Conv2d:
    torch.manual_seed(inputs)
    return nn.Conv2d(inputs, outputs, 3, padding=1, bias=bias).double()


def images(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("sides", [(4, 4), (2, 6), (8, 2)])
@pytest.mark.parametrize(
    ("short", "plain"),
    [
        (doubled, lambda conv, x: conv(double(x))),
        (halved, lambda conv, x: avg_pool2d(conv(x), 2)),
    ],
)
def test_value_and_gradients_are_those_of_the_two_layers(short, plain, sides, bias) -> None:
    conv, x = convolution(3, 5, bias), images(2, 3, *sides).requires_grad_()
    found, wanted = short(conv, x), plain(conv, x)
    torch.testing.assert_close(found, wanted)
    weight = images(*wanted.shape)
    by = [x, *conv.parameters()]
    for a, b in zip(
        torch.autograd.grad((found * weight).sum(), by),
        torch.autograd.grad((wanted * weight).sum(), by),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("short", [doubled, halved])
def test_second_derivatives_are_right(short) -> None:
    """R1 and the path length penalty go through gradients of gradients."""
    conv, x = convolution(2, 2), images(1, 2, 4, 4).requires_grad_()
    assert torch.autograd.gradgradcheck(lambda x: short(conv, x).tanh(), x)


def test_an_up_block_is_its_layers_one_after_the_other() -> None:
    norm = lambda channels: ConditionalBatchNorm(channels, None)  # noqa: E731
    block = UpBlock(4, 6, norm, lambda layer: layer).double()
    x = images(3, 4, 4, 4)
    h = block.conv1(double(relu(block.norm1(x, None))))
    wanted = block.conv2(relu(block.norm2(h, None))) + double(block.skip(x))
    torch.testing.assert_close(block(x, None), wanted)


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("down", [True, False])
def test_a_down_block_is_its_layers_one_after_the_other(down: bool, first: bool) -> None:
    block = DownBlock(4, 6, down=down, first=first, finish=spectral_norm).double().eval()
    x = images(3, 4, 8, 8)
    h, pool = x if first else relu(x), (lambda x: avg_pool2d(x, 2)) if down else lambda x: x
    wanted = pool(block.conv2(relu(block.conv1(h)))) + pool(block.skip(x))
    torch.testing.assert_close(block(x), wanted)


def test_spectral_norm_learns_its_vectors_from_the_short_way_too() -> None:
    conv = spectral_norm(convolution(3, 3))
    vectors = conv.parametrizations.weight[0]
    before = vectors._u.clone()
    halved(conv.train(), images(1, 3, 4, 4))
    assert not torch.equal(before, vectors._u)
