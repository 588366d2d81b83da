"""Filling many shapes of many images at once, without smoothing, later ones over earlier ones.

Every shape is convex, so it meets a row of pixels in one span. All spans of a batch are computed
together; then running sums tell which shapes cover a pixel, and the last drawn is on top. The work
hardly depends on how large the shapes are.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from synthbook.generate.primitives.shapes import CIRCLE, ELLIPSE, LINE, RECTANGLE

WORD = 53  # bits that a double holds exactly
_EDGE = 1e-6  # so that a pixel centre on an edge falls alike on every device
_TURNS = np.deg2rad(np.arange(180.0))
_COS_SIN = np.stack([np.cos(_TURNS), np.sin(_TURNS)], axis=-1)


class Spans(NamedTuple):
    """Runs of pixels: int64 ``[S]`` each; ``stop`` is the column after the last."""

    owner: Tensor  # which shape
    row: Tensor
    start: Tensor
    stop: Tensor


def _rows(top: Tensor, bottom: Tensor, resolution: int) -> tuple[Tensor, Tensor]:
    """Return (place in ``top``, row) of every row from ``top`` to ``bottom`` within the image."""
    first = top.clamp(min=0).to(torch.int64)
    count = (bottom.clamp(max=resolution - 1).to(torch.int64) + 1 - first).clamp_(min=0)
    place = torch.repeat_interleave(count)
    began = count.cumsum(0) - count
    row = torch.arange(len(place), device=place.device) + (first - began)[place]
    return place, row


def _ellipse(g: Tensor, resolution: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return place, row, first and last column of ellipses ``g`` ``[K, 5]``.

    Half an axis is 0.4 pixels longer than its number says: radius r covers 2 r + 1 pixels, and
    radius 1 is a plus sign, as with the usual integer circles (0.5 would make it a square).
    """
    turns = torch.from_numpy(_COS_SIN).to(g.device, g.dtype)
    cos, sin = turns[g[:, 4].to(torch.int64)].unbind(-1)
    a, b = g[:, 2] + 0.4, g[:, 3] + 0.4
    # p x^2 + 2 q x y + r y^2 <= 1 around the centre; the discriminant is p - y^2 / (a b)^2.
    p = (cos / a) ** 2 + (sin / b) ** 2
    q = cos * sin * (1 / a**2 - 1 / b**2)
    product = (a * b) ** 2
    reach = torch.sqrt(p * product)
    place, row = _rows(torch.ceil(g[:, 1] - reach), torch.floor(g[:, 1] + reach), resolution)
    slant, inverse = (q / p)[place], (1 / p)[place]
    y = row - g[:, 1][place]
    half = torch.sqrt((p[place] - y * y / product[place]).clamp_(min=0)) * inverse
    middle = g[:, 0][place] - slant * y
    return place, row, torch.ceil(middle - half - _EDGE), torch.floor(middle + half + _EDGE)


