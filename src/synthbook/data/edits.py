"""Edits of images whose features are read again: paste, erase, sketch, and take the colours away.

Pure functions on uint8 [N, H, W, C], C = 1 or 3, to new images of the same shape; each image is
edited by itself. They are the four manipulations of the Data Instance Prior (Sec. 5.3).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from synthbook.errors import InputError, check_choice
from synthbook.randomness import numpy_generator

LUMA = (0.299, 0.587, 0.114)  # of red, green and blue (ITU-R BT.601)
MIDDLE = 127  # of the pixels' range: 0 for a network
EDITS = ("none", "paste", "erase", "sketch", "grey")
MASKS = ("paste", "erase")  # those with a box


class Box(NamedTuple):
    """The pixels of rows ``top`` .. ``top + height - 1`` and columns ``left`` .. likewise."""

    top: int
    left: int
    height: int
    width: int


def random_box(height: int, width: int, share: float, draw: np.random.Generator) -> Box:
    """Return a box of the image's proportions with about ``share`` of its area, anywhere inside.

    Both sides are sqrt(``share``) of the image's, rounded, and one pixel at least (Yun et al. 2019,
    Eq. 2, whose boxes are cut off at the border where these are moved inside).
    """
    if not 0 < share <= 1:
        raise InputError(
            f"share is {share}; give the part of the image that a box takes, in (0, 1]"
        )
    high, wide = (max(1, round(side * share**0.5)) for side in (height, width))
    top, left = draw.integers(height - high + 1), draw.integers(width - wide + 1)
    return Box(int(top), int(left), high, wide)


def paste(images: np.ndarray, others: np.ndarray, box: Box) -> np.ndarray:
    """Return ``images`` with the box of ``others`` in its place (CutMix; Yun et al. 2019, Eq. 1).

    ``others`` are of the same shape, or one image for all.
    """
    _check(images, box)
    if (
        others.dtype != np.uint8
        or others.shape[1:] != images.shape[1:]
        or (len(others) not in (1, len(images)))
    ):
        raise InputError(
            f"others are {others.dtype} {list(others.shape)}; give uint8 {list(images.shape)}, or "
            "one image for all"
        )
    rows, columns = _inside(box)
    edited = images.copy()
    edited[:, rows, columns] = others[:, rows, columns]
    return edited


def erase(images: np.ndarray, box: Box, value: int = MIDDLE) -> np.ndarray:
    """Return ``images`` with ``value`` in the box (CutOut; DeVries & Taylor 2017)."""
    _check(images, box)
    rows, columns = _inside(box)
    edited = images.copy()
    edited[:, rows, columns] = value
    return edited


def grey(images: np.ndarray) -> np.ndarray:
    """Return ``images`` without colour: each pixel's luma in all channels."""
    _check(images)
    return np.repeat(np.rint(_luma(images)).astype(np.uint8)[..., None], images.shape[3], axis=3)


def sketch(images: np.ndarray, blur: float = 0.7) -> np.ndarray:
    """Return dark lines on white where the luma changes: its gradient after a Gaussian blur.

    ``blur`` is the Gaussian's standard deviation in pixels. The steepest edge of an image is black,
    so that neither brightness nor contrast matter; an image of one colour is white.
    """
    from scipy.ndimage import gaussian_filter

    _check(images)
    spread, luma = (0, blur, blur), _luma(images)
    steepness = np.hypot(*(gaussian_filter(luma, spread, o) for o in ((0, 1, 0), (0, 0, 1))))
    steepest = steepness.max((1, 2), keepdims=True)
    lines = steepness / np.where(steepest > 1e-6, steepest, np.inf)  # below: rounding
    return np.repeat(np.rint(255 * (1 - lines)).astype(np.uint8)[..., None], images.shape[3], 3)


def edited(images: np.ndarray, edit: str, *, share: float, seed: int) -> np.ndarray:
    """Return edited images, uint8 [N, H, W, C], each with a box of its own where there is one.

    "paste" shows a box of the next image (CutMix), "erase" a grey one (CutOut), of about ``share``
    of the area; "sketch" and "grey" take all of it, and "none" leaves it.
    """
    check_choice("edit", edit, EDITS)
    if edit not in MASKS:
        return {"none": lambda x: x, "sketch": sketch, "grey": grey}[edit](images)
    high, wide = images.shape[1:3]
    found = []
    for k, other in enumerate(np.roll(images, -1, axis=0)):
        box = random_box(high, wide, share, numpy_generator(seed, "box", k))
        one = images[k : k + 1]
        found.append(paste(one, other[None], box) if edit == "paste" else erase(one, box))
    return np.concatenate(found)


def _luma(images: np.ndarray) -> np.ndarray:
    """Return float64 [N, H, W] in 0..255."""
    return images[..., 0].astype(np.float64) if images.shape[3] == 1 else images @ np.array(LUMA)


def _inside(box: Box) -> tuple[slice, slice]:
    return slice(box.top, box.top + box.height), slice(box.left, box.left + box.width)


def _check(images: np.ndarray, box: Box | None = None) -> None:
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] not in (1, 3):
        raise InputError(
            f"images are {images.dtype} {list(images.shape)}; give uint8 [N, H, W, C] with C 1 or 3"
        )
    high, wide = images.shape[1:3]
    if box and not (
        0 <= box.top < box.top + box.height <= high and 0 <= box.left < box.left + box.width <= wide
    ):
        raise InputError(
            f"{box} is not inside images of {high} x {wide} pixels; give a smaller one"
        )
