"""Where a GAN's real images come from: a set of images, or an endless stream of drawn ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from synthbook.data.images import pixels_and_labels
from synthbook.errors import InputError
from synthbook.gans.blocks import NetworkConfig

if TYPE_CHECKING:
    from synthbook.data import ImageSet


@dataclass(frozen=True)
class ImageStream:
    """An endless stream of images, each drawn for its index and used once.

    ``images`` maps indices int64 [N] to uint8 [N, C, H, W]; image k is always the same. ``name``
    says what is drawn, with its settings and its seed: a training that goes on from a checkpoint
    must have the same. With ``num_classes`` above 0 the labels are drawn uniformly, or of
    ``labels`` int64 [M], those of other images.
    """

    images: Callable[[Tensor], Tensor]
    image_size: int
    channels: int
    name: str
    num_classes: int = 0
    labels: Tensor | None = None

    def fingerprint(self) -> str:
        """Return the name: an endless stream cannot be hashed."""
        return self.name


class Real:
    """Batches of real images and their conditions on a device, for networks with ``config``.

    ``images`` are a set of two at least, or a stream; ``conditions`` float [number of images,
    condition_size], where the networks take vectors.
    """

    def __init__(
        self,
        images: ImageSet | ImageStream,
        config: NetworkConfig,
        conditions: Tensor | None,
        device: str,
    ) -> None:
        _check(images, config, conditions)
        self.config, self.device = config, device
        self.stream = images if isinstance(images, ImageStream) else None
        if self.stream is None:
            self.pixels, labels = pixels_and_labels(images, device)
            if len(self.pixels) < 2:
                raise InputError(f"'{images.name}' has 1 image; a GAN needs two or more")
            vectors = None if conditions is None else conditions.float().to(device)
            self.conditions = labels if config.num_classes else vectors

    def pick(
        self, count: int, draw: torch.Generator, batch: int = 0
    ) -> tuple[Tensor, Tensor | None]:
        """Return which images are in number ``batch`` of the run, and their conditions.

        From a set, images are drawn with replacement; a stream goes on to its next ones.
        """
        if self.stream is None:
            which = torch.randint(len(self.pixels), (count,), generator=draw).to(self.device)
            return which, None if self.conditions is None else self.conditions[which]
        which, classes = torch.arange(batch * count, (batch + 1) * count), self.config.num_classes
        if not classes:
            return which, None
        pool = torch.arange(classes) if self.stream.labels is None else self.stream.labels
        labels = pool[torch.randint(len(pool), (count,), generator=draw)]
        return which, labels.to(self.device)

    def images(self, which: Tensor) -> Tensor:
        """Return the images that ``pick`` chose, uint8 [N, C, H, W]."""
        if self.stream is None:
            return self.pixels[which]
        drawn, config = self.stream.images(which), self.config
        shape = (len(which), config.image_channels, config.image_size, config.image_size)
        if drawn.dtype != torch.uint8 or tuple(drawn.shape) != shape:
            raise InputError(
                f"the stream '{self.stream.name}' gave {drawn.dtype} {list(drawn.shape)}; it must "
                f"give torch.uint8 {list(shape)}"
            )
        return drawn.to(self.device)


def _check(
    images: ImageSet | ImageStream, config: NetworkConfig, conditions: Tensor | None
) -> None:
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
    if not config.condition_size:
        if conditions is not None:
            raise InputError(
                "conditions were given to networks that take none; make them with condition_size "
                f"{conditions.shape[-1]}, or leave the conditions out"
            )
        return
    if isinstance(images, ImageStream):
        raise InputError("a stream has no conditions; train on a set of images, or without them")
    shape = (len(images), config.condition_size)
    given = "no vectors" if conditions is None else f"{conditions.dtype} {list(conditions.shape)}"
    floats = conditions is not None and conditions.is_floating_point()
    if not floats or conditions.shape != shape or not conditions.isfinite().all():
        raise InputError(
            f"conditions are {given}; the networks take finite floats {list(shape)}, a row an image"
        )
