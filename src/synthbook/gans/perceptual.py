"""How far apart images look: pixels at two sizes, and maps of a frozen network at several layers.

The loss of generators that are trained without an adversary (Hoshen et al. 2019; Noguchi & Harada
2019): each layer's mean absolute difference, added up.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate

from synthbook.errors import InputError, check_choice
from synthbook.gans.projected import folded
from synthbook.weights import MEAN, STD, efficientnet_lite0

POOLED = (1, 4)  # sides of the squares over which pixels are averaged
NAMES = ("efficientnet_lite0", "vgg16")
VGG_LAYERS = (3, 8, 15, 22, 29)  # the last ReLU of each of its five sizes
VGG_MEAN, VGG_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
Maps = Callable[[Tensor], Sequence[Tensor]]  # RGB images in 0..1, [N, 3, H, W], to feature maps


class Perceptual(nn.Module):
    """The layers of images that are compared, and their distance; nothing in it is trained.

    Args:
        network: a frozen network, or another function from RGB images in 0..1 to feature maps.
        size: pixels to which images are resized for it (bilinear, and where that leaves out pixels
            antialiased).
        weight: of a feature map's distance beside one of pixels; those of EfficientNet-Lite0 are
            some ten times as large.
    """

    def __init__(self, network: Maps, *, size: int = 64, weight: float = 0.1) -> None:
        super().__init__()
        self.network, self.size, self.weight = network, size, weight
        self.eval().requires_grad_(False)

    def train(self, mode: bool = True) -> Perceptual:
        """Stay in evaluation mode."""
        return super().train(False)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the layers of images [N, C, H, W] in -1..1: pixels first, then weighted maps."""
        pixels = [avg_pool2d(images, side) for side in POOLED if side <= images.shape[-1]]
        x = images.expand(-1, 3, -1, -1)
        if x.shape[2:] != (self.size, self.size):
            smooth = x.shape[-1] > 2 * self.size  # plain bilinear would not see all pixels
            how = {"mode": "bilinear", "align_corners": False, "antialias": smooth}
            x = interpolate(x, size=self.size, **how)
        return pixels + [self.weight * h for h in self.network((x + 1) / 2)]


def distance(first: Sequence[Tensor], second: Sequence[Tensor]) -> Tensor:
    """Return the distances [N] of N images' layers, as `Perceptual` makes them."""
    apart = [(a - b).abs().flatten(1).mean(1) for a, b in zip(first, second, strict=True)]
    return torch.stack(apart).sum(0)


@torch.no_grad()
def layers_of(perceptual: Perceptual, images: Tensor, batch_size: int = 64) -> list[Tensor]:
    """Return the layers of many images, made batch by batch and kept.

    An image's are some 100 kB of EfficientNet-Lite0 at 64 pixels, and 30 MB of VGG16 at 256.
    """
    parts = [perceptual(batch) for batch in images.split(batch_size)]
    return [torch.cat(layer) for layer in zip(*parts, strict=True)]


def network_maps(name: str) -> nn.Module:
    """Return a frozen network of ImageNet as `Perceptual` takes it.

    "efficientnet_lite0": its maps at strides 2 to 32. "vgg16": the last ReLU of each of its five
    sizes, by torchvision, whose weights are never downloaded.

    Raises:
        InputError: on another name, or if VGG16's weights are missing.
    """
    check_maps(name)
    if name == "efficientnet_lite0":
        return Lite0Maps()
    return VGGMaps(torch.load(_vgg_file(), map_location="cpu", weights_only=True))


def check_maps(name: str) -> None:
    """Raise InputError if `network_maps` does not know the network, or has no weights of it."""
    check_choice("network", name, NAMES)
    if name == "vgg16" and not (path := _vgg_file()).is_file():
        raise InputError(
            f"no weights of VGG16 at {path}; put torchvision's {path.name} there, or take "
            "'efficientnet_lite0'"
        )


class Lite0Maps(nn.Module):
    """Five maps of EfficientNet-Lite0, of 16, 24, 40, 112 and 320 channels."""

    def __init__(self) -> None:
        super().__init__()
        # Without its norms, and channels last: the same maps in little more than half of the time.
        self.network = folded(efficientnet_lite0(0)).to(memory_format=torch.channels_last)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the maps of RGB images [N, 3, H, W] in 0..1."""
        x = ((images - MEAN) / STD).contiguous(memory_format=torch.channels_last)
        return self.network.forward_intermediates(x, intermediates_only=True)


class VGGMaps(nn.Module):
    """Five maps of VGG16, of 64, 128, 256, 512 and 512 channels."""

    def __init__(self, state: dict[str, Any]) -> None:
        from torchvision.models import vgg16

        super().__init__()
        with torch.device("meta"):  # 138 million weights, most of them in layers that go
            self.layers = vgg16().features[: VGG_LAYERS[-1] + 1]
        own = {k.removeprefix("features."): v for k, v in state.items() if k.startswith("features")}
        self.layers.load_state_dict(own, assign=True)
        for name, numbers in (("mean", VGG_MEAN), ("std", VGG_STD)):
            self.register_buffer(name, torch.tensor(numbers)[:, None, None])

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the maps of RGB images [N, 3, H, W] in 0..1."""
        h, maps = (images - self.mean) / self.std, []
        for k, layer in enumerate(self.layers):
            h = layer(h)
            if k in VGG_LAYERS:
                maps.append(h)
        return maps


def _vgg_file() -> Path:
    from torchvision.models import VGG16_Weights

    file = VGG16_Weights.IMAGENET1K_V1.url.rpartition("/")[2]
    return Path(torch.hub.get_dir(), "checkpoints", file)
