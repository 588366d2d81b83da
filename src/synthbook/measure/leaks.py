"""Does a generator copy the augmentations of its discriminator's training?

DiffAugment (Zhao et al. 2020) fills with 0 in -1..1, which is 127.5 of 255: mid-grey squares come
from its cutout, mid-grey borders from its translation. Baek and Shim (2022, Appendix) saw cutout in
generated images where data were scarce, and call the FID of such images not meaningful.

Photographs may hold such areas by themselves (sky, walls, studio grounds): compare each rate with
that of the real images. Images are uint8 [N, H, W, 1 or 3]; ``tolerance`` is in grey levels, from
0.5 (127 and 128 only) to below 127.5, and all channels must be within it.
"""

from __future__ import annotations

import math

import numpy as np

from synthbook.measure.features import check_images

FILL = 127.5  # of 0..255: the zero of -1..1


def cutout_like(images: np.ndarray, *, part: float = 0.25, tolerance: float = 12) -> np.ndarray:
    """Return which images hold an even mid-grey square, bool [N].

    ``part`` is the side of the square over the image's shorter side, in (0, 1]; it is rounded, and
    at least 3 pixels. A quarter is the least that DiffAugment's cutout, of half the side and with
    its centre in the image, leaves inside.
    """
    from scipy.ndimage import minimum_filter1d

    grey = _mid_grey(images, tolerance)
    side = max(3, int(min(grey.shape[1:]) * part + 0.5))
    # A square window is all mid-grey if its columns are; beyond the border nothing is.
    for axis in (1, 2):
        grey = minimum_filter1d(grey, side, axis, mode="constant", cval=0)
    return grey.any((1, 2))


def shift_like(images: np.ndarray, *, tolerance: float = 12) -> np.ndarray:
    """Return which images have a mid-grey border on at least one of the four sides, bool [N].

    The border is one sixteenth of the side thick, rounded down, and at least a pixel;
    DiffAugment's translation shifts by up to an eighth.
    """
    grey = _mid_grey(images, tolerance)
    high, wide = (max(1, side // 16) for side in grey.shape[1:])
    borders = (grey[:, :high], grey[:, -high:], grey[:, :, :wide], grey[:, :, -wide:])
    return np.any([border.all((1, 2)) for border in borders], axis=0)


def _mid_grey(images: np.ndarray, tolerance: float) -> np.ndarray:
    """Return which pixels are mid-grey in every channel, bool [N, H, W]."""
    check_images(images)
    low, high = math.ceil(FILL - tolerance), math.floor(FILL + tolerance)
    return ((images >= low) & (images <= high)).all(-1)
