"""Image files: folders of class folders, and pixels from files of any kind or from arrays.

One rule for all pixels: orientation as EXIF says, transparency over white, 16-bit grey divided by
257, then a centre crop to a square, then PIL's bicubic resize, which is antialiased when it
shrinks. Images that have the wanted size already are not touched.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from io import BytesIO
from itertools import chain
from multiprocessing.pool import ThreadPool
from pathlib import Path
from stat import S_ISREG
from threading import Lock
from typing import NamedTuple, NoReturn, TypeVar

import numpy as np
from PIL import Image, ImageOps

from synthbook.errors import InputError

T = TypeVar("T")
R = TypeVar("R")
SUFFIXES = frozenset(
    (".png", ".jpg", ".jpeg", ".jpe", ".jif", ".jfif", ".pjpeg", ".webp", ".bmp", ".tif", ".tiff")
)
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF")  # no other is tried: some start other programs
# Images too, which are named as unreadable and not passed over in silence.
OTHERS = frozenset(
    (
        ".gif", ".avif", ".heic", ".heics", ".heif", ".jp2", ".jxl", ".tga", ".pnm", ".ppm", ".pgm",
        ".pbm", ".ico", ".psd", ".dng", ".eps",
    )
)  # fmt: skip
MOST_PIXELS = 64_000_000  # of an image, which then takes up to a gigabyte while it is read
LARGE_PIXELS = 10_000_000  # of an image that is read alone, and not one a thread
REPLACE = "replace or delete them"  # what `refuse` ends with
_ALONE = Lock()
PARTS = ("train", "val", "test")
LIKE_PARTS = {
    "training": "train", "valid": "val", "validation": "val", "dev": "val", "testing": "test",
    "eval": "test",
}  # fmt: skip


class Unreadable(NamedTuple):
    """An image that could not be decoded: its name and why."""

    name: str
    reason: str


Read = np.ndarray | tuple[int, int] | Unreadable  # pixels [H, W, C], or (height, width) only


@dataclass(frozen=True)
class Unread:
    """A data set that was found, before its pixels are read.

    ``labels`` is part -> int64 [N]; the parts are "pool", or "train", "test" and maybe "val".
    ``read`` takes a part and (image_size, channels), or None for no more than the images' heads.
    ``sizes`` is the data set's own rule for splitting a pool. Classes that are ``numbered`` have
    no names of their own.
    """

    name: str
    classes: tuple[str, ...]
    labels: Mapping[str, np.ndarray]
    read: Callable[[str, tuple[int, int] | None], Sequence[Read]]
    origin: str
    licence: str
    sizes: Mapping[str, int] | None = None
    numbered: bool = False


# Folders


def image_files(folder: Path) -> Iterator[Path]:
    """Yield the image files at any depth below ``folder``, hidden ones left out, in no order.

    By their names alone: also those that are not read, or are no images.
    """
    seen = set()
    for top, folders, files in os.walk(folder, onerror=_cannot_read, followlinks=True):
        real = os.path.realpath(top)
        if real in seen:  # a link to a folder above would never end
            folders.clear()
            continue
        seen.add(real)
        folders[:] = filter(_visible, folders)
        for name in filter(_visible, files):
            if os.path.splitext(name)[1].lower() in SUFFIXES | OTHERS:
                yield Path(top, name)


def subfolders(folder: Path) -> list[Path]:
    """Return the visible folders directly in ``folder``, sorted by name."""
    _, names, _ = next(os.walk(folder, onerror=_cannot_read))
    return [folder / name for name in sorted(filter(_visible, names))]


def _visible(name: str) -> bool:
    """Return False for hidden files and folders, and for the one that macOS adds to archives."""
    return not name.startswith(".") and name != "__MACOSX"


def _cannot_read(error: OSError) -> NoReturn:
    raise InputError(f"{error.filename} cannot be read ({error.strerror}); check its rights")


def layout(folder: Path) -> dict[str, Path]:
    """Return part -> folder of class folders: {"pool": folder}, or train, test and maybe val.

    Raises:
        InputError: if folders look like parts, but are not called so, or not all of them are parts.
    """
    folders = {path.name: path for path in subfolders(folder)}
    if "train" not in folders or not {"val", "test", "valid", "validation"} & set(folders):
        meant = {name: LIKE_PARTS.get(name.lower(), name.lower()) for name in folders}
        like = [name for name, part in meant.items() if part in PARTS]
        if "train" in meant.values() and len({meant[name] for name in like}) > 1:
            raise InputError(
                f"{folder} holds {', '.join(like)}, which would be read as classes; rename them "
                "to train, val and test"
            )
        return {"pool": folder}
    others = sorted(set(folders) - set(PARTS))
    if others:
        raise InputError(
            f"{folder} holds {', '.join(others)} beside train; only train, val and test are read: "
            "rename or move it"
        )
    if "test" not in folders:
        raise InputError(
            f"{folder} has train and val but no test; rename val to test, and validation is drawn "
            "from train"
        )
    return {part: folders[part] for part in PARTS if part in folders}


def classes_of(folder: Path, *, without: str = "") -> dict[str, list[Path]]:
    """Return class name -> sorted image files, classes sorted by name, ``without`` one of them."""
    classes = {path.name: sorted(image_files(path)) for path in subfolders(folder)}
    classes.pop(without, None)
    if not classes:
        loose = sum(1 for _ in image_files(folder))
        raise InputError(
            f"{folder} has no class folders ({loose} images lie in it directly); put the images "
            "of each class into a folder named after it"
        )
    for name, files in classes.items():
        if name != name.encode(errors="replace").decode():  # no figure could write it
            raise InputError(
                f"the name of class folder {str(folder / name)!a} is no text; rename it"
            )
        if not files:
            raise InputError(
                f"class folder {folder / name} has no image ({', '.join(sorted(SUFFIXES))}); "
                "add images or delete the folder"
            )
    return classes


def open_folder(folder: Path, name: str = "", *, without: str = "") -> Unread:
    """Return a folder's images, unread: only names are looked at. See ``layout``, ``classes_of``.

    The set is called ``name``, or like the folder; a class folder called ``without`` is left out.
    """
    parts = {part: classes_of(path, without=without) for part, path in layout(folder).items()}
    classes = tuple(next(iter(parts.values())))
    files, labels = {}, {}
    for part, of_class in parts.items():
        unknown = sorted(set(of_class) - set(classes))
        if unknown:
            raise InputError(
                f"class '{unknown[0]}' in {folder / part} is not in {folder / 'train'}; "
                "add it there or delete it"
            )
        files[part] = list(chain.from_iterable(of_class.values()))
        numbers = [classes.index(label) for label in of_class]
        labels[part] = np.repeat(numbers, [len(paths) for paths in of_class.values()])

    def read(part: str, wanted: tuple[int, int] | None) -> list[Read]:
        return in_threads(lambda f: decode(f, *wanted) if wanted else header(f), files[part])

    terms = f"image folder {folder}", "as its owner says"
    return Unread(name or folder.resolve().name, classes, labels, read, *terms)


# Files


def in_threads(work: Callable[[T], R], items: Sequence[T]) -> list[R]:
    """Return ``work`` of every item, in order; PIL frees the interpreter while it decodes."""
    with ThreadPool(min(8, os.cpu_count() or 1)) as pool:
        return pool.map(work, items)


def decode(path: Path, image_size: int, channels: int) -> np.ndarray | Unreadable:
    """Return ``pixels`` of the file, or why it has none."""
    return _opened(path, lambda image: pixels(image, image_size, channels))


def header(path: Path) -> tuple[int, int] | Unreadable:
    """Return (height, width) from the file's head, or why it has none; reads no pixels."""
    return _opened(path, lambda image: image.size[::-1])


