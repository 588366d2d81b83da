"""DiffAugment (Zhao et al. 2020): differentiable augmentation of real and fake images alike."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from synthbook.settings import augmentations

SHIFT, CUT = 0.125, 0.5  # of the side
Augment = Callable[[Tensor, torch.Generator], Tensor]


def diff_augment(images: Tensor, policy: str, draw: torch.Generator) -> Tensor:
    """Return images [N, C, H, W] (-1..1) augmented, each with draws of its own.

    Colour comes first, then translation, then cutout, whatever the order of the names. Colour:
    brightness plus U(-0.5, 0.5), then saturation times U(0, 2) about each pixel's grey value,
    then contrast times U(0.5, 1.5) about the image's mean. Translation: by up to an eighth of the
    side in both directions, zeros enter. Cutout: a square of half the side, with its centre
    anywhere, becomes zero (Zhao et al. 2020, Appendix). ``draw`` is a generator on the CPU.
    """
    names = augmentations(policy)
    if "color" in names:
        images = color(images, torch.rand(3, len(images), generator=draw).to(images))
    if "translation" not in names and "cutout" not in names:
        return images
    count, high, wide = len(images), images.shape[2], images.shape[3]
    shift, corner = torch.zeros(2, 2, count, dtype=torch.int64)
    if "translation" in names:
        shift = _integers([(-_part(s, SHIFT), _part(s, SHIFT)) for s in (high, wide)], count, draw)
    if "cutout" in names:
        # The centre may be any pixel, and with an even square also the far edge.
        sides = [(s, _part(s, CUT)) for s in (high, wide)]
        ranges = [(-(cut // 2), s - cut % 2 - cut // 2) for s, cut in sides]
        corner = _integers(ranges, count, draw)
    device = images.device
    rows, columns = (_places(s, k.to(device)) for s, k in zip((high, wide), shift, strict=True))
    kept = _inside(rows, high)[:, :, None] & _inside(columns, wide)[:, None]
    if "cutout" in names:
        cut = [
            _within(side, first.to(device), _part(side, CUT))
            for side, first in zip((high, wide), corner, strict=True)
        ]
        kept &= ~(cut[0][:, :, None] & cut[1][:, None])
    if "translation" in names:
        source = rows.clamp(0, high - 1)[:, :, None] * wide + columns.clamp(0, wide - 1)[:, None]
        index = source.flatten(1)[:, None].expand(-1, images.shape[1], -1)
        images = images.flatten(2).gather(2, index).view_as(images)
    return images * kept[:, None]


def color(images: Tensor, draws: Tensor) -> Tensor:
    """Change brightness, saturation and contrast by draws [3, N] in [0, 1).

    With b, s, c their values, m a pixel's grey value and M the image's mean, the three steps one
    after the other come to c s x + c (1 - s) m + (1 - c) M + b.
    """
    b, s, c = (draw[:, None, None, None] for draw in draws)
    b, s, c = b - 0.5, s * 2, c + 0.5
    grey = images.mean(1, keepdim=True)
    constant = (1 - c) * grey.mean((2, 3), keepdim=True) + b
    return torch.addcmul(grey * (c * (1 - s)) + constant, images, c * s)


def _part(side: int, share: float) -> int:
    return int(side * share + 0.5)


def _integers(ranges: list[tuple[int, int]], count: int, draw: torch.Generator) -> Tensor:
    """Return int64 [2, N], row k uniform in ranges[k], both ends included."""
    rows = [torch.randint(low, high + 1, (count,), generator=draw) for low, high in ranges]
    return torch.stack(rows)


def _places(side: int, shift: Tensor) -> Tensor:
    """Return [N, side]: the row or column that each place is filled from."""
    return torch.arange(side, device=shift.device) + shift[:, None]


def _inside(places: Tensor, side: int) -> Tensor:
    return (places >= 0) & (places < side)


def _within(side: int, first: Tensor, length: int) -> Tensor:
    """Return bool [N, side]: whether a place is in first .. first + length - 1."""
    places = torch.arange(side, device=first.device)
    return (places >= first[:, None]) & (places < first[:, None] + length)


def augmentation(policy: str) -> Augment:
    """Return ``diff_augment`` with ``policy`` set: (images, draw) -> images; "" changes nothing.

    Raises:
        InputError: if a name in ``policy`` is not known.
    """
    if not augmentations(policy):
        return lambda images, draw: images
    return lambda images, draw: diff_augment(images, policy, draw)
