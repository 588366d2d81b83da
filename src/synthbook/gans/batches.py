"""Where a GAN's real images come from: a set of images, or an endless stream of drawn ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from synthbook.data.images import pixels_and_labels
from synthbook.errors import InputError
from synthbook.gans.networks import NetworkConfig

if TYPE_CHECKING:
    from synthbook.data import ImageSet


@dataclass(frozen=True)
class ImageStream:
    """An endless stream of images, each drawn for its index and used once.

    Args:
        images: maps indices int64 [N] to images uint8 [N, C, H, W], 0..255; image k is always
            the same.
        image_size: H and W, in pixels.
        channels: C, 1 or 3.
        name: what is drawn, with its settings and its seed; a training that goes on from a
            checkpoint must have the same.
        num_classes: above 0, the images get labels drawn uniformly.
    """

    images: Callable[[Tensor], Tensor]
    image_size: int
    channels: int
    name: str
    num_classes: int = 0

    def fingerprint(self) -> str:
        """Return the name: an endless stream cannot be hashed."""
        return self.name


class Real:
    """Batches of real images and their conditions, for one pair of networks.

    Args:
        images: a set with two images at least, or a stream.
        config: of the networks; it says whether the condition is labels, vectors or nothing.
        conditions: float [number of images, condition_size], where the networks take vectors.
        device: where the images are kept.

    Raises:
        InputError: if images, conditions and networks do not fit each other.
    """

    def __init__(
        self,
        images: ImageSet | ImageStream,
        config: NetworkConfig,
        conditions: Tensor | None,
        device: str,
    ) -> None:
        _check_shape(images, config)
        self.config, self.device = config, device
        self.stream = images if isinstance(images, ImageStream) else None
        self.pixels = self.labels = None
        if not isinstance(images, ImageStream):
            self.pixels, self.labels = pixels_and_labels(images, device)
            if len(self.pixels) < 2:
                raise InputError(f"'{images.name}' has 1 image; a GAN needs two or more")
        count = None if self.pixels is None else len(self.pixels)
        self.conditions = _conditions(conditions, config, count)
        if self.conditions is not None:
            self.conditions = self.conditions.to(device)

    def pick(
        self, count: int, draw: torch.Generator, batch: int = 0
    ) -> tuple[Tensor, Tensor | None]:
        """Return which images are in number ``batch`` of the run, and their conditions.

        From a set, images are drawn with replacement; a stream goes on to its next ones.
        """
        if self.pixels is not None:
            which = torch.randint(len(self.pixels), (count,), generator=draw).to(self.device)
        else:
            which = torch.arange(batch * count, (batch + 1) * count)
        if self.conditions is not None:
            return which, self.conditions[which]
        if not self.config.num_classes:
            return which, None
        if self.labels is not None:
            return which, self.labels[which]
        labels = torch.randint(self.config.num_classes, (count,), generator=draw)
        return which, labels.to(self.device)

    def images(self, which: Tensor) -> Tensor:
        """Return the images that ``pick`` chose, uint8 [N, C, H, W]."""
        if self.pixels is not None:
            return self.pixels[which]
        assert self.stream is not None
        found, config = self.stream.images(which), self.config
        shape = (len(which), config.image_channels, config.image_size, config.image_size)
        if found.dtype != torch.uint8 or tuple(found.shape) != shape:
            raise InputError(
                f"the stream '{self.stream.name}' gave {found.dtype} {list(found.shape)}; it must "
                f"give torch.uint8 {list(shape)}"
            )
        return found.to(self.device)


def _check_shape(images: ImageSet | ImageStream, config: NetworkConfig) -> None:
    shape = (images.image_size, images.channels)
    if shape != (config.image_size, config.image_channels):
        raise InputError(
            f"'{images.name}' has images of {shape[0]} pixels and {shape[1]} channels, the "
            f"networks make {config.image_size} pixels and {config.image_channels} channels; "
            "load the images with that image_size and channels, or make other networks"
        )
    if config.num_classes and images.num_classes != config.num_classes:
        raise InputError(
            f"'{images.name}' has {images.num_classes} classes and the networks "
            f"{config.num_classes}; make them with num_classes {images.num_classes}"
        )


def _conditions(
    conditions: Tensor | None, config: NetworkConfig, count: int | None
) -> Tensor | None:
    if not config.condition_size:
        if conditions is not None:
            raise InputError(
                "conditions were given to networks that take none; make them with condition_size "
                f"{conditions.shape[-1]}, or leave the conditions out"
            )
        return None
    wanted = f"give floats [{count}, {config.condition_size}], a row an image"
    if count is None:
        raise InputError("a stream has no conditions; train on a set of images, or without them")
    if conditions is None:
        raise InputError(f"the networks take condition vectors and none were given; {wanted}")
    if not conditions.is_floating_point() or conditions.shape != (count, config.condition_size):
        raise InputError(f"conditions are {conditions.dtype} {list(conditions.shape)}; {wanted}")
    if not conditions.isfinite().all():
        raise InputError("conditions hold numbers that are not finite; mend the features")
    return conditions.float()


def check_pair(generator: nn.Module, discriminator: nn.Module) -> NetworkConfig:
    """Return the config of the pair.

    Raises:
        InputError: if image size, channels or condition of the two networks differ.
    """
    config, other = generator.config, discriminator.config
    for name in ("image_size", "image_channels", "num_classes", "condition_size"):
        if getattr(config, name) != getattr(other, name):
            raise InputError(
                f"the generator has {name} {getattr(config, name)} and the discriminator "
                f"{getattr(other, name)}; make both with the same settings"
            )
    return config