def _opened(path: Path, work: Callable[[Image.Image], R]) -> R | Unreadable:
    def regular() -> Path:
        if not S_ISREG(path.stat().st_mode):  # a pipe would be waited for without end
            raise ValueError("it is no regular file")
        return path

    return worked(str(path), regular, work)


def worked(
    name: str, source: Callable[[], Path | BytesIO], work: Callable[[Image.Image], R]
) -> R | Unreadable:
    """Return ``work`` of the image in what ``source`` gives, or why there is none of ``name``."""
    try:
        with Image.open(source(), formats=FORMATS) as image:
            size = image.width * image.height
            if size > MOST_PIXELS:
                raise ValueError(
                    f"it has {image.width} x {image.height} pixels, and {MOST_PIXELS:,} are read "
                    "at most"
                )
            if image.format in ("PNG", "WEBP") and getattr(image, "is_animated", False):
                raise ValueError("it is an animation; save one picture of it")
            with _ALONE if size > LARGE_PIXELS else nullcontext():
                return work(image)
    except Exception as error:  # decoders of damaged files raise nearly anything
        return Unreadable(name, reason(error))


def reason(error: Exception) -> str:
    """Return the error in a few words, without the file's path."""
    if isinstance(error, Image.UnidentifiedImageError):
        return f"it is no {', '.join(FORMATS[:-1])} or {FORMATS[-1]} file"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def readable(results: Sequence[R | Unreadable]) -> tuple[list[R], np.ndarray, list[Unreadable]]:
    """Return what could be read, a mask [N] of where it lay, and what could not be read."""
    kept = np.array([not isinstance(result, Unreadable) for result in results], dtype=bool)
    good = [result for result in results if not isinstance(result, Unreadable)]
    return good, kept, [result for result in results if isinstance(result, Unreadable)]


