"""Class-conditional residual networks for GANs (Miyato et al. 2018; Miyato & Koyama 2018)."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate, relu
from torch.nn.utils.parametrizations import spectral_norm

from synthbook.errors import InputError

Layer = TypeVar("Layer", nn.Conv2d, nn.Linear)
SMALLEST, LARGEST, BOTTOM = 8, 128, 4  # pixels; BOTTOM is the first feature map of a generator


def widths(channels: int, image_size: int, widest: int = 4) -> list[int]:
    """Return the widths of the feature maps at 4, 8, ..., ``image_size`` pixels.

    A map of half the size is twice as wide, up to ``widest`` times ``channels``.

    Raises:
        InputError: if the size is not a power of two in 8..128.
    """
    if not SMALLEST <= image_size <= LARGEST or image_size & (image_size - 1):
        raise InputError(
            f"image size {image_size} is not possible for this GAN; resize the images to "
            "8, 16, 32, 64 or 128 pixels"
        )
    sizes = [BOTTOM * 2**k for k in range((image_size // BOTTOM).bit_length())]
    return [channels * min(image_size // size, widest) for size in sizes]


def conv(in_channels: int, out_channels: int, size: int) -> nn.Conv2d:
    """Return a convolution that keeps the image size, with the usual weights for GANs."""
    return xavier(nn.Conv2d(in_channels, out_channels, size, padding=size // 2))


def xavier(layer: Layer) -> Layer:
    """Set Xavier-uniform weights and zero biases (Miyato et al. 2018); return the layer."""
    nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


class ConditionalBatchNorm(nn.Module):
    """Batch normalisation with a gain and a bias a class (Dumoulin et al. 2017)."""

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=False)
        self.gain = nn.Embedding.from_pretrained(torch.ones(num_classes, channels), freeze=False)
        self.bias = nn.Embedding.from_pretrained(torch.zeros(num_classes, channels), freeze=False)

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        """Normalise ``x`` [N, C, H, W] with the gain and bias of ``labels`` [N]."""
        gain, bias = self.gain(labels), self.bias(labels)
        return self.norm(x) * gain[:, :, None, None] + bias[:, :, None, None]


class UpBlock(nn.Module):
    """Residual block that doubles the size: [N, in, H, W] -> [N, out, 2H, 2W]."""

    def __init__(self, in_channels: int, out_channels: int, num_classes: int) -> None:
        super().__init__()
        self.norm1 = ConditionalBatchNorm(in_channels, num_classes)
        self.conv1 = conv(in_channels, out_channels, 3)
        self.norm2 = ConditionalBatchNorm(out_channels, num_classes)
        self.conv2 = conv(out_channels, out_channels, 3)
        self.skip = conv(in_channels, out_channels, 1)

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        h = interpolate(relu(self.norm1(x, labels)), scale_factor=2)
        h = self.conv2(relu(self.norm2(self.conv1(h), labels)))
        return h + interpolate(self.skip(x), scale_factor=2)  # 1 x 1: cheaper before than after


class Generator(nn.Module):
    """Images in -1..1 from latents [N, latent] and labels [N].

    ``config`` holds the arguments, so that ``Generator(**config)`` is the same network.
    """

    def __init__(
        self, *, image_size: int, image_channels: int, num_classes: int, channels: int, latent: int
    ) -> None:
        super().__init__()
        self.config: dict[str, Any] = {
            "image_size": image_size,
            "image_channels": image_channels,
            "num_classes": num_classes,
            "channels": channels,
            "latent": latent,
        }
        width = widths(channels, image_size)
        self.first = xavier(nn.Linear(latent, width[0] * BOTTOM**2))
        self.blocks = nn.ModuleList(UpBlock(a, b, num_classes) for a, b in pairwise(width))
        self.norm = nn.BatchNorm2d(width[-1])
        self.last = conv(width[-1], image_channels, 3)

    def forward(self, latents: Tensor, labels: Tensor) -> Tensor:
        """Return images [N, C, H, W] in -1..1."""
        h = self.first(latents).unflatten(1, (-1, BOTTOM, BOTTOM))
        for block in self.blocks:
            h = block(h, labels)
        return torch.tanh(self.last(relu(self.norm(h))))


class DownBlock(nn.Module):
    """Residual block with spectral norm: [N, in, H, W] -> [N, out, H/2, W/2] if ``down``."""

    def __init__(
        self, in_channels: int, out_channels: int, *, down: bool, first: bool = False
    ) -> None:
        super().__init__()
        self.down, self.first = down, first
        self.conv1 = spectral_norm(conv(in_channels, out_channels, 3))
        self.conv2 = spectral_norm(conv(out_channels, out_channels, 3))
        plain = in_channels == out_channels and not down
        self.skip = None if plain else spectral_norm(conv(in_channels, out_channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv2(relu(self.conv1(x if self.first else relu(x))))
        x = avg_pool2d(x, 2) if self.down else x  # before the 1 x 1 convolution: they commute
        return (avg_pool2d(h, 2) if self.down else h) + (self.skip(x) if self.skip else x)


class Discriminator(nn.Module):
    """Projection discriminator (Miyato & Koyama 2018, Eq. 4): logit = psi(h) + <embed(y), h>.

    h is the sum over positions of the last feature map; all layers have spectral norm.
    """

    def __init__(
        self, *, image_size: int, image_channels: int, num_classes: int, channels: int
    ) -> None:
        super().__init__()
        width = [image_channels, *widths(channels, image_size)[::-1]]
        # From the image down to 4 x 4, each block halving; the last one keeps the size.
        self.blocks = nn.ModuleList(
            DownBlock(a, b, down=k < len(width) - 2, first=k == 0)
            for k, (a, b) in enumerate(pairwise(width))
        )
        self.psi = spectral_norm(xavier(nn.Linear(width[-1], 1)))
        self.embed = spectral_norm(nn.Embedding(num_classes, width[-1]))

    def features(self, images: Tensor) -> Tensor:
        """Return h [N, D] of images [N, C, H, W] in -1..1."""
        for block in self.blocks:
            images = block(images)
        return relu(images).sum(dim=(2, 3))

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        """Return logits [N] of images in -1..1 as images of ``labels``."""
        h = self.features(images)
        return self.psi(h).squeeze(1) + (self.embed(labels) * h).sum(1)


ARCHITECTURES = {"resnet": (Generator, Discriminator)}
