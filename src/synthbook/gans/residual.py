"""SNGAN (Miyato et al. 2018) and BigGAN (Brock et al. 2019): one residual family.

Conditioning works through batch normalisation in the generator and through the projection in the
discriminator. The two architectures are two sets of defaults, and every part has a switch.
"""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from synthbook.errors import InputError
from synthbook.gans import blocks
from synthbook.gans.blocks import BOTTOM, Condition, Draw, NetworkConfig, sizes
from synthbook.settings import Latent, Whole, Width, settings


@settings
class SNGANConfig(NetworkConfig):
    """SNGAN; the defaults are the 32-pixel networks (Miyato et al. 2018, Table 4).

    Up to 32 pixels all maps are equally wide, above a map of half the size is twice as wide, up
    to 16 times; 128 pixels take ``channels`` = ``discriminator_channels`` = 64 (Table 6).

    Args:
        embedding: length of the vector that a label or condition becomes in the generator.
        shared: all blocks take gains and biases from one embedding; else each normalisation has
            a gain and a bias a class of its own.
        hierarchical: each block takes a part of z of its own (BigGAN, Appendix B), and ``latent``
            is a multiple of the number of blocks + 1. With a shared embedding only.
        attention: image size at which both networks have self-attention; 0 for none.
        spectral_generator: spectral norm in the generator too.
        init: first weights, of ``blocks.INITS``.
    """

    architecture: ClassVar[str] = "sngan"

    channels: Width = 256
    discriminator_channels: Width = 128
    embedding: Latent = 128
    shared: bool = True
    hierarchical: bool = False
    attention: Whole = 0
    spectral_generator: bool = False
    init: Literal["xavier", "orthogonal", "normal"] = "xavier"

    def __post_init__(self) -> None:
        super().__post_init__()
        inside, parts = sizes(self.image_size)[1:-1], len(sizes(self.image_size))
        if self.attention and self.attention not in inside:
            raise InputError(
                f"attention at {self.attention} pixels is not possible for images of "
                f"{self.image_size}; give one of {', '.join(map(str, [0, *inside]))} (0: none)"
            )
        if self.hierarchical and self.latent % parts:
            raise InputError(
                f"latent {self.latent} cannot be cut into {parts} equal parts for the blocks; "
                f"give a multiple of {parts}, or hierarchical False"
            )
        if self.hierarchical and not self.shared:
            raise InputError("hierarchical True needs shared True; give both, or neither")

    def widths(self, channels: int) -> list[int]:
        """Return the widths at 4, 8, ..., ``image_size`` pixels."""
        return blocks.widths(channels, self.image_size, 1 if self.image_size <= 32 else 16)


@settings
class BigGANConfig(SNGANConfig):
    """BigGAN; the defaults are the 32-pixel networks.

    128 pixels (Brock et al. 2019, Table 4) take ``channels`` = ``discriminator_channels`` = 96,
    ``latent`` = 120 and ``attention`` = 64. What the public code trains on CIFAR has none of the
    three novelties: ``**CIFAR``.
    """

    architecture: ClassVar[str] = "biggan"

    discriminator_channels: Width = 256
    hierarchical: bool = True
    spectral_generator: bool = True
    init: Literal["xavier", "orthogonal", "normal"] = "orthogonal"


CIFAR = {"shared": False, "hierarchical": False, "init": "normal"}


class Generator(nn.Module):
    """Images in -1..1 from latents [N, latent] and a condition (labels, vectors or None)."""

    def __init__(self, config: SNGANConfig) -> None:
        super().__init__()
        self.config = config
        spectral = config.spectral_generator
        finish = partial(blocks.initialised, init=config.init, spectral=spectral)
        own = partial(blocks.embedding, config, init=config.init)
        width = config.widths(config.channels)
        self.part = config.latent // len(width) if config.hierarchical else config.latent
        self.embed = own(config.embedding) if config.shared else None
        vector = self.part if config.hierarchical else 0
        vector += 0 if self.embed is None else config.embedding

        def gains(channels: int) -> nn.Module:
            return finish(nn.Linear(vector, channels, bias=False)) if vector else own(channels)

        plain = not (vector or config.num_classes or config.condition_size)
        norm = partial(blocks.ConditionalBatchNorm, layer=None if plain else gains)
        self.first = finish(nn.Linear(self.part, width[0] * BOTTOM**2))
        self.blocks = nn.ModuleList(blocks.UpBlock(a, b, norm, finish) for a, b in pairwise(width))
        at = config.attention and sizes(config.image_size).index(config.attention)
        self.attention = blocks.SelfAttention(width[at], finish) if at else None
        self.norm = nn.BatchNorm2d(width[-1])
        self.last = finish(nn.Conv2d(width[-1], config.image_channels, 3, padding=1))

    def forward(self, latents: Tensor, condition: Condition = None, draw: Draw = None) -> Tensor:
        """Return images [N, C, H, W] in -1..1; the network draws nothing of its own."""
        first, *parts = latents.split(self.part, dim=1)
        vector = condition if self.embed is None else self.embed(condition)
        h = self.first(first).unflatten(1, (-1, BOTTOM, BOTTOM))
        for k, block in enumerate(self.blocks):
            if self.config.hierarchical:
                h = block(h, parts[k] if vector is None else torch.cat([vector, parts[k]], dim=1))
            else:
                h = block(h, vector)
            if self.attention is not None and h.shape[2] == self.config.attention:
                h = self.attention(h)
        return torch.tanh(self.last(relu(self.norm(h))))


class Discriminator(blocks.ProjectionDiscriminator):
    """Projection discriminator with spectral norm.

    Up to 32 pixels: four blocks, of which the first two halve the size as long as it is above 4.
    Above: a block a size down to 4 pixels and one more that keeps it.
    """

    def __init__(self, config: SNGANConfig) -> None:
        width = config.widths(config.discriminator_channels)[::-1]
        down = [True] * (len(width) - 1) + [False]
        if config.image_size <= 32:
            width = [config.discriminator_channels] * 4
            down = [k < 2 and config.image_size >> k > BOTTOM for k in range(4)]
        super().__init__(config, width, down, init=config.init, attention=config.attention)