def _rectangle(g: Tensor, resolution: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return place, row, first and last column of rectangles ``g`` ``[K, 5]``."""
    place, row = _rows(g[:, 1], g[:, 1] + g[:, 3], resolution)
    left = g[:, 0][place]
    return place, row, left, left + g[:, 2][place]


def _line(g: Tensor, resolution: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return place, row, first and last column of lines ``g`` ``[K, 5]`` with flat ends.

    A line is where two strips cross: along it, and across it by its thickness. A thickness of 1
    is measured along the nearer axis, so that the line is one pixel wide and has no holes.
    """
    step = g[:, 2:4] - g[:, 0:2]
    length = torch.sqrt((step * step).sum(-1))
    along = step / length.clamp(min=1)[:, None]
    along[:, 0] += length == 0  # a point: the line of thickness t across it
    across = torch.stack([-along[:, 1], along[:, 0]], dim=-1)
    thin = along.abs().amax(-1)
    half = torch.where(g[:, 4] > 1, g[:, 4], thin) / 2
    reach = half * across[:, 1].abs() + 0.5 * along[:, 1].abs()
    top = torch.minimum(g[:, 1], g[:, 3]) - reach
    bottom = torch.maximum(g[:, 1], g[:, 3]) + reach
    place, row = _rows(torch.ceil(top), torch.floor(bottom), resolution)
    y = row - g[:, 1][place]
    first = torch.full_like(y, -torch.inf)
    last = torch.full_like(y, torch.inf)
    for normal, low, high in (
        (along, torch.full_like(half, -0.5), length + 0.5),
        (across, -half, half),
    ):
        nx = normal[:, 0]
        nx = torch.where(nx.abs() < 1e-9, 1e-9, nx)[place]
        rest = normal[:, 1][place] * y
        ends = (low[place] - _EDGE - rest) / nx, (high[place] - _EDGE - rest) / nx
        first = torch.maximum(first, torch.minimum(*ends))
        last = torch.minimum(last, torch.maximum(*ends))
    x = g[:, 0][place]
    far = 4.0 * resolution + 1024
    return (
        place,
        row,
        torch.ceil(x + first.clamp(-far, far)),
        torch.floor(x + last.clamp(-far, far)),
    )


_FAMILIES = ((_ellipse, (CIRCLE, ELLIPSE)), (_rectangle, (RECTANGLE,)), (_line, (LINE,)))


def spans(kind: Tensor, geometry: Tensor, resolution: int) -> Spans:
    """Return the spans of shapes, clipped to the image; empty ones have ``stop == start``.

    Args:
        kind: int64 ``[K]``.
        geometry: float64 ``[K, 5]``, see `Shapes`.
        resolution: side H.
    """
    parts = []
    for family, kinds in _FAMILIES:
        chosen = torch.nonzero(torch.isin(kind, torch.tensor(kinds, device=kind.device)))[:, 0]
        place, row, first, last = family(geometry[chosen], resolution)
        start = first.clamp_(0, resolution).to(torch.int64)
        stop = (last + 1).clamp_(0, resolution).to(torch.int64)
        parts.append((chosen[place], row, start, torch.maximum(start, stop)))
    return Spans(*(torch.cat(column) for column in zip(*parts, strict=True)))


def top_shapes(found: Spans, image: Tensor, number: Tensor, images: int, resolution: int) -> Tensor:
    """Return the highest number of the shapes that cover each pixel, 0 where there is none.

    Shape n is a bit of a whole number: it is added where a span of n starts and taken away where
    the span stops, so that running sums along the pixels are the sets of the shapes that cover
    them. As a double such a set has its highest bit in the exponent. Whole numbers have the same
    sum in every order.

    Args:
        found: spans of K shapes; one shape has at most one span a row.
        image, number: int64 ``[K]``: the image that a shape is in, and its number from 1 to
            `MOST_SHAPES`.
        images: number B of images.
        resolution: side H.

    Returns:
        int32 ``[B, H, H]``.
    """
    pixels = images * resolution**2
    row = (image[found.owner] * resolution + found.row) * resolution
    ends = torch.cat([row + found.start, row + found.stop])
    word, bit = (number - 1) // WORD, (number - 1) % WORD
    top = torch.zeros(pixels, dtype=torch.int32, device=row.device)
    # The largest temporaries are used again: fresh memory costs more than the sums.
    sums = torch.empty(pixels + 1, dtype=torch.int64, device=row.device)
    double = torch.empty(pixels, dtype=torch.float64, device=row.device)
    for place in range((int(number.max()) - 1) // WORD + 1 if len(number) else 0):
        value = torch.where(word == place, 1 << bit, 0)[found.owner]
        sums.zero_().scatter_add_(0, ends, torch.cat([value, -value])).cumsum_(0)
        exponent = double.copy_(sums[:pixels]).view(torch.int64).bitwise_right_shift_(52)
        # 0, or bit + 1023. The shift makes words follow each other; an empty word stays below 1023.
        torch.maximum(top, exponent.to(torch.int32).add_(WORD * place), out=top)
    return top.sub_(1022).clamp_(min=0).view(images, resolution, resolution)
