"""SNGAN (Miyato et al. 2018) and BigGAN (Brock et al. 2019): one residual family.

Conditioning works through batch normalisation in the generator and through the projection in the
discriminator. The two architectures are two sets of defaults, and every part has a switch.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import relu
from torch.nn.utils.parametrizations import spectral_norm

from synthbook.errors import InputError
from synthbook.gans.blocks import (
    BOTTOM,
    Finish,
    Layer,
    NetworkConfig,
    ProjectionDiscriminator,
    SelfAttention,
    UpBlock,
    conv,
    embedding,
    widths,
    xavier,
    zero_bias,
)
from synthbook.settings import Latent, Whole, Width, settings


def orthogonal(layer: Layer) -> Layer:
    """Set orthogonal weights and zero biases (Brock et al. 2019); return the layer."""
    nn.init.orthogonal_(layer.weight)
    return zero_bias(layer)


def normal(layer: Layer) -> Layer:
    """Set weights from N(0, 0.02^2) and zero biases, as BigGAN's public code does for CIFAR."""
    nn.init.normal_(layer.weight, std=0.02)
    return zero_bias(layer)


Init = Literal["xavier", "orthogonal", "normal"]
INITS = {"xavier": xavier, "orthogonal": orthogonal, "normal": normal}


@settings
class SNGANConfig(NetworkConfig):
    """SNGAN; the defaults are the 32-pixel networks (Miyato et al. 2018, Table 4).

    Up to 32 pixels all maps are equally wide, above a map of half the size is twice as wide, up
    to 16 times; 128 pixels take ``channels`` = ``discriminator_channels`` = 64 (Table 6).

    Args:
        embedding: length of the vector that a label or condition becomes in the generator.
        hierarchical: each block takes a part of z of its own (BigGAN, Appendix B), and ``latent``
            is a multiple of the number of blocks + 1.
        attention: image size at which both networks have self-attention; 0 for none.
        spectral_generator: spectral norm in the generator too.
        init: first weights: "xavier", "orthogonal" or "normal".
    """

    architecture: ClassVar[str] = "sngan"

    channels: Width = 256
    discriminator_channels: Width = 128
    embedding: Latent = 128
    hierarchical: bool = False
    attention: Whole = 0
    spectral_generator: bool = False
    init: Init = "xavier"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.attention and self.attention not in _sizes(self.image_size)[1:-1]:
            inside = ", ".join(str(size) for size in _sizes(self.image_size)[1:-1])
            raise InputError(
                f"attention at {self.attention} pixels is not possible for images of "
                f"{self.image_size}; give 0 for none{f', {inside}' if inside else ''}"
            )
        parts = len(_sizes(self.image_size))
        if self.hierarchical and self.latent % parts:
            raise InputError(
                f"latent {self.latent} cannot be cut into {parts} equal parts for the blocks; "
                f"give a multiple of {parts}, or hierarchical False"
            )

    def widths(self, channels: int) -> list[int]:
        """Return the widths at 4, 8, ..., ``image_size`` pixels."""
        return widths(channels, self.image_size, 1 if self.image_size <= 32 else 16)


@settings
class BigGANConfig(SNGANConfig):
    """BigGAN; the defaults are the 32-pixel networks.

    128 pixels (Brock et al. 2019, Table 4) take ``channels`` = ``discriminator_channels`` = 96,
    ``latent`` = 120 and ``attention`` = 64.
    """

    architecture: ClassVar[str] = "biggan"

    discriminator_channels: Width = 256
    hierarchical: bool = True
    spectral_generator: bool = True
    init: Init = "orthogonal"


def _sizes(image_size: int) -> list[int]:
    """Return 4, 8, ..., ``image_size``."""
    return [BOTTOM * 2**k for k in range((image_size // BOTTOM).bit_length())]


def _finish(init: str, spectral: bool) -> Finish:
    return (lambda layer: spectral_norm(INITS[init](layer))) if spectral else INITS[init]


class Generator(nn.Module):
    """Images in -1..1 from latents [N, latent] and a condition (labels, vectors or None)."""

    def __init__(self, config: SNGANConfig) -> None:
        super().__init__()
        self.config = config
        finish = _finish(config.init, config.spectral_generator)
        width, sizes = config.widths(config.channels), _sizes(config.image_size)
        self.part = config.latent // len(sizes) if config.hierarchical else config.latent
        self.embed = embedding(config, config.embedding)
        vector = (config.embedding if self.embed is not None else 0) + (
            self.part if config.hierarchical else 0
        )
        self.first = finish(nn.Linear(self.part, width[0] * BOTTOM**2))
        self.blocks = nn.ModuleList(UpBlock(a, b, vector, finish) for a, b in pairwise(width))
        self.attention_at = config.attention
        at = sizes.index(config.attention) if config.attention else 0
        self.attention = SelfAttention(width[at], finish) if at else None
        self.norm = nn.BatchNorm2d(width[-1])
        self.last = finish(conv(width[-1], config.image_channels, 3))

    def vectors(self, latents: Tensor, condition: Tensor | None) -> list[Tensor | None]:
        """Return what conditions each block: embedded condition and part of z, or None."""
        embedded = [] if self.embed is None else [self.embed(condition)]
        if not self.config.hierarchical:
            return [embedded[0] if embedded else None] * len(self.blocks)
        parts = latents.split(self.part, dim=1)[1:]
        return [torch.cat([*embedded, part], dim=1) for part in parts]

    def forward(
        self,
        latents: Tensor,
        condition: Tensor | None = None,
        draw: torch.Generator | None = None,
    ) -> Tensor:
        """Return images [N, C, H, W] in -1..1; the network draws nothing of its own."""
        return self.decode(latents[:, : self.part], self.vectors(latents, condition))

    def decode(self, latents: Tensor, vectors: Sequence[Tensor | None]) -> Tensor:
        """Return images from the first part of z and one vector a block."""
        h = self.first(latents).unflatten(1, (-1, BOTTOM, BOTTOM))
        for block, vector in zip(self.blocks, vectors, strict=True):
            h = block(h, vector)
            if self.attention is not None and h.shape[2] == self.attention_at:
                h = self.attention(h)
        return torch.tanh(self.last(relu(self.norm(h))))


class Discriminator(ProjectionDiscriminator):
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
        finish = _finish(config.init, spectral=True)
        super().__init__(config, width, down, finish=finish, attention=config.attention)
