"""Layers of StyleGAN2 (Karras et al. 2020): equalised rates, modulation, and the [1, 3, 3, 1] FIR.

Plain PyTorch: the style scales the input and the demodulation the output of one shared
convolution, which equals a convolution with weights of each image's own (Eqs. 1 and 3).
"""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, conv_transpose2d, leaky_relu, linear


def activation(x: Tensor) -> Tensor:
    """Return leaky ReLU of slope 0.2, times sqrt 2 so that a unit variance stays near one."""
    return leaky_relu(x, 0.2) * math.sqrt(2)


def unit(x: Tensor) -> Tensor:
    """Scale each row of [N, D] to a mean square of one (Karras et al. 2018, Sec. 4.2)."""
    return x * (x.square().mean(1, keepdim=True) + 1e-8).rsqrt()


def fir(channels: int, like: Tensor) -> Tensor:
    """Return the separable filter [1, 3, 3, 1] of sum one, one copy a channel [C, 1, 4, 4]."""
    return _fir(like.dtype, like.device).expand(channels, 1, 4, 4)


@cache
def _fir(dtype: torch.dtype, device: torch.device) -> Tensor:
    # Kept, because to send it to a GPU makes that wait; a plain tensor, whoever asks first.
    with torch.inference_mode(False):
        taps = torch.tensor([1.0, 3.0, 3.0, 1.0], dtype=dtype, device=device) / 8
        return torch.outer(taps, taps)


def blur(x: Tensor, padding: int, stride: int = 1) -> Tensor:
    """Filter [N, C, H, W] with the FIR, zeros around; then keep every ``stride``-th pixel."""
    channels = x.shape[1]
    return conv2d(x, fir(channels, x), padding=padding, stride=stride, groups=channels)


def upsample(x: Tensor) -> Tensor:
    """Double the size by zeros in between and the FIR: [N, C, H, W] -> [N, C, 2H, 2W]."""
    channels = x.shape[1]
    with torch.autocast(x.device.type, enabled=False):  # images are added up in full precision
        return conv_transpose2d(x, fir(channels, x) * 4, stride=2, padding=1, groups=channels)


class EqualLinear(nn.Module):
    """Linear layer with an equalised learning rate (Karras et al. 2018, Sec. 4.1).

    The stored weights are of variance 1 (over ``rate`` squared) and are scaled by
    ``rate`` / sqrt(inputs) on use, so that Adam moves all layers at the same relative speed.
    """

    def __init__(self, inputs: int, outputs: int, *, bias: float = 0.0, rate: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / rate)
        self.bias = nn.Parameter(torch.full((outputs,), bias / rate))
        self.scale, self.rate = rate / math.sqrt(inputs), rate

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.weight * self.scale, self.bias * self.rate)


class EqualConv(nn.Module):
    """Convolution with an equalised rate; with ``down`` it filters and halves the size."""

    def __init__(
        self, inputs: int, outputs: int, size: int, *, down: bool = False, bias: bool = True
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, size, size))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None
        self.scale, self.size, self.down = 1 / math.sqrt(inputs * size**2), size, down

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight * self.scale
        if not self.down:
            return conv2d(x, weight, self.bias, padding=self.size // 2)
        if self.size == 1:  # a 1 x 1 convolution needs only the pixels that stay
            return conv2d(blur(x, 1, stride=2), weight, self.bias)
        return conv2d(blur(x, self.size // 2 + 1), weight, self.bias, stride=2)


class ModulatedConv(nn.Module):
    """Convolution whose input channels are scaled by a style (Karras et al. 2020, Eqs. 1 and 3).

    With ``up`` the size is doubled and the FIR applied.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        size: int,
        style: int,
        *,
        up: bool = False,
        demodulate: bool = True,
    ) -> None:
        super().__init__()
        self.style = EqualLinear(style, inputs, bias=1.0)
        self.weight = nn.Parameter(torch.randn(outputs, inputs, size, size))
        self.scale, self.size = 1 / math.sqrt(inputs * size**2), size
        self.up, self.demodulate = up, demodulate

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """Return [N, out, H, W], twice as large with ``up``, of x [N, in, H, W], style [N, D]."""
        scale, weight = self.style(style), self.weight * self.scale
        x = x * scale[:, :, None, None].to(x.dtype)
        if self.up:
            # Zeros in between, convolve, filter; the FIR's gain makes up for the zeros.
            x = blur(conv_transpose2d(x, 4 * weight.transpose(0, 1), stride=2), padding=1)
        else:
            x = conv2d(x, weight, padding=self.size // 2)
        if not self.demodulate:
            return x
        norm = (linear(scale.square(), weight.square().sum((2, 3))) + 1e-8).rsqrt()
        return x * norm[:, :, None, None].to(x.dtype)
