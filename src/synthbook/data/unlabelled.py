"""Generated images without labels: of a folder without class folders, or of an .npz."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from synthbook.data import files
from synthbook.data.npz import check_size, headers, images_of, oriented
from synthbook.data.shards import holds_shards


def is_unlabelled(path: Path) -> bool:
    """Return whether ``path`` is a folder of images only, or an .npz with ``images`` only."""
    if path.is_dir():
        loose = not (files.subfolders(path) or holds_shards(path))
        return loose and next(files.image_files(path), None) is not None
    names = set(headers(path)) if path.suffix == ".npz" and path.is_file() else set()
    return "images" in names and not {"labels", "x_train", "y_train"} & names


def count_unlabelled(path: Path, *, skip_unreadable: bool = False) -> int:
    """Return the number of images without labels, by their heads only.

    Raises:
        InputError: for an array that is none of images, and for unreadable files, unless skipped.
    """
    if path.is_dir():
        return len(_read(path, files.header, skip_unreadable)[0])
    head = headers(path)["images"]
    count = len(oriented(path, "images", head))
    check_size(path, {"images": head})
    return count


def read_unlabelled(
    path: Path, image_size: int, channels: int, *, skip_unreadable: bool
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return the images in the order of names, and the names of unreadable files left out.

    They are uint8 [N, image_size, image_size, channels].

    Raises:
        InputError: as `count_unlabelled`.
    """
    if path.is_dir():
        read, skipped = _read(
            path, lambda x: files.decode(x, image_size, channels), skip_unreadable
        )
        return files.conform(files.stack(read, path.name), 0, channels), skipped
    return images_of(path, "images", image_size, channels), ()


def _read(
    folder: Path, read: Callable[[Path], Any], skip_unreadable: bool
) -> tuple[list[Any], tuple[str, ...]]:
    """Return what is read of each image, and the unreadable files, refused unless skipped."""
    good, _, bad = files.readable(files.in_threads(read, sorted(files.image_files(folder))))
    if not skip_unreadable:
        files.refuse(bad, folder.name)
    return good, tuple(file.name for file in bad)
