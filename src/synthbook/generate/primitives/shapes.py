"""The numbers behind an image: kinds, places, sizes and colours of its shapes, and exponents.

All of them come from one NumPy stream, on the CPU, so that every device draws the same shapes. The
numbers of shape n do not depend on the variant or on the number of shapes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from synthbook.generate.primitives.recipe import MOST_SHAPES, Primitives, size_range
from synthbook.randomness import numpy_generator

KINDS = ("line", "circle", "ellipse", "rectangle")
LINE, CIRCLE, ELLIPSE, RECTANGLE = range(4)
_KIND_OF_7 = np.array([0, 1, 1, 2, 2, 3, 3])  # the weights 1 : 2 : 2 : 2
_HEAD, _EACH = 24, 9  # uniform numbers an image, and a shape
_PERIOD = 1 << 128  # of PCG64


@dataclass(frozen=True)
class Shapes:
    """The drawn parameters of B images with M shapes each, in the order of drawing.

    Args:
        kind: int64 ``[B, M]``, an index of `KINDS`. The salient shape, if any, is the last one.
        geometry: float64 ``[B, M, 5]`` in whole pixels, the centre of the first being 0:
            line x0, y0, x1, y1, thickness; circle and ellipse cx, cy, half axis along x, half
            axis along y, clockwise turn in degrees; rectangle left, top, width, height, 0, which
            covers the pixels from left to left + width.
        colour: uint8 ``[B, M, 3]``.
        background: uint8 ``[B, 3]``, the flat ground.
        exponents: float64 ``[B, F, 3, 2]`` of F noise fields (ground, salient shape), by channel
            and axis (x, y).
    """

    kind: np.ndarray
    geometry: np.ndarray
    colour: np.ndarray
    background: np.ndarray
    exponents: np.ndarray

    def part(self, *places: slice | np.ndarray) -> Shapes:
        """Return the shapes at ``places`` of the first two axes, on the same grounds."""
        chosen = (getattr(self, name)[places] for name in ("kind", "geometry", "colour"))
        return Shapes(*chosen, self.background, self.exponents)


def slices(
    seed: int, purpose: str, indices: Sequence[int], *, length: int, taken: int
) -> Iterator[np.random.Generator]:
    """Yield one random generator, set to the start of a slice of its stream, for each index.

    An image's numbers are then a function of (seed, index), and images need no generators of their
    own, which would take longer to set up than a small image takes to draw. A slice has ``length``
    numbers of 64 bits, of which the caller takes ``taken`` each time; indices come in any order.
    """
    generator, place = numpy_generator(seed, purpose), 0
    for index in indices:
        start = int(index) * length
        if start != place:
            generator.bit_generator.advance((start - place) % _PERIOD)
        yield generator
        place = start + taken


def _whole(uniform: np.ndarray, low: np.ndarray | float, high: np.ndarray | float) -> np.ndarray:
    """Return whole numbers low..high-1 from uniform numbers in [0, 1)."""
    return np.floor(low + uniform * (np.asarray(high) - low))


def _bytes(uniform: np.ndarray) -> np.ndarray:
    return (uniform * 256).astype(np.uint8)


def _scattered(recipe: Primitives, u: np.ndarray, resolution: int) -> tuple[np.ndarray, np.ndarray]:
    """Return kind ``[B, N]`` and geometry ``[B, N, 5]`` of the shapes from ``u`` ``[B, N, 9]``."""
    low, high = size_range(recipe, resolution)
    extent = 255 if "fixed_canvas" in recipe.quirks else resolution - 1
    kind = _KIND_OF_7[(u[..., 0] * 7).astype(np.int64)]
    x, y, p, q, r = (u[..., column] for column in range(1, 6))
    width, height = _whole(p, low, high), _whole(q, low, high)
    line, round_ = kind == LINE, (kind == CIRCLE) | (kind == ELLIPSE)
    # A size of H/2 or more leaves a rectangle no room: its corner then stays in the first pixel.
    span = np.where(line, extent, np.where(round_, resolution, np.maximum(1, extent - high)))
    geometry = np.empty((*kind.shape, 5))
    geometry[..., 0], geometry[..., 1] = np.floor(x * span), np.floor(y * span)
    geometry[..., 2] = np.where(line, np.floor(p * extent), width)
    geometry[..., 3] = np.where(line, np.floor(q * extent), np.where(kind == CIRCLE, width, height))
    turn = np.where(kind == ELLIPSE, np.floor(r * 180), 0)
    geometry[..., 4] = np.where(line, _whole(r, low, high), turn)
    if "falling_lines" in recipe.quirks:
        first, second = geometry[..., 0:2], geometry[..., 2:4]
        ends = np.minimum(first, second), np.maximum(first, second)
        geometry[..., :4] = np.where(line[..., None], np.concatenate(ends, -1), geometry[..., :4])
    return kind, geometry


def _salient(u: np.ndarray, resolution: int) -> tuple[np.ndarray, np.ndarray]:
    """Return kind ``[B, 1]`` and geometry ``[B, 1, 5]`` of the large shape from ``[B, 5]``."""
    kind = 1 + (u[:, 0] * 3).astype(np.int64)  # never a line
    boxed, middle, off = kind == RECTANGLE, resolution // 2, max(1, resolution // 10)
    low = np.where(boxed, resolution / 8, middle - off)
    high = np.where(boxed, middle, middle + off)
    small = np.where(boxed, 3 * resolution / 8, resolution / 4)
    large = np.where(boxed, 3 * resolution / 4, 3 * resolution / 8)
    geometry = np.zeros((len(u), 5))
    geometry[:, 0:2] = _whole(u[:, 1:3].T, low, high).T
    geometry[:, 2:4] = _whole(u[:, 3:5].T, small, large).T
    geometry[:, 3] = np.where(kind == CIRCLE, geometry[:, 2], geometry[:, 3])
    return kind[:, None], geometry[:, None]


def draw_shapes(
    recipe: Primitives, indices: Sequence[int], *, resolution: int, seed: int
) -> Shapes:
    """Draw the parameters of images: a function of (seed, index) alone for each of them.

    All places and sizes are fractions of the ``resolution``, in whole pixels.
    """
    if recipe.variant == "PinkNoise":
        recipe = replace(recipe, shapes=0)
    count = recipe.shapes
    u = np.empty((len(indices), _HEAD + _EACH * count))
    each = {"length": _HEAD + _EACH * MOST_SHAPES, "taken": u.shape[1]}
    for row, generator in zip(u, slices(seed, "primitives", indices, **each), strict=True):
        generator.random(out=row)
    head, body = u[:, :_HEAD], u[:, _HEAD:].reshape(len(u), count, _EACH)
    low, high = recipe.exponents
    exponents = low + (high - low) * head[:, :12].reshape(-1, 2, 3, 2)[:, : recipe.fields]
    if recipe.tied_exponents:
        exponents = np.broadcast_to(exponents[:, :, :1, :1], exponents.shape)
    background = _bytes(head[:, 12:15])
    if "grey_background" in recipe.quirks:
        background = np.repeat(background[:, :1], 3, axis=1)
    kind, geometry = _scattered(recipe, body, resolution)
    colour = _bytes(body[..., 6:9])
    if recipe.salient:
        large, where = _salient(head[:, 15:20], resolution)
        kind = np.concatenate([kind, large], axis=1)
        geometry = np.concatenate([geometry, where], axis=1)
        colour = np.concatenate([colour, _bytes(head[:, None, 20:23])], axis=1)
    return Shapes(kind, geometry, colour, background, exponents)
