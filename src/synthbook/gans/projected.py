"""The projected pair: a discriminator that sees features of a frozen network (Sauer et al. 2021).

The frozen network is EfficientNet-Lite0 with ImageNet weights, as in the public code. Its maps at
four scales are mixed by fixed random convolutions, across channels (CCM, 1 x 1) and from coarse to
fine (CSM, 3 x 3), and each scale has a small discriminator of its own. One more sees the pixels:
the frozen network is all but blind to colour, and without it samples are pale. The generator is
the residual one, with batch norm by class.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from itertools import chain
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate
from torch.nn.utils.fusion import fuse_conv_bn_weights

from synthbook.gans.blocks import Condition, embedding, initialised
from synthbook.gans.resnet import Generator, ResnetConfig
from synthbook.settings import Side, Width, settings
from synthbook.weights import MEAN, STD, efficientnet_lite0

__all__ = ["Discriminator", "Generator", "ProjectedConfig", "Projector"]
STAGES = (1, 2, 4, 6)  # blocks of EfficientNet after which a map is taken: strides 4, 8, 16, 32
MIXED = (32, 64, 128, 256)  # channels of the mixed maps


@settings
class ProjectedConfig(ResnetConfig):
    """Settings of the projected pair.

    ``feature_size``: pixels to which images are enlarged for the frozen network. ``head_width``:
    the widest map of a discriminator.
    """

    architecture: ClassVar[str] = "projected"
    channels_last: ClassVar[bool] = True

    channels: Width = 40
    latent: Width = 64
    feature_size: Side = 64
    head_width: Width = 128


def conv(channels: int, wanted: int, size: int) -> nn.Conv2d:
    """Return a convolution that keeps height and width."""
    return nn.Conv2d(channels, wanted, size, padding=size // 2)


def folded(network: nn.Module) -> nn.Module:
    """Return EfficientNet, in evaluation mode, with its batch norms folded into its convolutions.

    Half of its time on a processor went into the norms.
    """

    def fold(block: nn.Module, convolution: str, norm: str) -> None:
        layer, bn = getattr(block, convolution), getattr(block, norm)
        statistics = (bn.running_mean, bn.running_var, bn.eps, bn.weight, bn.bias)
        layer.weight, layer.bias = fuse_conv_bn_weights(layer.weight, layer.bias, *statistics)
        setattr(block, norm, bn.act)
        if layer.groups > 1 and layer.stride[0] > 1:
            setattr(block, convolution, Exact(layer))

    fold(network, "conv_stem", "bn1")
    for block in chain.from_iterable(network.blocks):
        if hasattr(block, "conv_pwl"):
            fold(block, "conv_pw", "bn1")
            fold(block, "conv_dw", "bn2")
            fold(block, "conv_pwl", "bn3")
        else:  # the first block
            fold(block, "conv_dw", "bn1")
            fold(block, "conv_pw", "bn2")
    return network


class Exact(nn.Module):
    """A layer in float32 also under autocast.

    On a processor a depthwise convolution with strides has no fast gradient in bfloat16: the three
    of EfficientNet took half of a training step.
    """

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return self.layer(x.float())


class Projector(nn.Module):
    """Images in -1..1 to four maps [N, C_k, H_k, W_k], fine to coarse; nothing in it is trained."""

    def __init__(self, image_channels: int, size: int) -> None:
        super().__init__()
        self.size = size
        self.network = folded(efficientnet_lite0(0, image_channels))
        with torch.no_grad():
            maps = self.maps(torch.zeros(1, image_channels, size, size))
        widths = [h.shape[1] for h in maps]
        self.across_channels = nn.ModuleList(map(conv, widths, MIXED, [1] * len(MIXED)))
        finer = (MIXED[0], *MIXED)
        self.across_scales = nn.ModuleList(map(conv, MIXED[1:], finer[1:], [3] * len(MIXED)))
        for layer in (*self.across_channels, *self.across_scales):
            nn.init.kaiming_normal_(layer.weight)
            nn.init.zeros_(layer.bias)
        self.shapes = [(width, h.shape[-1]) for width, h in zip(MIXED, maps, strict=True)]

    def train(self, mode: bool = True) -> Projector:
        """Stay in evaluation mode."""
        return super().train(False)

    def maps(self, x: Tensor) -> list[Tensor]:
        """Return the network's maps of normalised images."""
        h, maps = self.network.bn1(self.network.conv_stem(x)), []
        for k, block in enumerate(self.network.blocks):
            h = block(h)
            if k in STAGES:
                maps.append(h)
        return maps

    def forward(self, images: Tensor) -> list[Tensor]:
        x = interpolate(images, size=self.size, mode="bilinear", align_corners=False)
        maps = self.maps(((x + 1) / 2 - MEAN) / STD)
        mixed = [layer(h) for layer, h in zip(self.across_channels, maps, strict=True)]
        for k in reversed(range(len(mixed) - 1)):
            coarser = self.across_scales[k](mixed[k + 1])
            mixed[k] = mixed[k] + interpolate(coarser, size=mixed[k].shape[2:], mode="bilinear")
        return mixed


class Head(nn.Module):
    """The discriminator of one scale: logits [N, L], one a position of its last map."""

    def __init__(self, config: ProjectedConfig, channels: int, side: int) -> None:
        super().__init__()
        finish = partial(initialised, init="orthogonal", spectral=True)
        width = min(64, config.head_width)
        layers = [finish(conv(channels, width, 1)), nn.LeakyReLU(0.2)]
        while side > 4:
            wider = min(2 * width, config.head_width)
            layers += [finish(nn.Conv2d(width, wider, 4, 2, 1)), nn.LeakyReLU(0.2)]
            width, side = wider, side // 2
        layers += [finish(conv(width, width, 3)), nn.LeakyReLU(0.2)]
        self.body = nn.Sequential(*layers)
        self.logit = finish(conv(width, 1, 1))
        self.embed = embedding(config, width)
        if self.embed is not None:
            nn.init.normal_(self.embed.weight, std=0.05)

    def forward(self, x: Tensor, condition: Condition) -> Tensor:
        h = self.body(x)
        logits = self.logit(h).squeeze(1)
        if self.embed is not None:  # the projection of Miyato & Koyama (2018), at every position
            vectors = self.embed(condition)[:, :, None, None]
            logits = logits + (h * vectors).sum(1) / math.sqrt(h.shape[1])
        return logits.flatten(1)


class Discriminator(nn.Module):
    """Logits [N, L] of images in -1..1: the positions of the pixels and of all scales."""

    def __init__(self, config: ProjectedConfig) -> None:
        super().__init__()
        self.config = config
        self.projector = Projector(config.image_channels, config.feature_size)
        shapes = [(config.image_channels, config.image_size), *self.projector.shapes]
        self.heads = nn.ModuleList(Head(config, *shape) for shape in shapes)

    @property
    def fixed(self) -> Sequence[nn.Module]:
        """What training leaves as it is."""
        return [self.projector]

    def stages(self) -> list[list[nn.Module]]:
        """Return what FreezeD freezes: the heads, from that of pixels to the coarsest."""
        return [[head] for head in self.heads]

    def features(self, images: Tensor) -> Tensor:
        """Return the means over positions of the mixed maps, [N, D]."""
        return torch.cat([h.mean((2, 3)) for h in self.projector(images)], 1)

    def forward(self, images: Tensor, condition: Condition = None) -> Tensor:
        maps = [images, *self.projector(images)]
        return torch.cat([head(h, condition) for head, h in zip(self.heads, maps, strict=True)], 1)
