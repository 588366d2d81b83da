"""StyleGAN2 (Karras et al. 2020): skip generator and residual discriminator in plain PyTorch.

The style scales the input and the demodulation the output of one shared convolution, which equals
a convolution with weights of each image's own (Eqs. 1 and 3).
"""

from __future__ import annotations

import math
from functools import cache
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, conv_transpose2d, leaky_relu, linear

from synthbook.gans.blocks import BOTTOM, Condition, Draw, NetworkConfig, embedding, sizes, widths
from synthbook.settings import Batch, Latent, Layers, Rate, Share, Whole, Width, settings


@settings
class StyleGAN2Config(NetworkConfig):
    """StyleGAN2; the defaults are those of the paper at 256 pixels.

    Args:
        widest: most channels that a map has. At 128, 64 and 32 pixels the paper's networks have
            ``channels`` 256, 512 and 512.
        style: length of w.
        mapping_layers: 2 in the configurations for few images.
        mapping_rate: factor on the learning rate of the mapping network.
        style_mixing: probability that a batch takes its later layers' styles from other latents.
        noise: whether each layer adds noise, drawn anew for an image. In small images it shows as
            specks that a short training does not take away.
        deviation_group: images a group of the minibatch deviation; a batch is a multiple of it.
    """

    architecture: ClassVar[str] = "stylegan2"
    largest: ClassVar[int] = 256
    embedding_layers: ClassVar[int] = 1

    image_size: Whole = 256
    channels: Width = 128
    latent: Latent = 512
    widest: Width = 512
    style: Latent = 512
    mapping_layers: Layers = 8
    mapping_rate: Rate = 0.01
    style_mixing: Share = 0.9
    noise: bool = True
    deviation_group: Batch = 4

    def widths(self) -> list[int]:
        """Return the widths at 4, 8, ..., ``image_size`` pixels."""
        all_wide = widths(self.channels, self.image_size, self.image_size)
        return [min(width, self.widest) for width in all_wide]


@settings
class StyleGAN2MLPConfig(StyleGAN2Config):
    """StyleGAN2 whose G_emb is an MLP of two layers with ReLU (Data Instance Prior, Appendix A)."""

    architecture: ClassVar[str] = "stylegan2_mlp"
    embedding_layers: ClassVar[int] = 2


def activation(x: Tensor) -> Tensor:
    """Return leaky ReLU of slope 0.2, times sqrt 2 so that a unit variance stays near one."""
    return leaky_relu(x, 0.2) * math.sqrt(2)


def unit(x: Tensor) -> Tensor:
    """Scale each row of [N, D] to a mean square of one (Karras et al. 2018, Sec. 4.2)."""
    return x * (x.square().mean(1, keepdim=True) + 1e-8).rsqrt()


