"""Images in an .npz archive: its headers first, its arrays when they are asked for."""

from __future__ import annotations

import math
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from synthbook.data.registry import Entry
from synthbook.data.sources import Source, read_array
from synthbook.errors import InputError

WANTED = "x_train, y_train, x_test, y_test (and x_val, y_val, names) or images, labels"
DAMAGED = (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, KeyError)


@dataclass(frozen=True)
class Header:
    """Shape and type of an array in an archive."""

    shape: tuple[int, ...]
    dtype: np.dtype


def headers(path: Path) -> dict[str, Header]:
    """Return array name -> header of the archive, without reading the arrays.

    Raises:
        InputError: if the file is no archive of arrays, or an array in it is cut short.
    """
    found = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                if not info.filename.endswith(".npy"):
                    continue
                with archive.open(info) as stream:
                    version = np.lib.format.read_magic(stream)
                    read = {
                        (1, 0): np.lib.format.read_array_header_1_0,
                        (2, 0): np.lib.format.read_array_header_2_0,
                    }[version]
                    shape, _, dtype = read(stream)
                    start = stream.tell()
                if not dtype.hasobject and (
                    info.file_size - start != math.prod(shape) * dtype.itemsize
                ):
                    raise ValueError(f"the array {info.filename[:-4]} is cut short")
                found[info.filename.removesuffix(".npy")] = Header(shape, dtype)
    except DAMAGED as error:
        raise InputError(
            f"{path} is no readable .npz archive ({error}); write it with np.savez_compressed"
        ) from error
    return found


def array(path: Path, key: str) -> np.ndarray:
    """Return one array of the archive; never unpickles."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            return archive[key]
    except DAMAGED as error:
        raise InputError(
            f"'{key}' in {path} cannot be read ({error}); write the file again with "
            "np.savez_compressed"
        ) from error


def parts_of(path: Path, found: dict[str, Header]) -> dict[str, tuple[str, str]]:
    """Return part -> (key of the images, key of the labels)."""
    if {"images", "labels"} <= set(found):
        return {"pool": ("images", "labels")}
    keys = {part: (f"x_{part}", f"y_{part}") for part in ("train", "val", "test")}
    if not {"x_val", "y_val"} & set(found):
        del keys["val"]
    missing = [key for pair in keys.values() for key in pair if key not in found]
    if missing:
        raise InputError(
            f"{path} lacks {', '.join(missing)}: it holds {', '.join(sorted(found)) or 'nothing'}; "
            f"name its arrays {WANTED}"
        )
    return keys


def axes(path: Path, key: str, header: Header) -> tuple[int, ...]:
    """Return the order of axes that makes the images [N, H, W] or [N, H, W, C].

    [N, C, H, W] is recognised by a second axis of 1 or 3 where the last one is neither.

    Raises:
        InputError: if the images are not uint8, or have another shape.
    """
    if header.dtype.hasobject:
        raise InputError(
            f"'{key}' in {path} holds Python objects, which are not read; save it as a uint8 array"
        )
    if header.dtype != np.uint8:
        remedy = "with values 0..255"
        if np.issubdtype(header.dtype, np.floating):
            remedy = "for values 0..1: (255 * x).round().astype('uint8')"
        raise InputError(f"'{key}' in {path} is {header.dtype}; save it as uint8, {remedy}")
    shape = header.shape
    if len(shape) == 3:
        return (0, 1, 2)
    if len(shape) == 4 and shape[3] in (1, 3):
        return (0, 1, 2, 3)
    if len(shape) == 4 and shape[1] in (1, 3):
        return (0, 2, 3, 1)
    raise InputError(
        f"'{key}' in {path} has the shape {list(shape)}; save it as [N, H, W], [N, H, W, 1] "
        "or [N, H, W, 3]"
    )


def labels_of(path: Path, key: str, count: int, images: str) -> np.ndarray:
    """Return the labels as int64 [N]; [N, 1] is taken as [N].

    Raises:
        InputError: if they are not integers from 0 up, or not as many as the images.
    """
    labels = array(path, key)
    if not np.issubdtype(labels.dtype, np.integer):
        raise InputError(
            f"'{key}' in {path} is {labels.dtype}; save labels as integers 0, 1, 2, ..."
        )
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1:
        raise InputError(
            f"'{key}' in {path} has the shape {list(labels.shape)}; save one integer an image "
            "(one-hot labels: labels.argmax(1))"
        )
    if len(labels) != count:
        raise InputError(
            f"{path} has {count} images in '{images}' but {len(labels)} labels in '{key}'; "
            "save one label an image"
        )
    if not count:
        raise InputError(f"'{images}' in {path} has no image; save at least two classes of them")
    return labels.astype(np.int64)


def names_of(path: Path, found: dict[str, Header]) -> tuple[str, ...]:
    """Return the class names in ``names`` or ``classes``, or () if there are none."""
    for key in ("names", "classes"):
        if key in found:
            if found[key].dtype.kind not in "US" or len(found[key].shape) != 1:
                raise InputError(
                    f"'{key}' in {path} is {found[key].dtype} {list(found[key].shape)}; save it as "
                    "a list of strings, one a class: np.array(names, dtype=str)"
                )
            return tuple(str(name) for name in array(path, key).astype(str))
    return ()


def open_npz(path: Path, entry: Entry | None = None) -> Source:
    """Return the source of an archive; reads headers and labels, not the images.

    Classes are called by ``names`` (or ``classes``), by the named set's own list, or by number.

    Raises:
        InputError: see the functions above, and for labels out of range.
    """
    found = headers(path)
    keys = parts_of(path, found)
    order = {part: axes(path, pair[0], found[pair[0]]) for part, pair in keys.items()}
    labels = {part: labels_of(path, y, found[x].shape[0], x) for part, (x, y) in keys.items()}
    low = min(int(values.min()) for values in labels.values())
    high = max(int(values.max()) for values in labels.values())
    names = names_of(path, found)
    if not names and entry and high + 1 == len(entry.classes):
        names = entry.classes
    if low < 0 or (names and high >= len(names)) or (not names and low > 0):
        last = f"{len(names) - 1}" if names else f"{high - low}"
        raise InputError(f"labels in {path} run from {low} to {high}; number them from 0 to {last}")
    if not names:
        names = tuple(str(k) for k in range(high + 1))
    if len(names) < 2:
        raise InputError(f"{path} has one class only, '{names[0]}'; save at least two")

    def read(part: str, image_size: int, channels: int) -> tuple:
        images = array(path, keys[part][0]).transpose(order[part])
        images = images if images.ndim == 4 else images[..., None]
        return read_array(np.ascontiguousarray(images), image_size, channels)

    shapes = frozenset(
        tuple(found[pair[0]].shape[axis] for axis in order[part][1:3])
        for part, pair in keys.items()
    )
    return Source(
        name=entry.name if entry else path.stem,
        classes=names,
        labels=labels,
        read=read,
        origin=entry.origin if entry else f"arrays in {path}",
        licence=entry.licence if entry else "as their owner says",
        shapes=shapes,
    )
