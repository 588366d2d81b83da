"""Pixels: from image files of any kind, or arrays, to uint8 [N, S, S, C].

One rule for all: orientation as EXIF says, transparency over white, 16-bit grey divided by 257,
then a centre crop to a square, then PIL's bicubic resize, which is antialiased when it shrinks.
Images that have the wanted size already are not touched.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image, ImageOps

from synthbook.errors import InputError

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Unreadable:
    """An image that could not be decoded: its name and why."""

    name: str
    reason: str


def in_threads(work: Callable[[T], R], items: Sequence[T]) -> list[R]:
    """Return ``work`` of every item, in order; PIL frees the interpreter while it decodes."""
    size = max(1, min(256, len(items) // 16))
    groups = [items[start : start + size] for start in range(0, len(items), size)]
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        return list(chain.from_iterable(pool.map(lambda group: [work(x) for x in group], groups)))


def plain(image: Image.Image) -> Image.Image:
    """Return ``image`` upright as mode "L" (grey) or "RGB", 8 bits.

    Raises:
        ValueError: for float and 32-bit pixels, whose range nothing tells.
    """
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image)
        if image.mode == "F" or values.min(initial=0) < 0 or values.max(initial=0) > 65535:
            raise ValueError("its pixels are float or 32-bit; save it with 8 or 16 bits")
        return Image.fromarray(((values.astype(np.uint32) + 128) // 257).astype(np.uint8))
    if image.has_transparency_data:
        grey = image.mode in ("L", "LA", "La", "1")
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("L" if grey else "RGB")
    return image.convert("L" if image.mode in ("1", "L") else "RGB")


def square(image: Image.Image, image_size: int) -> Image.Image:
    """Crop the centre square and resize it to ``image_size`` pixels (0: leave the image be)."""
    if not image_size or image.size == (image_size, image_size):
        return image
    wide, high = image.size
    if wide != high:
        side = min(wide, high)
        left, top = (wide - side) // 2, (high - side) // 2
        image = image.crop((left, top, left + side, top + side))
    return image.resize((image_size, image_size), Image.Resampling.BICUBIC)


def pixels(image: Image.Image, image_size: int, channels: int) -> np.ndarray:
    """Return uint8 [S, S, C] of one image; ``channels`` 0 gives C = 1 or 3 as the image is."""
    image = plain(image)
    if channels:
        image = image.convert("L" if channels == 1 else "RGB")
    array = np.asarray(square(image, image_size))
    return array[..., None] if array.ndim == 2 else array


def decode(path: Path, image_size: int, channels: int) -> np.ndarray | Unreadable:
    """Return ``pixels`` of the file, or why it has none."""
    try:
        with Image.open(path) as image:
            return pixels(image, image_size, channels)
    except Exception as error:  # decoders of damaged files raise nearly anything
        return Unreadable(str(path), reason(error))


def header(path: Path) -> tuple[int, int] | Unreadable:
    """Return (width, height) from the file's head, or why it has none; reads no pixels."""
    try:
        with Image.open(path) as image:
            return image.size
    except Exception as error:  # as above
        return Unreadable(str(path), reason(error))


def reason(error: Exception) -> str:
    """Return the error in a few words, without the file's path."""
    if isinstance(error, Image.UnidentifiedImageError):
        return "it is no image file that PIL knows"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


def refuse(bad: Sequence[Unreadable], name: str) -> None:
    """Raise InputError that names the first unreadable files, if there are any."""
    if not bad:
        return
    more = f" and {len(bad) - 3} more" if len(bad) > 3 else ""
    shown = ", ".join(f"{one.name} ({one.reason})" for one in bad[:3])
    raise InputError(
        f"'{name}' has {len(bad)} unreadable image(s): {shown}{more}; replace or delete them, "
        "or set skip_unreadable=True"
    )


def stack(arrays: Iterable[np.ndarray], name: str) -> np.ndarray:
    """Return uint8 [N, S, S, C] of arrays [S, S, C]; C = 3 if any has 3, else 1.

    Raises:
        InputError: if sizes differ or are not square.
    """
    arrays = list(arrays)
    shapes = {array.shape[:2] for array in arrays}
    one_size(shapes, name)
    channels = max((array.shape[2] for array in arrays), default=1)
    high, wide = shapes.pop() if shapes else (1, 1)
    out = np.empty((len(arrays), high, wide, channels), dtype=np.uint8)
    for place, array in zip(out, arrays, strict=True):
        place[:] = array  # a grey image is repeated over the channels
    return out


def one_size(shapes: set[tuple[int, int]], name: str) -> None:
    """Raise InputError unless all (height, width) are one square size."""
    if len(shapes) > 1 or any(high != wide for high, wide in shapes):
        raise InputError(
            f"images of '{name}' are {spread(shapes)} pixels; set image_size, which crops them "
            "to squares and resizes them to one size"
        )


def spread(shapes: Iterable[tuple[int, int]]) -> str:
    """Return "28 x 28", or "between 96 x 96 and 96 x 310", of (height, width) pairs."""
    shapes = sorted(set(shapes), key=lambda shape: (shape[0] * shape[1], shape))
    (high, wide), (higher, wider) = shapes[0], shapes[-1]
    if len(shapes) == 1:
        return f"{high} x {wide}"
    return f"between {high} x {wide} and {higher} x {wider}"


def conform(images: np.ndarray, image_size: int, channels: int) -> np.ndarray:
    """Return uint8 [N, H, W, C] at ``image_size`` and ``channels`` (0: as they are).

    Grey from RGB is ITU-R 601 luma in PIL's own fixed-point arithmetic, so that an array and a
    file of the same pixels give the same numbers.
    """
    if channels == 1 and images.shape[3] == 3:
        red, green, blue = np.moveaxis(images.astype(np.uint32), 3, 0)
        grey = (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16
        images = grey.astype(np.uint8)[..., None]
    if image_size and images.shape[1:3] != (image_size, image_size):
        resized = in_threads(
            lambda image: np.asarray(square(Image.fromarray(image), image_size)),
            images if images.shape[3] == 3 else images[..., 0],
        )
        images = np.stack(resized).reshape(len(images), image_size, image_size, -1)
    if channels == 3 and images.shape[3] == 1:
        images = np.repeat(images, 3, axis=3)
    return images
