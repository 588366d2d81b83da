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
    return augmented(images, policy, draws(policy, len(images), images.shape[2:], draw))


def draws(policy: str, count: int, sides: Sequence[int], draw: torch.Generator) -> list[Tensor]:
    """Return what is random in the augmentation of ``count`` images of ``sides``: on the CPU.

    For colour float [3, count]; for translation and for cutout two int64 [count, 1] each.
    """
    names, drawn = augmentations(policy), []
    if "color" in names:
        drawn.append(torch.rand(3, count, generator=draw))
    bounds: list[tuple[int, int]] = []
    if "translation" in names:
        bounds += [(-most, most) for most in _shifts(sides)]
    if "cutout" in names:
        # The centre may be any pixel, and with an even square also the far edge.
        cuts = zip(sides, _cuts(sides), strict=True)
        bounds += [(-(cut // 2), side - cut % 2 - cut // 2) for side, cut in cuts]
    drawn += [torch.randint(low, high + 1, (count, 1), generator=draw) for low, high in bounds]
    return drawn


def augmented(images: Tensor, policy: str, drawn: Sequence[Tensor]) -> Tensor:
    """Return images [N, C, H, W] augmented as ``draws`` says (`diff_augment`)."""
    names, left = augmentations(policy), iter(drawn)
    if "color" in names:
        images = color(images, next(left).to(images))
    if "translation" not in names and "cutout" not in names:
        return images
    sides, device = images.shape[2:], images.device
    kept = True
    if "translation" in names:
        shifts = [next(left).to(device) for _ in sides]
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
        firsts = [next(left).to(device) for _ in sides]
        rows, columns = (
            torch.arange(s, device=device) - k for s, k in zip(sides, firsts, strict=True)
        )
        kept = kept & ~_box(rows, columns, _cuts(sides))
    return images * kept[:, None]


def _shifts(sides: Sequence[int]) -> list[int]:
    """Return by how many pixels images are moved at most, along each side."""
    return [int(side * SHIFT + 0.5) for side in sides]


def _cuts(sides: Sequence[int]) -> list[int]:
    """Return the sides of what is cut out."""
    return [int(side * CUT + 0.5) for side in sides]


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