def refuse(bad: Sequence[Unreadable], name: str) -> None:
    """Raise InputError that names the first unreadable files, if there are any."""
    if bad:
        shown = ", ".join(f"{file.name} ({file.reason})" for file in bad[:3])
        more = f" and {len(bad) - 3} more" if len(bad) > 3 else ""
        raise InputError(f"'{name}' has {len(bad)} unreadable image(s): {shown}{more}; {REPLACE}")


# Pixels


def pixels(image: Image.Image, image_size: int, channels: int) -> np.ndarray:
    """Return uint8 [S, S, C] of one image; ``channels`` 0 gives C = 1 or 3 as the image is."""
    image = plain(image)
    if channels:
        image = image.convert("L" if channels == 1 else "RGB")
    array = np.asarray(square(image, image_size))
    return array[..., None] if array.ndim == 2 else array


def plain(image: Image.Image) -> Image.Image:
    """Return ``image`` upright as mode "L" (grey) or "RGB", 8 bits.

    Float, signed and 32-bit pixels, whose range nothing tells, are a ValueError.
    """
    # Old Pillows have 16 bits of a PNG, which knows no more, in the mode of 32 bits.
    deep = image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG")
    if image.mode in ("I", "F") and not deep:
        raise ValueError(
            "its pixels are float, signed or 32-bit; save it with 8 or 16 bits, unsigned"
        )
    image = ImageOps.exif_transpose(image)
    if deep:
        values = np.asarray(image).astype(np.uint32)
        return Image.fromarray(((values + 128) // 257).astype(np.uint8))
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
    side, (wide, high) = min(image.size), image.size
    left, top = (wide - side) // 2, (high - side) // 2
    image = image.crop((left, top, left + side, top + side))
    return image.resize((image_size, image_size), Image.Resampling.BICUBIC)


def stack(arrays: Sequence[np.ndarray], name: str, channels: int = 1) -> np.ndarray:
    """Return uint8 [N, S, S, C] of arrays [S, S, C] of one size; C = 3 if any has, or is asked."""
    one_size({array.shape[:2] for array in arrays}, name)
    most = max(channels, *(array.shape[2] for array in arrays))
    return np.stack([a if a.shape[2] == most else np.repeat(a, 3, axis=2) for a in arrays])


def one_size(shapes: set[tuple[int, int]], name: str) -> None:
    """Raise InputError unless all (height, width) are one square size; none means they differ."""
    if len(shapes) != 1 or any(high != wide for high, wide in shapes):
        raise InputError(
            f"images of '{name}' are {spread(shapes)}; set image_size, which crops them to squares "
            "and resizes them to one size"
        )


def spread(shapes: set[tuple[int, int]]) -> str:
    """Return "28 x 28 pixels", or "between 96 x 96 and 96 x 310 pixels", of (height, width)."""
    if not shapes:
        return "of unequal size"
    ordered = sorted(shapes, key=lambda shape: (shape[0] * shape[1], shape))
    smallest, largest = (f"{high} x {wide}" for high, wide in (ordered[0], ordered[-1]))
    size = smallest if len(shapes) == 1 else f"between {smallest} and {largest}"
    return f"{size} pixels"


def conform(images: np.ndarray, image_size: int, channels: int) -> np.ndarray:
    """Return uint8 [N, H, W, C] at ``image_size`` and ``channels`` (0: as they are).

    An array and a file of the same pixels give the same numbers.
    """
    high, wide, depth = images.shape[1:]
    if high == wide == (image_size or high) and depth == (channels or depth):
        return images
    return np.stack(
        in_threads(
            lambda image: pixels(Image.fromarray(image), image_size, channels),
            images if depth == 3 else images[..., 0],
        )
    )