@cache
def fir(channels: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return the separable filter [1, 3, 3, 1] of sum one, one copy a channel [C, 1, 4, 4]."""
    # Kept, because to send it to a GPU makes that wait; a plain tensor, whoever asks first.
    with torch.inference_mode(False):
        taps = torch.tensor([1.0, 3.0, 3.0, 1.0], dtype=dtype, device=device) / 8
        return torch.outer(taps, taps).expand(channels, 1, 4, 4)


def blur(x: Tensor, padding: int, stride: int = 1) -> Tensor:
    """Filter [N, C, H, W] with the FIR, zeros around; then keep every ``stride``-th pixel."""
    taps = fir(x.shape[1], x.dtype, x.device)
    return conv2d(x, taps, padding=padding, stride=stride, groups=len(taps))


def upsample(x: Tensor) -> Tensor:
    """Double the size by zeros in between and the FIR: [N, C, H, W] -> [N, C, 2H, 2W]."""
    taps = fir(x.shape[1], x.dtype, x.device) * 4
    with torch.autocast(x.device.type, enabled=False):  # images are added up in full precision
        return conv_transpose2d(x, taps, stride=2, padding=1, groups=len(taps))


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


class Mapping(nn.Module):
    """Styles w [N, style] of latents [N, latent] and a condition, which is concatenated."""

    def __init__(self, config: StyleGAN2Config) -> None:
        super().__init__()
        self.embed = embedding(config, config.style, EqualLinear)
        if self.embed is not None and config.embedding_layers > 1:
            self.embed = nn.Sequential(
                self.embed, nn.ReLU(), EqualLinear(config.style, config.style)
            )
        lengths = [config.latent + (0 if self.embed is None else config.style)]
        lengths += [config.style] * config.mapping_layers
        self.layers = nn.ModuleList(
            EqualLinear(a, b, rate=config.mapping_rate) for a, b in pairwise(lengths)
        )

    def forward(self, latents: Tensor, condition: Condition, *, embedded: bool = False) -> Tensor:
        """Return w; with ``embedded`` the condition is what G_emb (``embed``) gives."""
        w = unit(latents)
        if self.embed is not None:
            w = torch.cat([w, unit(condition if embedded else self.embed(condition))], dim=1)
        for layer in self.layers:
            w = activation(layer(w))
        return w


class StyledConv(nn.Module):
    """Modulated convolution, noise if ``config`` has it, bias, activation."""

    def __init__(
        self, inputs: int, outputs: int, size: int, config: StyleGAN2Config, *, up: bool
    ) -> None:
        super().__init__()
        self.conv = ModulatedConv(inputs, outputs, 3, config.style, up=up)
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.noisy = config.noise
        if config.noise:
            self.strength = nn.Parameter(torch.zeros(()))
            self.register_buffer("noise", torch.randn(1, 1, size, size))

    def forward(self, x: Tensor, style: Tensor, draw: Draw) -> Tensor:
        x = self.conv(x, style)
        if self.noisy:
            noise = self.noise
            if draw is not None:
                noise = torch.randn(len(x), 1, *x.shape[2:], generator=draw, device=x.device)
            x = x + (noise * self.strength).to(x.dtype)
        return activation(x + self.bias[:, None, None].to(x.dtype))


class ToImage(nn.Module):
    """1 x 1 modulated convolution to the image's channels, without demodulation."""

    def __init__(self, inputs: int, outputs: int, style: int) -> None:
        super().__init__()
        self.conv = ModulatedConv(inputs, outputs, 1, style, demodulate=False)
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        return self.conv(x, style).float() + self.bias[:, None, None]


class Generator(nn.Module):
    """Images, near -1..1 but not bounded, from latents and a condition.

    There are two styles a size from 4 pixels on; the first convolution and the image layer of
    neighbouring sizes share one, as in the public code.
    """

    def __init__(self, config: StyleGAN2Config) -> None:
        super().__init__()
        self.config = config
        width, style = config.widths(), config.style
        self.mapping = Mapping(config)
        self.constant = nn.Parameter(torch.randn(1, width[0], BOTTOM, BOTTOM))
        self.first = StyledConv(width[0], width[0], BOTTOM, config, up=False)
        self.first_image = ToImage(width[0], config.image_channels, style)
        self.blocks = nn.ModuleDict()
        for size, (a, b) in zip(sizes(config.image_size)[1:], pairwise(width), strict=True):
            layers = {
                "conv0": StyledConv(a, b, size, config, up=True),
                "conv1": StyledConv(b, b, size, config, up=False),
                "image": ToImage(b, config.image_channels, style),
            }
            self.blocks[str(size)] = nn.ModuleDict(layers)
        self.num_styles = 2 * len(width)

    @property
    def embed(self) -> nn.Module | None:
        """G_emb: from the condition to what is concatenated with z, before its norm is taken."""
        return self.mapping.embed

    @property
    def num_blocks(self) -> int:
        """How many vectors an image may take, one a size from 4 pixels on."""
        return self.num_styles // 2

    def styles(
        self,
        latents: Tensor,
        condition: Condition = None,
        draw: Draw = None,
        *,
        embedded: bool = False,
    ) -> Tensor:
        """Return the styles of all layers [N, num_styles, style]; with ``draw`` they may be mixed.

        Mixing (Karras et al. 2019, Sec. 3.1): from a random layer on, all images of the batch
        take the styles of other latents. With ``embedded`` the condition is what ``embed`` gives,
        and may be [N, num_blocks, style].
        """

        def of_layers(latents: Tensor) -> Tensor:
            if not (embedded and condition is not None and condition.dim() == 3):
                w = self.mapping(latents, condition, embedded=embedded)
                return w[:, None].expand(-1, self.num_styles, -1)
            each = latents.repeat_interleave(self.num_blocks, dim=0)
            w = self.mapping(each, condition.flatten(0, 1), embedded=True)
            return w.unflatten(0, (-1, self.num_blocks)).repeat_interleave(2, dim=1)

        styles = of_layers(latents)
        if draw is None or not self.config.style_mixing:
            return styles
        how = {"generator": draw, "device": latents.device}
        mixes = torch.rand((), **how) < self.config.style_mixing
        cut = torch.randint(1, self.num_styles, (), **how)
        others = of_layers(torch.randn(latents.shape, **how))
        late = torch.arange(self.num_styles, device=latents.device) >= cut
        return torch.where((late & mixes)[:, None], others, styles)

    def synthesis(self, styles: Tensor, draw: Draw = None) -> Tensor:
        """Return images of styles [N, num_styles, style]; without ``draw`` the noise is fixed."""
        w = styles.unbind(1)
        x = self.first(self.constant.expand(len(styles), -1, -1, -1), w[0], draw)
        image = self.first_image(x, w[1])
        for k, block in enumerate(self.blocks.values()):
            x = block["conv0"](x, w[2 * k + 1], draw)
            x = block["conv1"](x, w[2 * k + 2], draw)
            image = upsample(image) + block["image"](x, w[2 * k + 3])
        return image

    def from_embedding(
        self, latents: Tensor, embedded: Condition = None, draw: Draw = None
    ) -> Tensor:
        """Return images of vectors that G_emb (``embed``) gave, or that lie among them.

        ``embedded`` is [N, style], or [N, num_blocks, style] with a vector for the two styles of
        each size. Without ``embed`` it is what each size takes in the place of z, [N, num_blocks,
        latent].
        """
        if self.embed is None and embedded is not None:
            w = self.mapping(embedded.flatten(0, 1), None).unflatten(0, (-1, self.num_blocks))
            return self.synthesis(w.repeat_interleave(2, dim=1), draw)
        return self.synthesis(self.styles(latents, embedded, draw, embedded=True), draw)

    def forward(self, latents: Tensor, condition: Condition = None, draw: Draw = None) -> Tensor:
        """Return images [N, C, H, W]; ``draw``, on the network's device, mixes and makes noise."""
        return self.synthesis(self.styles(latents, condition, draw), draw)


class ResidualDown(nn.Module):
    """Two 3 x 3 convolutions and a 1 x 1 skip, half the size, scaled to keep the variance."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv0 = EqualConv(inputs, inputs, 3)
        self.conv1 = EqualConv(inputs, outputs, 3, down=True)
        self.skip = EqualConv(inputs, outputs, 1, down=True, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return (activation(self.conv1(activation(self.conv0(x)))) + self.skip(x)) / math.sqrt(2)


def minibatch_deviation(x: Tensor, group: int) -> Tensor:
    """Append a channel: the deviation over a group of images, averaged (Karras et al. 2018).

    Groups are neighbours in the batch, so real and fake halves of a batch never mix as long as
    each half is a multiple of ``group``; a smaller batch makes smaller groups.
    """
    group = math.gcd(group, len(x))
    grouped = x.float().unflatten(0, (-1, group))
    spread = (grouped - grouped.mean(1, keepdim=True)).square().mean(1)
    deviation = (spread + 1e-8).sqrt().mean((1, 2, 3))
    channel = deviation.repeat_interleave(group)[:, None, None, None]
    return torch.cat([x, channel.expand(-1, 1, *x.shape[2:]).to(x.dtype)], dim=1)


class Discriminator(nn.Module):
    """Logits [N] of images; with a condition the projection <embed(y), h> / sqrt(D) is added."""

    def __init__(self, config: StyleGAN2Config) -> None:
        super().__init__()
        self.config = config
        width = config.widths()[::-1]
        self.from_image = EqualConv(config.image_channels, width[0], 1)
        halved = zip(sizes(config.image_size)[:0:-1], pairwise(width), strict=True)
        self.blocks = nn.ModuleDict({str(size): ResidualDown(a, b) for size, (a, b) in halved})
        self.conv = EqualConv(width[-1] + 1, width[-1], 3)
        self.hidden = EqualLinear(width[-1] * BOTTOM**2, width[-1])
        self.last = EqualLinear(width[-1], 1)
        self.embed = embedding(config, width[-1], EqualLinear)

    def stages(self) -> list[list[nn.Module]]:
        """Return the parts in the order of the data, image first: what FreezeD freezes."""
        first, *blocks = self.blocks.values()
        return [[self.from_image, first], *([block] for block in blocks), [self.conv, self.hidden]]

    def features(self, images: Tensor) -> Tensor:
        """Return h [N, D] of images [N, C, H, W] in -1..1."""
        x = activation(self.from_image(images))
        for block in self.blocks.values():
            x = block(x)
        x = activation(self.conv(minibatch_deviation(x, self.config.deviation_group)))
        return activation(self.hidden(x.flatten(1)))

    def forward(self, images: Tensor, condition: Condition = None) -> Tensor:
        """Return logits [N] of images in -1..1 as images of ``condition``."""
        h = self.features(images)
        logits = self.last(h).squeeze(1)
        if self.embed is None:
            return logits
        return logits + (self.embed(condition) * h).sum(1) / math.sqrt(h.shape[1])
