"""Generated images that come without labels: a flat folder, or an .npz with ``images`` only."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from synthbook.data import npz as archives
from synthbook.data.files import (
    conform,
    decode,
    header,
    image_files,
    in_threads,
    readable,
    refuse,
    stack,
    subfolders,
)
from synthbook.errors import InputError

LEAST = 20  # images; with fewer no measure says anything


def is_unlabelled(path: Path) -> bool:
    """Return whether ``path`` is a folder of images only, or an .npz with ``images`` only."""
    if path.is_dir():
        return not subfolders(path) and next(image_files(path), None) is not None
    if path.suffix != ".npz" or not path.is_file():
        return False
    found = archives.headers(path)
    return "images" in found and not {"labels", "x_train", "y_train"} & set(found)


def check(path: Path, *, skip_unreadable: bool = False) -> int:
    """Return the number of images, by their heads only.

    Raises:
        InputError: if images are unreadable, of another type than uint8, or fewer than 20.
    """
    if path.is_dir():
        heads, _, bad = readable(in_threads(header, sorted(image_files(path))))
        if not skip_unreadable:
            refuse(bad, path.name)
        count = len(heads)
    else:
        count = len(archives.oriented(path, "images", archives.headers(path)["images"]))
    if count < LEAST:
        raise InputError(f"{path} has {count} images; give at least {LEAST} generated ones")
    return count


def read(path: Path, image_size: int, channels: int, *, skip_unreadable: bool) -> np.ndarray:
    """Return the images, uint8 [N, image_size, image_size, channels], in the order of names."""
    if not path.is_dir():
        return archives.images_of(path, "images", image_size, channels)
    files = sorted(image_files(path))
    images, _, bad = readable(in_threads(lambda one: decode(one, image_size, channels), files))
    if not skip_unreadable:
        refuse(bad, path.name)
    return conform(stack(images, path.name), 0, channels)
