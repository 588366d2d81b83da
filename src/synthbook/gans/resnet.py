"""The small class-conditional residual pair (Miyato et al. 2018; Miyato & Koyama 2018)."""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from synthbook.errors import InputError
from synthbook.gans import blocks
from synthbook.gans.blocks import BOTTOM, Draw, NetworkConfig, initialised
from synthbook.settings import Latent, Whole, Width, settings


@settings
class ResnetConfig(NetworkConfig):
    """Settings of the small pair; it takes labels, and a map is at most 4 x ``channels`` wide."""

    architecture: ClassVar[str] = "resnet"
    channels_last: ClassVar[bool] = False  # another order of sums would change results bit by bit

    num_classes: Whole = 10
    channels: Width = 16
    latent: Latent = 32

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.num_classes:
            raise InputError("a 'resnet' GAN needs num_classes above 0; take 'sngan' without")


class ClassBatchNorm(nn.Module):
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


class Generator(nn.Module):
    """Images in -1..1 from latents [N, latent] and labels [N]."""

    def __init__(self, config: ResnetConfig) -> None:
        super().__init__()
        self.config = config
        width = blocks.widths(config.channels, config.image_size)
        norm = partial(ClassBatchNorm, num_classes=config.num_classes)
        self.first = initialised(nn.Linear(config.latent, width[0] * BOTTOM**2))
        self.blocks = nn.ModuleList(
            blocks.UpBlock(a, b, norm, initialised) for a, b in pairwise(width)
        )
        self.norm = nn.BatchNorm2d(width[-1])
        self.last = initialised(nn.Conv2d(width[-1], config.image_channels, 3, padding=1))

    def forward(self, latents: Tensor, labels: Tensor, draw: Draw = None) -> Tensor:
        """Return images [N, C, H, W] in -1..1; the network draws nothing of its own."""
        h = self.first(latents).unflatten(1, (-1, BOTTOM, BOTTOM))
        for block in self.blocks:
            h = block(h, labels)
        return torch.tanh(self.last(relu(self.norm(h))))


class Discriminator(blocks.ProjectionDiscriminator):
    """Projection discriminator; each block halves the size, down to 4 pixels, the last one not."""

    def __init__(self, config: ResnetConfig) -> None:
        width = blocks.widths(config.channels, config.image_size)[::-1]
        super().__init__(config, width, [True] * (len(width) - 1) + [False])
