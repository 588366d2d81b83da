"""Two photographs that are always at hand: scikit-learn's samples, a temple and a flower."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from synthbook.errors import InputError
from synthbook.randomness import numpy_generator

NAMES = ("china", "flower")


def photographs() -> dict[str, np.ndarray]:
    """Return name -> photograph, uint8 ``[427, 640, 3]``.

    The files are read where scikit-learn keeps them, because importing ``sklearn.datasets`` takes
    seconds.
    """
    from PIL import Image

    found = importlib.util.find_spec("sklearn")
    if found is None or not found.origin:
        raise InputError("scikit-learn is not installed; install it for its sample photographs")
    folder = Path(found.origin).parent / "datasets" / "images"
    return {name: np.asarray(Image.open(folder / f"{name}.jpg").convert("RGB")) for name in NAMES}


def crops(
    images: Mapping[str, np.ndarray], count: int, size: int, seed: int
) -> dict[str, np.ndarray]:
    """Return ``count`` random squares of each image: name -> uint8 ``[count, size, size, 3]``.

    Args:
        images: name -> uint8 ``[H, W, 3]``.
        count: squares of each.
        size: their side in pixels.
        seed: of their places.

    Raises:
        InputError: if an image is smaller than a square.
    """
    found = {}
    for name, image in images.items():
        height, width = image.shape[:2]
        if min(height, width) < size:
            raise InputError(
                f"'{name}' has {width} x {height} pixels, less than squares of {size}; "
                "give a smaller size"
            )
        rng = numpy_generator(seed, "crops", name)
        top = rng.integers(0, height - size + 1, count)
        left = rng.integers(0, width - size + 1, count)
        parts = [image[y : y + size, x : x + size] for y, x in zip(top, left, strict=True)]
        found[name] = np.stack(parts)
    return found
