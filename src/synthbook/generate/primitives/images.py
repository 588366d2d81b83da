"""From shapes and noise to images: in batches, as arrays and as a torch data set."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from synthbook.errors import InputError
from synthbook.generate.primitives.noise import GROUP_PIXELS, packed_noise
from synthbook.generate.primitives.raster import spans, top_shapes
from synthbook.generate.primitives.recipe import Primitives, check_resolution
from synthbook.generate.primitives.shapes import Shapes, draw_shapes

# Pixels a batch: on a CPU enough to hide what a call costs, on a GPU enough to fill it.
BATCH_PIXELS = {"cpu": 1 << 20, "cuda": 1 << 24}


def tops(shapes: Shapes, resolution: int, device: str = "cpu") -> Tensor:
    """Return which shape is on top in each pixel, ``[B, H, H]``: 0 for none, then 1..M."""
    images, count = shapes.kind.shape
    image = torch.arange(images, device=device).repeat_interleave(count)
    number = torch.arange(1, count + 1, device=device).repeat(images)
    kind = torch.from_numpy(shapes.kind).to(device).flatten()
    geometry = torch.from_numpy(shapes.geometry).to(device).flatten(0, 1)
    return top_shapes(spans(kind, geometry, image, resolution), number, images, resolution)


def _packed(colour: np.ndarray) -> np.ndarray:
    """Return colours uint8 ``[..., 3]`` as red + 256 green + 65536 blue, int32."""
    return colour.astype(np.int32) @ np.array([1, 1 << 8, 1 << 16], np.int32)


def _unpack(packed: Tensor, pixels: Tensor) -> None:
    """Write packed colours int32 ``[B, H, H]`` to ``pixels``, uint8 ``[B, H, H, 3]``."""
    parts = packed.view(torch.uint8).view(*packed.shape, 4)
    for channel in range(3):  # three times as fast as one copy
        pixels[..., channel].copy_(parts[..., channel])


def render(
    recipe: Primitives, indices: Sequence[int], *, resolution: int, seed: int, device: str = "cpu"
) -> Tensor:
    """Return images as uint8 ``[B, H, H, 3]`` on ``device``, in one batch.

    Nothing is checked here: see `synthesize`.
    """
    shapes, images = draw_shapes(recipe, indices, resolution=resolution, seed=seed), len(indices)
    where = {"seed": seed, "resolution": resolution, "device": device}
    where["per_pixel"] = "pixel_frequencies" in recipe.quirks
    pixels = torch.empty((images, resolution, resolution, 3), dtype=torch.uint8, device=device)
    top = None if recipe.variant == "PinkNoise" else tops(shapes, resolution, device)
    colours = np.concatenate([_packed(shapes.background)[:, None], _packed(shapes.colour)], axis=1)
    palette = torch.from_numpy(colours.ravel()).to(device)
    first = torch.arange(images, device=device, dtype=torch.int32)[:, None, None] * colours.shape[1]
    # A few images at a time: memory that is used again costs less than fresh memory.
    group = images if pixels.is_cuda else max(1, GROUP_PIXELS // resolution**2)
    for start in range(0, images, group):
        part = slice(start, start + group)
        if recipe.fields:
            noise = packed_noise(shapes.exponents[part], indices[part], **where).unbind(1)
        if top is None:
            drawn = noise[0]
        else:
            place = top[part].to(torch.int32).add_(first[part])
            drawn = palette.index_select(0, place.flatten()).view(place.shape)
            if recipe.fields:
                drawn = torch.where(top[part] == 0, noise[0], drawn)
                drawn = torch.where(top[part] == recipe.count, noise[1], drawn)
        _unpack(drawn, pixels[part])
    return pixels


def _in_batches(
    count: int | None,
    indices: Iterable[int] | None,
    resolution: int,
    device: str = "cpu",
    batch_size: int | None = None,
) -> Iterator[Sequence[int]]:
    """Yield the numbers of the images that are asked for, as many at a time as suit the device."""
    if (count is None) == (indices is None):
        raise InputError("give either the count of images or their indices")
    chosen = [operator.index(k) for k in (range(count) if indices is None else indices)]
    if not chosen:
        raise InputError(f"{count if indices is None else 0} images; give 1 or more")
    if min(chosen) < 0:
        raise InputError(f"image {min(chosen)} does not exist; give indices of 0 or more")
    if batch_size is None:
        batch_size = max(1, BATCH_PIXELS[torch.device(device).type] // resolution**2)
    for start in range(0, len(chosen), batch_size):
        yield chosen[start : start + batch_size]


def layers(recipe: Primitives, count: int, *, resolution: int, seed: int) -> np.ndarray:
    """Return which shape is on top in each pixel: int32 ``[N, H, H]``, 0 for the ground.

    Shapes count from 1 in the order of drawing; the salient shape is the last. Arguments as in
    `synthesize`.
    """
    size, parts = check_resolution(resolution), []
    for some in _in_batches(count, None, size):
        shapes = draw_shapes(recipe, some, resolution=size, seed=seed)
        parts.append(tops(shapes, size).to(torch.int32).numpy())
    return np.concatenate(parts)


def batches(
    recipe: Primitives,
    count: int | None = None,
    *,
    indices: Iterable[int] | None = None,
    resolution: int,
    seed: int,
    device: str = "cpu",
    batch_size: int | None = None,
) -> Iterator[Tensor]:
    """Yield images as uint8 ``[B, H, H, 3]`` on ``device``; arguments as in `synthesize`."""
    size = check_resolution(resolution)
    # Apple's GPUs lack the double precision of the shapes.
    where = "cpu" if str(device).startswith("mps") else device
    for some in _in_batches(count, indices, size, where, batch_size):
        yield render(recipe, some, resolution=size, seed=seed, device=where).to(device)


def synthesize(
    recipe: Primitives,
    count: int | None = None,
    *,
    indices: Iterable[int] | None = None,
    resolution: int,
    seed: int,
    device: str = "cpu",
    batch_size: int | None = None,
) -> np.ndarray:
    """Draw images, uint8 ``[N, H, H, 3]`` (Baek and Shim 2022, section 3).

    Image k of a seed is a function of (seed, k): on the CPU it has the same bytes in every batch,
    order, worker and run. A GPU draws the same shapes; its noise has the same statistics, but comes
    from its own generators.

    Args:
        count: draw images 0 to count - 1; or
        indices: draw these.
        resolution: side H in pixels, a power of two from 8 to 4096.
        device: "cpu", "cuda", "cuda:N", or "mps", for which the CPU draws.
        batch_size: images drawn at a time; None: what suits the device.
    """
    how = {"resolution": resolution, "seed": seed, "device": device, "batch_size": batch_size}
    parts = batches(recipe, count, indices=indices, **how)
    return np.concatenate([part.cpu().numpy() for part in parts])


class PrimitivesDataset(Dataset):
    """Drawn images as a torch data set: item k is uint8 ``[3, H, H]`` of image k, drawn when asked.

    With the quirk ``worker_streams`` every worker process counts for itself, as processes do that
    inherit the state of one global generator: two workers then return the same images.
    """

    def __init__(self, recipe: Primitives, length: int, *, resolution: int, seed: int) -> None:
        if length < 1:
            raise InputError(f"{length} images; give 1 or more")
        self.recipe, self.length, self.seed = recipe, int(length), seed
        self.resolution = check_resolution(resolution)
        self._drawn = 0  # by this process

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Tensor:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[Tensor]:
        """Return several images, drawn in one batch; torch's loaders call this."""
        chosen = [operator.index(one) for one in indices]
        if not all(-self.length <= one < self.length for one in chosen):
            raise IndexError(f"of {self.length} images there is none of the numbers {chosen}")
        chosen = [one % self.length for one in chosen]
        if "worker_streams" in self.recipe.quirks:
            chosen = list(range(self._drawn, self._drawn + len(chosen)))
            self._drawn += len(chosen)
        images = synthesize(self.recipe, indices=chosen, resolution=self.resolution, seed=self.seed)
        return list(torch.from_numpy(images).permute(0, 3, 1, 2))
