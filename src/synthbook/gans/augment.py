"""DiffAugment (Zhao et al. 2020): differentiable augmentation of real and fake images alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence

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
    sides, device = images.shape[2:], images.device
    kept = True

    def whole(low: int, high: int) -> Tensor:
        return torch.randint(low, high + 1, (len(images), 1), generator=draw).to(device)

    if "translation" in names:
        most = [int(side * SHIFT + 0.5) for side in sides]
        shifts = [whole(-m, m) for m in most]
        # The row and the column that each place is filled from, [N, side].
        rows, columns = (
            torch.arange(s, device=device) + k for s, k in zip(sides, shifts, strict=True)
        )
        kept = _box(rows, columns, sides)
        source = rows.clamp(0, sides[0] - 1)[:, :, None] * sides[1]
        source = source + columns.clamp(0, sides[1] - 1)[:, None]
        index = source.flatten(1)[:, None].expand(-1, images.shape[1], -1)
        images = images.flatten(2).gather(2, index).view_as(images)
    if "cutout" in names:
        cuts = [int(side * CUT + 0.5) for side in sides]
        # The centre may be any pixel, and with an even square also the far edge.
        firsts = [whole(-(c // 2), s - c % 2 - c // 2) for s, c in zip(sides, cuts, strict=True)]
        rows, columns = (
            torch.arange(s, device=device) - k for s, k in zip(sides, firsts, strict=True)
        )
        kept = kept & ~_box(rows, columns, cuts)
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


def _box(rows: Tensor, columns: Tensor, sides: Sequence[int]) -> Tensor:
    """Return bool [N, H, W]: where row and column are both in 0..side - 1."""
    rows, columns = ((x >= 0) & (x < side) for x, side in zip((rows, columns), sides, strict=True))
    return rows[:, :, None] & columns[:, None]


def augmentation(policy: str) -> Augment:
    """Return ``diff_augment`` with ``policy`` set: (images, draw) -> images; "" changes nothing."""
    if not augmentations(policy):
        return lambda images, draw: images
    return lambda images, draw: diff_augment(images, policy, draw)
