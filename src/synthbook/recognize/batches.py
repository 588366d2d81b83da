"""Batches cut from images that lie on the device, with random crops and flips made there.

A random order is one infinite sequence: permutation after permutation of a stream's images. An
epoch reads as many positions of each as one stream has images, so that a smaller one is cycled and
reshuffled, and a larger one goes on, without any state. All draws are made on the CPU: the same on
any device.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from synthbook.randomness import torch_generator

if TYPE_CHECKING:
    from synthbook.data import ImageSet
    from synthbook.recognize.recipe import Recipe


@dataclass(frozen=True)
class Batch:
    """Images float32 [N, C, H, W] in [0, 1], labels int64 [N], and their indices in the set.

    ``pixels`` are the images before they were resized, uint8 [N, H, W, C]; None: ``images`` are.
    """

    images: Tensor
    labels: Tensor
    indices: Tensor
    pixels: Tensor | None = None

    def __len__(self) -> int:
        return len(self.labels)


def order(count: int, start: int, stop: int, *, seed: int, stream: str) -> Tensor:
    """Return positions ``start`` to ``stop`` of the endless random order of ``count`` images.

    Positions k * count to (k + 1) * count are a permutation drawn from (seed, "order", stream, k).
    """
    first, last = start // count, -(-stop // count)
    drawn = [
        torch.randperm(count, generator=torch_generator(seed, "order", stream, k))
        for k in range(first, last)
    ]
    return torch.cat(drawn)[start - first * count : stop - first * count]


def steps_per_epoch(count: int, batch_size: int) -> int:
    """Return the batches of an epoch over ``count`` images, as few as ``batch_size`` allows.

    No batch holds a single image, of which BatchNorm has no variance; where only that is left, a
    batch is one image larger.
    """
    return max(1, min(-(-count // batch_size), count // 2 if batch_size > 1 else count))


def cuts(count: int, batch_size: int) -> list[int]:
    """Return the batch borders 0, ..., count of an epoch, of equal size but for one image.

    A short last batch would do harm: BatchNorm's running statistics, the ones a trained network
    is used with, would end each epoch on the statistics of a few images.
    """
    number = steps_per_epoch(count, batch_size)
    return [k * count // number for k in range(number + 1)]


def crop_and_flip(
    padded: Tensor, indices: Tensor, tops: Tensor, lefts: Tensor, flips: Tensor, size: int
) -> Tensor:
    """Return a square window [size, size, C] of each of N images, mirrored where ``flips`` is true.

    Image k is number ``indices[k]`` of ``padded`` [M, H, W, C], and ``tops[k]``, ``lefts[k]`` is
    the corner of its window. It is one gather over whole pixels, whatever N is.
    """
    _, height, width, channels = padded.shape
    steps = torch.arange(size, device=padded.device)
    rows = (indices * height + tops)[:, None] + steps
    columns = lefts[:, None] + torch.where(flips[:, None], steps.flip(0), steps)
    pixels = rows[:, :, None] * width + columns[:, None, :]
    windows = padded.reshape(-1, channels).index_select(0, pixels.flatten())
    return windows.view(len(indices), size, size, channels)


def as_input(images: Tensor, input_size: int = 0) -> Tensor:
    """Return uint8 [N, H, W, C] as float32 [N, C, H, W] in [0, 1], resized if asked for.

    The memory order stays [N, H, W, C].
    """
    floats = images.permute(0, 3, 1, 2).float().div_(255)
    return resized(floats, input_size) if input_size else floats


def resized(images: Tensor, size: int) -> Tensor:
    """Return [N, C, H, W] at ``size`` pixels a side: bilinear, with antialiasing."""
    if images.shape[-1] == size:
        return images
    return F.interpolate(images, size=(size, size), mode="bilinear", antialias=True)


class Stream:
    """One set of images on ``device`` and its random batches.

    ``name`` and ``seed`` are what its orders, crops and flips are drawn from; ``recipe`` says how
    batches are cropped, flipped and resized.
    """

    def __init__(
        self, images: ImageSet, recipe: Recipe, *, name: str, seed: int, device: str = "cpu"
    ) -> None:
        """Move the images to the device as uint8, padded once."""
        self.name, self.seed, self.recipe, self.device = name, seed, recipe, device
        self.size = images.images.shape[1]
        pixels = torch.from_numpy(np.array(images.images))
        self.padded = F.pad(pixels, (0, 0, *4 * [recipe.crop_padding])).to(device)
        self.labels = torch.from_numpy(np.array(images.labels)).to(device)

    def __len__(self) -> int:
        return len(self.labels)

    def epoch(self, epoch: int, borders: list[int]) -> Iterator[Batch]:
        """Yield the batches of an epoch: positions ``borders[k]`` to ``borders[k + 1]`` of it."""
        count, recipe = borders[-1], self.recipe
        first, last = epoch * count, (epoch + 1) * count
        taken = order(len(self), first, last, seed=self.seed, stream=self.name).to(self.device)
        draws = torch_generator(self.seed, "augment", self.name, epoch)
        corners = torch.randint(2 * recipe.crop_padding + 1, (2, count), generator=draws)
        flips = torch.rand(count, generator=draws) < (0.5 if recipe.flip else 0.0)
        corners, flips = corners.to(self.device), flips.to(self.device)
        for a, b in pairwise(borders):
            indices = taken[a:b]
            if recipe.crop_padding or recipe.flip:
                window = *corners[:, a:b], flips[a:b], self.size
                pixels = crop_and_flip(self.padded, indices, *window)
            else:
                pixels = self.padded[indices]
            images = as_input(pixels, recipe.input_size)
            yield Batch(images, self.labels[indices], indices, pixels)


def steps(
    streams: Mapping[str, Stream], batch_size: int, epoch: int, count: int
) -> Iterator[dict[str, Batch]]:
    """Yield the steps of an epoch of ``count`` images: equal batches of each stream."""
    borders = cuts(count, batch_size)
    for batches in zip(*(s.epoch(epoch, borders) for s in streams.values()), strict=True):
        yield dict(zip(streams, batches, strict=True))
