"""Filling many shapes of many images at once, without smoothing, later ones over earlier ones.

Every shape is convex, so it meets a row of pixels in one span. All spans of a batch are computed
together, and a pixel shows the highest number among the spans over it. The work hardly depends on
how large the shapes are.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from synthbook.generate.primitives.shapes import LINE, RECTANGLE

_EDGE = 1e-6  # so that a pixel centre on an edge falls alike on every device
_TURNS = np.deg2rad(np.arange(180.0))
_COS_SIN = np.stack([np.cos(_TURNS), np.sin(_TURNS)], axis=-1)


class Spans(NamedTuple):
    """Runs of pixels: int64 ``[S]`` each; ``stop`` is the column after the last."""

    owner: Tensor  # which shape
    row: Tensor  # counted through the images of a batch, one below the other
    start: Tensor
    stop: Tensor


def _rows(top: Tensor, bottom: Tensor, above: Tensor, resolution: int) -> tuple[Tensor, Tensor]:
    """Return (place in ``top``, row) of every row from ``top`` to ``bottom`` within the image.

    ``above`` is the number of rows of earlier images.
    """
    first = top.ceil_().clamp_(min=0).to(torch.int64)
    last = bottom.floor_().clamp_(max=resolution - 1).to(torch.int64)
    count = (last.add_(1) - first).clamp_(min=0)
    place = torch.repeat_interleave(count)
    shift = first - count.cumsum(0) + count + above
    row = torch.arange(len(place), device=place.device).add_(shift.index_select(0, place))
    return place, row


def _round_or_box(kind: Tensor, g: Tensor, above: Tensor, resolution: int) -> tuple[Tensor, ...]:
    """Return place, row, first and last column of ellipses and rectangles ``g`` ``[K, 5]``.

    Both are the columns x with ``(x - middle + slant y)^2 <= widest - narrower y^2`` in row y from
    the middle; a rectangle has neither slant nor narrowing. Half an axis of an ellipse is 0.4
    pixels longer than its number says: radius r covers 2 r + 1 pixels, and radius 1 is a plus sign,
    as with the usual integer circles (0.5 would make it a square).
    """
    x, y, p, q, turn = g.unbind(-1)
    box = kind == RECTANGLE
    turns = torch.from_numpy(_COS_SIN).to(g.device, g.dtype)
    cos, sin = turns[turn.to(torch.int64)].unbind(-1)
    a, b = p + 0.4, q + 0.4
    # A x^2 + 2 B x y + C y^2 <= 1 around the centre; the discriminant is A - y^2 / (a b)^2.
    coefficient = (cos / a) ** 2 + (sin / b) ** 2
    slant = torch.where(box, 0.0, cos * sin * (1 / a**2 - 1 / b**2) / coefficient)
    widest = torch.where(box, p * p / 4, 1 / coefficient)
    narrower = torch.where(box, 0.0, (coefficient * a * b) ** -2)
    reach = torch.where(box, q, torch.sqrt(coefficient) * a * b)
    top = torch.where(box, y, y - reach)
    place, row = _rows(top, y + reach, above, resolution)
    from_middle = row - (y + above).index_select(0, place)
    half = (from_middle * from_middle).mul_(narrower.index_select(0, place)).neg_()
    half.add_(widest.index_select(0, place)).clamp_(min=0).sqrt_().add_(_EDGE)
    middle = torch.where(box, x + p / 2, x).index_select(0, place)
    middle.sub_(from_middle.mul_(slant.index_select(0, place)))
    return place, row, (middle - half).ceil_(), middle.add_(half).floor_()


def _line(g: Tensor, above: Tensor, resolution: int) -> tuple[Tensor, ...]:
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
    place, row = _rows(top, bottom, above, resolution)
    y = row - (g[:, 1] + above).index_select(0, place)
    ends = []
    for normal, low, high in (
        (along, torch.full_like(half, -0.5), length + 0.5),
        (across, -half, half),
    ):
        nx = normal[:, 0]
        nx = torch.where(nx.abs() < 1e-9, 1e-9, nx)
        one, other = (low - _EDGE) / nx + g[:, 0], (high - _EDGE) / nx + g[:, 0]
        rest = y * (normal[:, 1] / nx).index_select(0, place)
        left, right = torch.minimum(one, other), torch.maximum(one, other)
        ends.append((left.index_select(0, place) - rest, right.index_select(0, place) - rest))
    (first, last), (left, right) = ends
    return place, row, torch.maximum(first, left).ceil_(), torch.minimum(last, right).floor_()


def spans(kind: Tensor, geometry: Tensor, image: Tensor, resolution: int) -> Spans:
    """Return the spans of shapes, clipped to the image; empty ones have ``stop == start``.

    Of K shapes kind int64 ``[K]``, geometry float64 ``[K, 5]`` (see `Shapes`), and the number
    of the image that each is in, int64 ``[K]``.
    """
    above, parts = image * resolution, []
    for lines in (False, True):
        chosen = torch.nonzero((kind == LINE) == lines)[:, 0]
        given = geometry.index_select(0, chosen), above.index_select(0, chosen), resolution
        place, *where = _line(*given) if lines else _round_or_box(kind[chosen], *given)
        parts.append((chosen.index_select(0, place), *where))
    owner, row, first, last = (torch.cat(column) for column in zip(*parts, strict=True))
    start = first.clamp_(0, resolution).to(torch.int64)
    stop = last.add_(1).clamp_(0, resolution).to(torch.int64)
    return Spans(owner, row, start, torch.maximum(start, stop))


def top_shapes(found: Spans, number: Tensor, images: int, resolution: int) -> Tensor:
    """Return the highest number of the shapes that cover each pixel, 0 where there is none.

    A span is covered by two runs of the largest power of two of pixels that fits. The numbers of
    runs are kept where the runs start, one table for each length; then from the longest to the
    shortest each run hands its number to its two halves. A maximum is the same in every order.

    ``number`` int64 ``[K]`` is that of a shape in its image, from 1 to `MOST_SHAPES`, and
    ``images`` how many images there are. Returns whole numbers ``[B, H, H]``.
    """
    device, pixels = found.row.device, images * resolution**2
    tables = resolution.bit_length()
    most = int(number.max()) if len(number) else 0
    # A GPU takes maxima of 32 bits at once; on a CPU small numbers are quick to move.
    dtype = torch.int32 if device.type != "cpu" else torch.uint8 if most < 256 else torch.int16
    table = torch.zeros(tables * pixels + 1, dtype=dtype, device=device)
    log2 = torch.tensor([0, *(n.bit_length() - 1 for n in range(1, resolution + 1))], device=device)
    length = found.stop - found.start
    level = log2.index_select(0, length)
    run = torch.bitwise_left_shift(1, level)
    value = number.to(dtype).index_select(0, found.owner).mul_(length > 0)
    place = torch.add(found.start, found.row, alpha=resolution).add_(level, alpha=pixels)
    table.scatter_reduce_(0, place, value, "amax")
    # An empty span has a run of 1 and the number 0: it changes nothing, wherever it lies.
    table.scatter_reduce_(0, place.add_(length.sub_(run).clamp_(min=0)), value, "amax")
    runs = table[:-1].view(tables, pixels)
    for level in range(tables - 2, -1, -1):
        long, half, step = runs[level + 1], runs[level], 1 << level
        torch.maximum(half, long, out=half)
        torch.maximum(half[step:], long[:-step], out=half[step:])
    return runs[0].view(images, resolution, resolution)
