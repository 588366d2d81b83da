"""Images in an .npz archive: its headers first, its arrays when they are asked for."""

from __future__ import annotations

import lzma
import math
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from synthbook.data.files import Unread, conform
from synthbook.errors import InputError
from synthbook.machine import check_memory

WANTED = "x_train, y_train, x_test, y_test (and x_val, y_val, names) or images, labels"
DAMAGED = (  # RuntimeError: it is encrypted, or packed in a way that Python does not know
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, OSError, EOFError, ValueError, KeyError,
    RuntimeError, MemoryError,
)  # fmt: skip
LONGEST_NAMES = 1 << 24  # bytes of the classes' names


def headers(path: Path) -> dict[str, np.ndarray]:
    """Return array name -> an array of that shape and type without content, in no memory."""
    form, heads = np.lib.format, {}
    readers = {(1, 0): form.read_array_header_1_0, (2, 0): form.read_array_header_2_0}
    try:
        with zipfile.ZipFile(path) as archive:
            for file in [name for name in archive.namelist() if name.endswith(".npy")]:
                with archive.open(file) as stream:
                    if (number := form.read_magic(stream)) not in readers:
                        raise InputError(
                            f"'{file}' in {path} has npy format {number[0]}.{number[1]}, as only "
                            "arrays of named fields have; save plain arrays"
                        )
                    shape, _, dtype = readers[number](stream)
                heads[file.removesuffix(".npy")] = np.broadcast_to(np.empty((), dtype), shape)
    except InputError:
        raise
    except DAMAGED as error:
        if isinstance(error, OSError) and error.strerror:
            raise InputError(
                f"{path} cannot be read ({error.strerror}); check its rights"
            ) from None
        raise InputError(
            f"{path} is no readable .npz archive ({error}); write it with np.savez_compressed"
        ) from error
    return heads


def check_size(path: Path, heads: Mapping[str, np.ndarray]) -> None:
    """Raise InputError if arrays are larger than this machine's memory, as their headers say.

    They are not unpacked for it: an archive of some kilobytes can hold gigabytes of zeros.
    """
    for key, head in heads.items():
        size = math.prod(head.shape) * head.itemsize  # nbytes would run over
        check_memory(size, f"'{key}' in {path}", "save fewer or smaller images")


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
    if 0 in images.shape[1:]:
        raise InputError(
            f"'{key}' in {path} has the shape {list(images.shape)}, images without pixels; save "
            "images"
        )
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
    check_size(path, {key: headers(path)[key]})
    images = np.ascontiguousarray(oriented(path, key, array(path, key)))
    return conform(images, image_size, channels)


def labels_of(path: Path, key: str, head: np.ndarray, count: int, images: str) -> np.ndarray:
    """Return the labels of the ``count`` images, int64 [N]; [N, 1] is taken as [N].

    ``head`` is theirs of `headers`: they are read only if there are as many as images.
    """
    column = head.ndim == 2 and head.shape[1] == 1
    length = head.shape[:1] if column else head.shape
    if length != (count,) or not np.issubdtype(head.dtype, np.integer):
        raise InputError(
            f"'{key}' in {path} is {head.dtype} {list(head.shape)}; save an integer 0, 1, 2, "
            f"... for each of the {count} images in '{images}' (one-hot labels: labels.argmax(1))"
        )
    if not count:
        raise InputError(f"'{images}' in {path} has no image; save at least two classes of them")
    check_size(path, {key: head})
    return array(path, key).reshape(count).astype(np.int64)


def names_of(path: Path, key: str, head: np.ndarray) -> tuple[str, ...]:
    """Return the classes' names, read only if they are texts of a sane length."""
    if head.dtype.kind not in "US" or math.prod(head.shape) * head.itemsize > LONGEST_NAMES:
        raise InputError(
            f"'{key}' in {path} is {head.dtype} {list(head.shape)}; save a text for each class, as "
            "np.array(['cat', 'dog'])"
        )
    try:
        names = array(path, key).astype(str).ravel().tolist()
    except UnicodeDecodeError:
        raise InputError(
            f"'{key}' in {path} holds bytes that are no ASCII; save texts, as "
            "np.array(['cat', 'dog'])"
        ) from None
    if not all(map(str.strip, names)) or len({*names}) < len(names):
        raise InputError(
            f"'{key}' in {path} has an empty name, or one twice; give each class a name of its own"
        )
    return tuple(names)


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
    check_size(path, {x: found[x] for x, _ in keys.values()})
    labels = {part: labels_of(path, y, found[y], len(found[x]), x) for part, (x, y) in keys.items()}
    low = min(int(values.min()) for values in labels.values())
    high = max(int(values.max()) for values in labels.values())
    names = classes if high + 1 == len(classes) else ()
    for key in ("classes", "names"):  # the second wins
        if key in found:
            names = names_of(path, key, found[key])
    # Without names every number is a class, and has an image: no more classes than images.
    most = len(names) or sum(map(len, labels.values()))
    if low < 0 or high >= most or not (names or low == 0):
        right = f"from 0 to {high - low}" if high - low < most else "0, 1, 2, ..."
        if names:
            right = f"from 0 to {most - 1}, as it names {most} classes, or name them all"
        raise InputError(f"labels in {path} run from {low} to {high}; number them {right}")

    def read(part: str, wanted: tuple[int, int] | None) -> np.ndarray:
        return images_of(path, keys[part][0], *wanted) if wanted else heads[part]

    numbers, terms = tuple(map(str, range(high + 1))), (f"arrays in {path}", "as their owner says")
    return Unread(name or path.stem, names or numbers, labels, read, *terms, numbered=not names)
