"""SNGAN (Miyato et al. 2018) and BigGAN (Brock et al. 2019): one residual family.

Conditioning works through batch normalisation in the generator and through the projection in the
discriminator. The architectures are sets of defaults, and every part has a switch.
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
        widest: the widest map is so many times as wide as that of full size, and the networks are
            built as those above 32 pixels; 0 for the published ones.
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
    self_modulation: ClassVar[bool] = False  # gains and biases take z too

    channels: Width = 256
    discriminator_channels: Width = 128
    widest: Whole = 0
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
        if self.self_modulation and (self.hierarchical or not self.shared):
            raise InputError(
                f"'{self.architecture}' gives all of z to each block; leave hierarchical False and "
                "shared True"
            )

    def widths(self, channels: int) -> list[int]:
        """Return the widths at 4, 8, ..., ``image_size`` pixels."""
        published = 1 if self.image_size <= 32 else 16
        return blocks.widths(channels, self.image_size, self.widest or published)


@settings
class SelfModulatedConfig(SNGANConfig):
    """SNGAN with self-modulation (Chen et al. 2019, "On self modulation", Eqs. 2 and 3).

    Gain and bias of each batch norm come from z, and the embedded condition where there is one,
    through a hidden layer of ``MODULATION`` units with ReLU.
    """

    architecture: ClassVar[str] = "sngan_self_modulated"
    self_modulation: ClassVar[bool] = True


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


MODULATION = 32
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
        vector = self.part if config.hierarchical or config.self_modulation else 0
        vector += 0 if self.embed is None else config.embedding

        def gains(channels: int) -> nn.Module:
            if config.self_modulation:
                layers = nn.Linear(vector, MODULATION), nn.Linear(MODULATION, channels, bias=False)
                return nn.Sequential(finish(layers[0]), nn.ReLU(), finish(layers[1]))
            return finish(nn.Linear(vector, channels, bias=False)) if vector else own(channels)

        plain = not (vector or config.num_classes or config.condition_size)
        norm = partial(blocks.ConditionalBatchNorm, layer=None if plain else gains)
        self.first = finish(nn.Linear(self.part, width[0] * BOTTOM**2))
        self.blocks = nn.ModuleList(blocks.UpBlock(a, b, norm, finish) for a, b in pairwise(width))
        at = config.attention and sizes(config.image_size).index(config.attention)
        self.attention = blocks.SelfAttention(width[at], finish) if at else None
        self.norm = nn.BatchNorm2d(width[-1])
        self.last = finish(nn.Conv2d(width[-1], config.image_channels, 3, padding=1))

    @property
    def num_blocks(self) -> int:
        """How many vectors an image may take, one a block."""
        return len(self.blocks)

    def from_embedding(
        self, latents: Tensor, embedded: Condition = None, draw: Draw = None
    ) -> Tensor:
        """Return images of vectors that G_emb (``embed``) gave, or that lie among them.

        ``embedded`` is [N, embedding], or [N, num_blocks, embedding] with a vector a block.
        Without ``embed`` it is the condition itself; where self-modulation is the only condition,
        it is what each block takes in the place of z, [N, num_blocks, latent].
        """
        first, *parts = latents.split(self.part, dim=1)
        if self.config.self_modulation:
            parts = [latents] * len(self.blocks)
            if self.embed is None and embedded is not None:
                parts, embedded = embedded.unbind(1), None
        h = self.first(first).unflatten(1, (-1, BOTTOM, BOTTOM))
        for k, block in enumerate(self.blocks):
            apart = embedded is not None and embedded.dim() == 3
            vector = embedded[:, k] if apart else embedded
            if parts:
                vector = parts[k] if vector is None else torch.cat([vector, parts[k]], dim=1)
            h = block(h, vector)
            if self.attention is not None and h.shape[2] == self.config.attention:
                h = self.attention(h)
        return torch.tanh(self.last(relu(self.norm(h))))

    def forward(self, latents: Tensor, condition: Condition = None, draw: Draw = None) -> Tensor:
        """Return images [N, C, H, W] in -1..1; the network draws nothing of its own."""
        embedded = condition if self.embed is None else self.embed(condition)
        return self.from_embedding(latents, embedded, draw)


class Discriminator(blocks.ProjectionDiscriminator):
    """Projection discriminator with spectral norm.

    Up to 32 pixels: four blocks, of which the first two halve the size as long as it is above 4.
    Above: a block a size down to 4 pixels and one more that keeps it.
    """

    def __init__(self, config: SNGANConfig) -> None:
        width = config.widths(config.discriminator_channels)[::-1]
        down = [True] * (len(width) - 1) + [False]
        if config.image_size <= 32 and not config.widest:
            width = [config.discriminator_channels] * 4
            down = [k < 2 and config.image_size >> k > BOTTOM for k in range(4)]
        super().__init__(config, width, down, init=config.init, attention=config.attention)
