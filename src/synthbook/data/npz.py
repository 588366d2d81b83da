"""Images in an .npz archive: its headers first, its arrays when they are asked for."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np

from synthbook.data.files import Unread, conform
from synthbook.errors import InputError

WANTED = "x_train, y_train, x_test, y_test (and x_val, y_val, names) or images, labels"
DAMAGED = (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, KeyError)


def headers(path: Path) -> dict[str, np.ndarray]:
    """Return array name -> an array of that shape and type without content, in no memory."""
    form, heads = np.lib.format, {}
    readers = {(1, 0): form.read_array_header_1_0, (2, 0): form.read_array_header_2_0}
    try:
        with zipfile.ZipFile(path) as archive:
            for file in [name for name in archive.namelist() if name.endswith(".npy")]:
                with archive.open(file) as stream:
                    shape, _, dtype = readers[form.read_magic(stream)](stream)
                heads[file.removesuffix(".npy")] = np.broadcast_to(np.empty((), dtype), shape)
    except DAMAGED as error:
        raise InputError(
            f"{path} is no readable .npz archive ({error}); write it with np.savez_compressed"
        ) from error
    return heads


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


def oriented(path: Path, key: str, images: np.ndarray) -> np.ndarray:
    """Return a view of images, or of their header, as [N, H, W, C].

    [N, C, H, W] has a second axis of 1 or 3 and a last one that is neither.
    """
    if images.dtype != np.uint8:
        remedy = "with values 0..255"
        if np.issubdtype(images.dtype, np.floating):
            remedy = "for values 0..1: (255 * x).round().astype('uint8')"
        raise InputError(f"'{key}' in {path} is {images.dtype}; save it as uint8, {remedy}")
    if images.ndim == 3:
        return images[..., None]
    if images.ndim == 4 and images.shape[3] in (1, 3):
        return images
    if images.ndim == 4 and images.shape[1] in (1, 3):
        return images.transpose(0, 2, 3, 1)
    raise InputError(
        f"'{key}' in {path} has the shape {list(images.shape)}; save it as [N, H, W], "
        "[N, H, W, 1] or [N, H, W, 3]"
    )


def images_of(path: Path, key: str, image_size: int, channels: int) -> np.ndarray:
    """Return the images of an array, uint8 [N, H, W, C], brought to ``image_size``."""
    images = np.ascontiguousarray(oriented(path, key, array(path, key)))
    return conform(images, image_size, channels)


def labels_of(path: Path, key: str, count: int, images: str) -> np.ndarray:
    """Return the labels of the ``count`` images, int64 [N]; [N, 1] is taken as [N]."""
    labels = array(path, key)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.shape != (count,) or not np.issubdtype(labels.dtype, np.integer):
        raise InputError(
            f"'{key}' in {path} is {labels.dtype} {list(labels.shape)}; save an integer 0, 1, 2, "
            f"... for each of the {count} images in '{images}' (one-hot labels: labels.argmax(1))"
        )
    if not count:
        raise InputError(f"'{images}' in {path} has no image; save at least two classes of them")
    return labels.astype(np.int64)


def open_npz(path: Path, name: str = "", classes: tuple[str, ...] = ()) -> Unread:
    """Return an archive's images, unread: only headers and labels are looked at.

    Classes are called by the array ``names`` (or ``classes``), by ``classes`` if they are as many
    as the labels, or by number. The set is called ``name``, or like the file.
    """
    found = headers(path)
    keys = {part: (f"x_{part}", f"y_{part}") for part in ("train", "val", "test")}
    if {"images", "labels"} <= set(found):
        keys = {"pool": ("images", "labels")}
    elif not {"x_val", "y_val"} & set(found):
        del keys["val"]
    missing = [key for pair in keys.values() for key in pair if key not in found]
    if missing:
        raise InputError(
            f"{path} lacks {', '.join(missing)}: it holds {', '.join(sorted(found)) or 'nothing'}; "
            f"name its arrays {WANTED}"
        )
    heads = {part: oriented(path, x, found[x]) for part, (x, _) in keys.items()}
    labels = {part: labels_of(path, y, len(found[x]), x) for part, (x, y) in keys.items()}
    low = min(int(values.min()) for values in labels.values())
    high = max(int(values.max()) for values in labels.values())
    names = classes if high + 1 == len(classes) else ()
    for key in ("classes", "names"):  # the second wins
        if key in found:
            names = tuple(array(path, key).astype(str).ravel().tolist())
    last = len(names) - 1 if names else high - low
    if low < 0 or high > last:
        raise InputError(f"labels in {path} run from {low} to {high}; number them from 0 to {last}")

    def read(part: str, wanted: tuple[int, int] | None) -> np.ndarray:
        return images_of(path, keys[part][0], *wanted) if wanted else heads[part]

    numbers, terms = tuple(map(str, range(high + 1))), (f"arrays in {path}", "as their owner says")
    return Unread(name or path.stem, names or numbers, labels, read, *terms, numbered=not names)
