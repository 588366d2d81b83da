"""What the GAN architectures share: their settings, residual blocks and the projection."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain, pairwise
from typing import ClassVar, Literal, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, conv2d, conv_transpose2d, relu
from torch.nn.utils.parametrizations import spectral_norm

from synthbook.errors import InputError
from synthbook.settings import Latent, Whole, Width, settings

Layer = TypeVar("Layer", bound=nn.Module)
Finish = Callable[[nn.Module], nn.Module]  # sets the first weights of a layer, and wraps it
Condition = Tensor | None  # labels int64 [N] or vectors [N, condition_size]
Draw = torch.Generator | None  # for what a network draws itself: noise, style mixing
BOTTOM = 4  # pixels: the first feature map of a generator, the last of a discriminator
INITS = {
    "xavier": nn.init.xavier_uniform_,  # Miyato et al. 2018
    "orthogonal": nn.init.orthogonal_,  # Brock et al. 2019
    "normal": partial(nn.init.normal_, std=0.02),  # BigGAN's public code for CIFAR
}


@settings
class NetworkConfig:
    """The settings that every architecture has; generator and discriminator share one config.

    ``num_classes`` above 0 conditions both on labels, ``condition_size`` above 0 on vectors of
    that length (such as features of an image), and both 0 on nothing. ``channels`` is the width
    at full image size, ``latent`` the length of z.
    """

    architecture: ClassVar[str]
    smallest: ClassVar[int] = 8
    largest: ClassVar[int] = 128
    channels_last: ClassVar[bool] = True  # the memory order that trains faster on a CPU too

    image_size: Whole = 32
    image_channels: Literal[1, 3] = 3  # grey, or RGB
    num_classes: Whole = 0
    condition_size: Whole = 0
    channels: Width = 64
    latent: Latent = 128

    def __post_init__(self) -> None:
        possible = [size for size in sizes(self.largest) if size >= self.smallest]
        if self.image_size not in possible:
            raise InputError(
                f"image size {self.image_size} is not possible for this GAN; resize the images to "
                f"{', '.join(map(str, possible[:-1]))} or {possible[-1]} pixels"
            )
        if self.num_classes and self.condition_size:
            raise InputError(
                f"num_classes {self.num_classes} and condition_size {self.condition_size} exclude "
                "each other; set one of them to 0"
            )


def sizes(image_size: int) -> list[int]:
    """Return 4, 8, ..., ``image_size``."""
    return [BOTTOM * 2**k for k in range((image_size // BOTTOM).bit_length())]


def widths(channels: int, image_size: int, widest: int = 4) -> list[int]:
    """Return the widths of the feature maps at 4, 8, ..., ``image_size`` pixels.

    A map of half the size is twice as wide, up to ``widest`` times ``channels``.
    """
    return [channels * min(image_size // size, widest) for size in sizes(image_size)]


def initialised(layer: Layer, init: str = "xavier", *, spectral: bool = False) -> Layer:
    """Set first weights, and biases to zero; return the layer.

    With ``spectral`` its weights are divided by their largest singular value from now on.
    """
    INITS[init](layer.weight)
    if getattr(layer, "bias", None) is not None:
        nn.init.zeros_(layer.bias)
    return spectral_norm(layer) if spectral else layer


def embedding(
    config: NetworkConfig, size: int, linear: type[nn.Module] = nn.Linear, *, init: str = "xavier"
) -> nn.Module | None:
    """Return the layer from labels or condition vectors to ``size`` numbers; None without.

    Where ``init`` is BigGAN's it holds for embeddings too; Miyato's stay at N(0, 1).
    """
    if config.num_classes:
        layer = nn.Embedding(config.num_classes, size)
    else:
        layer = linear(config.condition_size, size) if config.condition_size else None
    if layer is not None and init != "xavier":
        INITS[init](layer.weight)
    return layer


class ConditionalBatchNorm(nn.Module):
    """Batch normalisation whose gain and bias come from a condition (Dumoulin et al. 2017).

    ``layer`` makes the layer from the condition to so many numbers. Without, the norm is plain.
    """

    def __init__(self, channels: int, layer: Callable[[int], nn.Module] | None) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=layer is None)
        self.gain = layer(channels) if layer else None
        self.bias = layer(channels) if layer else None

    def forward(self, x: Tensor, condition: Tensor | None) -> Tensor:
        """Normalise ``x`` [N, C, H, W] with gain and bias from the condition of each image."""
        if self.gain is None:
            return self.norm(x)
        gain, bias = 1 + self.gain(condition), self.bias(condition)
        return self.norm(x) * gain[:, :, None, None] + bias[:, :, None, None]


class UpBlock(nn.Module):
    """Residual block that doubles the size: [N, in, H, W] -> [N, out, 2H, 2W].

    ``norm`` makes a normalisation of so many channels, which is given the condition.
    """

    def __init__(
        self, inputs: int, outputs: int, norm: Callable[[int], nn.Module], finish: Finish
    ) -> None:
        super().__init__()
        self.norm1 = norm(inputs)
        self.conv1 = finish(nn.Conv2d(inputs, outputs, 3, padding=1))
        self.norm2 = norm(outputs)
        self.conv2 = finish(nn.Conv2d(outputs, outputs, 3, padding=1))
        self.skip = finish(nn.Conv2d(inputs, outputs, 1))

    def forward(self, x: Tensor, condition: Condition) -> Tensor:
        h = doubled(self.conv1, relu(self.norm1(x, condition)))
        h = self.conv2(relu(self.norm2(h, condition)))
        return h + double(self.skip(x))  # 1 x 1: cheaper before than after


def double(x: Tensor) -> Tensor:
    """Repeat every pixel: [N, C, H, W] -> [N, C, 2H, 2W]."""
    return nn.functional.interpolate(x, scale_factor=2)


def doubled(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """Return ``conv(double(x))`` of a 3 x 3 convolution: [N, in, H, W] -> [N, out, 2H, 2W].

    Of a repeated pixel each output sees two by two, under sums of the weights: as one transposed
    convolution of 4 x 4 it takes 4 products in place of 9, and no larger map is made.
    """
    sums = avg_pool2d(conv.weight, 2, stride=1, padding=1, divisor_override=1)
    kernel = sums.flip(2, 3).transpose(0, 1)
    return conv_transpose2d(x, kernel, conv.bias, stride=2, padding=1)


def halved(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """Return ``avg_pool2d(conv(x), 2)`` of a 3 x 3 convolution, [N, out, H/2, W/2].

    As one convolution of 4 x 4 with stride 2 it takes 4 products in place of 9; H and W even.
    """
    kernel = avg_pool2d(conv.weight, 2, stride=1, padding=1)
    return conv2d(x, kernel, conv.bias, stride=2, padding=1)


class DownBlock(nn.Module):
    """Residual block: [N, in, H, W] -> [N, out, H/2, W/2] if ``down``, else the size stays."""

    def __init__(
        self, inputs: int, outputs: int, *, down: bool, first: bool, finish: Finish
    ) -> None:
        super().__init__()
        self.down, self.first = down, first
        self.conv1 = finish(nn.Conv2d(inputs, outputs, 3, padding=1))
        self.conv2 = finish(nn.Conv2d(outputs, outputs, 3, padding=1))
        plain = inputs == outputs and not down
        self.skip = None if plain else finish(nn.Conv2d(inputs, outputs, 1))

    def forward(self, x: Tensor) -> Tensor:
        h = relu(self.conv1(x if self.first else relu(x)))
        h = halved(self.conv2, h) if self.down else self.conv2(h)
        x = avg_pool2d(x, 2) if self.down else x  # before the 1 x 1 convolution: they commute
        return h + (self.skip(x) if self.skip else x)


class SelfAttention(nn.Module):
    """Attention over positions, added with a weight that starts at 0 (Zhang et al. 2019, Sec. 3).

    Keys and values come from maps pooled to half the size (Brock et al. 2019).
    """

    def __init__(self, channels: int, finish: Finish) -> None:
        super().__init__()
        narrow, values = max(1, channels // 8), max(1, channels // 2)
        pointwise = partial(nn.Conv2d, kernel_size=1, bias=False)
        self.query = finish(pointwise(channels, narrow))
        self.key = finish(pointwise(channels, narrow))
        self.value = finish(pointwise(channels, values))
        self.last = finish(pointwise(values, channels))
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """Return [N, C, H, W] of the same shape; H and W even."""
        query = self.query(x).flatten(2).mT
        key, value = (
            nn.functional.max_pool2d(layer(x), 2).flatten(2).mT for layer in (self.key, self.value)
        )
        h = nn.functional.scaled_dot_product_attention(query, key, value, scale=1.0)
        return x + self.gamma * self.last(h.mT.unflatten(2, x.shape[2:]))


class ProjectionDiscriminator(nn.Module):
    """Residual projection discriminator (Miyato & Koyama 2018, Eq. 4): psi(h) + <embed(y), h>.

    h is the sum over positions of the last feature map. ``width`` and ``down`` hold the width
    after each block and whether it halves the size. Without a condition the logit is psi(h).
    """

    def __init__(
        self,
        config: NetworkConfig,
        width: Sequence[int],
        down: Sequence[bool],
        *,
        init: str = "xavier",
        attention: int = 0,
    ) -> None:
        super().__init__()
        self.config = config
        finish = partial(initialised, init=init, spectral=True)
        steps = zip(pairwise([config.image_channels, *width]), down, strict=True)
        self.blocks = nn.ModuleList(
            DownBlock(a, b, down=halve, first=k == 0, finish=finish)
            for k, ((a, b), halve) in enumerate(steps)
        )
        after = [config.image_size >> sum(down[: k + 1]) for k in range(len(down))]
        self.attention_after = after.index(attention) if attention else -1
        wide = width[self.attention_after]
        self.attention = SelfAttention(wide, finish) if attention else None
        self.psi = finish(nn.Linear(width[-1], 1))
        embed = embedding(config, width[-1], init=init)
        self.embed = None if embed is None else spectral_norm(embed)

    def stages(self) -> list[list[nn.Module]]:
        """Return the parts in the order of the data, image first: what FreezeD freezes."""
        stages: list[list[nn.Module]] = [[block] for block in self.blocks]
        if self.attention is not None:
            stages[self.attention_after].append(self.attention)
        return stages

    def features(self, images: Tensor) -> Tensor:
        """Return h [N, D] of images [N, C, H, W] in -1..1."""
        for module in chain.from_iterable(self.stages()):
            images = module(images)
        return relu(images).sum(dim=(2, 3))

    def forward(self, images: Tensor, condition: Condition = None) -> Tensor:
        """Return logits [N] of images in -1..1 as images of ``condition``."""
        h = self.features(images)
        logits = self.psi(h).squeeze(1)
        return logits if self.embed is None else logits + (self.embedded(condition) * h).sum(1)

    def embedded(self, condition: Tensor) -> Tensor:
        """Return D_emb(y) [N, D] of labels, or of vectors, which are taken as of length one.

        Spectral norm bounds what a label, a vector of one 1, can become. Vectors of d numbers with
        a mean square of one are sqrt(d) times as long, and their term would drown psi from the
        first step on.
        """
        if self.config.condition_size:
            condition = condition / math.sqrt(self.config.condition_size)
        return self.embed(condition)
