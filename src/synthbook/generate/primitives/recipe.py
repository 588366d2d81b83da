"""What is drawn: the four synthesizers of Primitives-PS and their settings."""

from __future__ import annotations

from typing import Annotated, get_args

import numpy as np

from synthbook.errors import InputError
from synthbook.settings import Exponent, Listed, Quirk, Shapes, SizePolicy, Variant, settings

VARIANTS: tuple[str, ...] = get_args(Variant)
POLICIES: tuple[str, ...] = get_args(SizePolicy)
QUIRKS = {
    "grey_background": "the background of the flat variants is grey: one value for all channels",
    "falling_lines": "end points of lines are sorted, so that every line runs down to the right",
    "fixed_canvas": "positions of lines and rectangles stay in 0..255 at every resolution",
    "pixel_frequencies": "frequencies of the noise are counted a pixel, at every resolution",
    "worker_streams": "in a Dataset, every worker draws the same images, whatever index is asked",
}
PUBLIC_CODE = tuple(QUIRKS)  # all that the authors' public code does

SMALLEST, LARGEST = 8, 4096  # resolutions
MOST_SHAPES = 1000  # shapes.py leaves room for the numbers of so many


@settings
class Primitives:
    """A synthesizer of Primitives-PS (Baek and Shim 2022, section 3).

    Args:
        variant: ``PinkNoise``, ``Primitives`` (flat shapes on a flat ground), ``Primitives-S`` (and
            one large flat shape near the middle), ``Primitives-PS`` (pink noise on that shape and
            on the ground).
        shapes: number N of shapes before the large one; 0 with ``Primitives-PS`` is the paper's
            PinkNoise + PS. ``PinkNoise`` has none.
        size_policy: ``Decay`` (largest size falls linearly from H/5), ``Rand`` (up to H/2), or
            ``Fix(1/10)``, ``Fix(1/5)``, ``Fix(1/2)`` of H for every shape.
        exponents: range of the spectral exponent a in ``1 / (|f_x|^a + |f_y|^a)``.
        tied_exponents: one exponent a noise field, as in the paper's formula; False draws one
            for each axis and channel, as the public code does.
        quirks: peculiarities of the public code to switch on, of `QUIRKS`.
    """

    variant: Variant = "Primitives-PS"
    shapes: Shapes = 100
    size_policy: SizePolicy = "Decay"
    exponents: Annotated[tuple[Exponent, Exponent], Listed] = (0.5, 3.5)
    tied_exponents: bool = False
    quirks: Annotated[tuple[Quirk, ...], Listed] = ()

    def __post_init__(self) -> None:
        if self.exponents[0] > self.exponents[1]:
            raise InputError(f"exponents = {self.exponents}; give the lower end first")

    @property
    def fields(self) -> int:
        """Number of pink-noise fields in an image: background, and salient shape."""
        return {"PinkNoise": 1, "Primitives-PS": 2}.get(self.variant, 0)

    @property
    def salient(self) -> bool:
        """Whether there is one large shape near the middle."""
        return self.variant in ("Primitives-S", "Primitives-PS")

    @property
    def count(self) -> int:
        """Number of shapes in an image, the salient one included."""
        return 0 if self.variant == "PinkNoise" else self.shapes + self.salient


def check_resolution(resolution: int) -> int:
    """Return the resolution, or raise InputError if it is no power of two from 8 to 4096."""
    whole = isinstance(resolution, int | np.integer) and not isinstance(resolution, bool)
    if not whole or not SMALLEST <= resolution <= LARGEST or resolution & (resolution - 1):
        raise InputError(
            f"resolution = {resolution} is no power of two from {SMALLEST} to {LARGEST}; "
            "give 32, 64, 128 or 256"
        )
    return int(resolution)


def shapes_at(resolution: int) -> int:
    """Return the number of shapes of an image: the paper's 100, 50 at 32 pixels, 30 below.

    A shape is at least a pixel wide, so that a hundred of them cover a small image. They leave 35
    percent of the ground to be seen at 256 pixels, 14 at 32 and 4 at 16; 50 leave 33 at 32 pixels,
    and 30 of them 29 at 16.
    """
    if resolution < 32:
        return 30
    return 100 if resolution >= 64 else 50


def size_range(recipe: Primitives, resolution: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the sizes in pixels that shape n may have: int64 ``[N]`` lowest, and highest + 1.

    A size is a radius, a half axis, a side or a thickness. ``Decay`` is the public code's
    ``round(floor(H/5) (N - n)/N + 2)``; the paper's text leaves out the 2, which keeps the last
    shapes visible (appendix, section 1). The range of ``Rand`` is not printed: 1..H/2 here.
    """
    count, policy = recipe.shapes, recipe.size_policy
    if policy == "Decay":
        left = np.arange(count, 0, -1)
        high = np.rint(resolution // 5 * left / max(1, count) + 2).astype(np.int64)
    elif policy == "Rand":
        high = np.full(count, resolution // 2 + 1)
    else:
        part = int(policy.removeprefix("Fix(1/").removesuffix(")"))
        high = np.full(count, max(1, round(resolution / part)) + 1)
    return high - 1 if policy.startswith("Fix") else np.ones(count, np.int64), high
