"""Reduce Caltech-101 to the photographs that come with the package.

    python workflow/photographs.py ARCHIVE [--out FOLDER] [--quality Q]

ARCHIVE is the official caltech-101.zip, its 101_ObjectCategories.tar.gz, any other .tar of one
folder a class, or such a folder unpacked. What is written replaces what lies in
src/synthbook/data/photographs: two mosaics, ``photographs-K.webp``; ``index.npz``; ``SHA256SUMS``.
What is changed: the centre square of every picture is reduced to 32 pixels; "Faces" (the same
pictures as "Faces_easy" with more around them) and "BACKGROUND_Google" are left out, and of
near-duplicates all but one. Which picture is in which part is drawn by class, from a fixed seed.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image

from synthbook.data.bundled import CLASSES, FOLDER, MOSAICS, PARTS, SIZE, TILES, in_first
from synthbook.data.files import pixels
from synthbook.errors import InputError
from synthbook.randomness import numpy_generator
from synthbook.store import atomic_write

LEFT_OUT = ("BACKGROUND_Google", "Faces")
INNER = "101_ObjectCategories.tar.gz"  # where the official .zip has the pictures
NEAR = 0.96  # correlation of pixels above which two pictures of a class count as one
MOST = 130  # pictures of a class in the labelled parts; the others are "extra"
SHARES = {"train": 0.6, "val": 0.15}  # the rest is test
SEED = 0


def pictures(source: Path) -> Iterator[tuple[str, int, Image.Image]]:
    """Yield class, number and picture of everything to keep in an archive or folder, unordered."""
    if source.is_dir():
        for path in source.rglob("*.*"):
            yield from _picture(path, path.read_bytes)
    elif zipfile.is_zipfile(source):
        with zipfile.ZipFile(source) as archive:
            for name in archive.namelist():
                if Path(name).name == INNER:
                    yield from _tar(io.BytesIO(archive.read(name)))
                yield from _picture(Path(name), lambda name=name: archive.read(name))
    elif source.is_file() and tarfile.is_tarfile(source):
        with source.open("rb") as file:
            yield from _tar(file)
    else:
        raise InputError(f"{source} is no folder, .zip or .tar; give the archive of Caltech-101")


def _tar(file: BinaryIO) -> Iterator[tuple[str, int, Image.Image]]:
    with tarfile.open(fileobj=file) as archive:
        for member in archive:
            if member.isfile():
                yield from _picture(Path(member.name), archive.extractfile(member).read)


def _picture(path: Path, read: Callable[[], bytes]) -> Iterator[tuple[str, int, Image.Image]]:
    """Yield the picture of a file called CLASS/image_NNNN.SUFFIX, if it is one to keep."""
    if path.stem.startswith("image_") and path.parent.name not in LEFT_OUT:
        picture = Image.open(io.BytesIO(read()), formats=["JPEG", "WEBP", "PNG"])
        yield path.parent.name, int(path.stem.removeprefix("image_")), picture


def near_duplicates(images: np.ndarray) -> np.ndarray:
    """Return bool [N]: the images of one class that an earlier one, or its mirror image, equals.

    Near means a correlation of the pixels, over all channels, above ``NEAR``. An image is compared
    with those before it that are kept.
    """

    def unit(x: np.ndarray) -> np.ndarray:
        flat = x.reshape(len(x), -1).astype(np.float32)
        flat -= flat.mean(axis=1, keepdims=True)
        return flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6)

    plain, mirrored = unit(images), unit(images[:, :, ::-1])
    near = np.maximum(plain @ plain.T, plain @ mirrored.T) > NEAR
    dropped = np.zeros(len(images), dtype=bool)
    for k in range(1, len(images)):
        dropped[k] = (near[k, :k] & ~dropped[:k]).any()
    return dropped


def parts(count: int, name: str) -> np.ndarray:
    """Return the part of each of a class's pictures, uint8 [count], an index into ``PARTS``."""
    order = numpy_generator(SEED, "photographs", name).permutation(count)
    labelled = min(count, MOST)
    ends = np.rint(labelled * np.cumsum([*SHARES.values()])).astype(int)
    part = np.full(count, PARTS.index("extra"), dtype=np.uint8)
    for name, drawn in zip(PARTS, np.split(order[:labelled], ends), strict=False):
        part[drawn] = PARTS.index(name)
    return part


def reduced(source: Path) -> dict[str, dict[int, np.ndarray]]:
    """Return class -> number -> uint8 [32, 32, 3] of all classes that the book knows."""
    found: dict[str, dict[int, np.ndarray]] = {}
    for name, number, picture in pictures(source):
        found.setdefault(name, {})[number] = pixels(picture, SIZE, 3)
    if wrong := sorted(set(found) ^ set(CLASSES)):
        raise InputError(
            f"{source} lacks, or has in excess, the classes {', '.join(wrong[:5])}"
            f"{' ...' if wrong[5:] else ''}; give the whole archive of Caltech-101"
        )
    return found


def mosaic(images: np.ndarray) -> Image.Image:
    """Return images uint8 [N, 32, 32, 3] as one picture, ``TILES`` in a row, the rest black."""
    blank = np.zeros((-len(images) % TILES, SIZE, SIZE, 3), np.uint8)
    rows = np.concatenate([images, blank]).reshape(-1, TILES, SIZE, SIZE, 3)
    return Image.fromarray(rows.swapaxes(1, 2).reshape(-1, TILES * SIZE, 3))


def write(
    folder: Path, images: np.ndarray, index: dict[str, np.ndarray], quality: int = 90
) -> None:
    """Write the two mosaics, their index and the SHA-256 of each file; 101 is lossless."""
    how = {"lossless": True} if quality > 100 else {"quality": quality}
    first = in_first(index["label"], index["part"])
    files = {name: io.BytesIO() for name in (*MOSAICS, "index.npz")}
    for name, held in zip(MOSAICS, (first, ~first), strict=True):
        mosaic(images[held]).save(files[name], format="WEBP", method=6, **how)
    np.savez_compressed(files["index.npz"], **index)
    sums = [f"{hashlib.sha256(f.getvalue()).hexdigest()}  {name}\n" for name, f in files.items()]
    files["SHA256SUMS"] = io.BytesIO("".join(sums).encode())
    for name, file in files.items():
        with atomic_write(folder / name, "wb") as stream:
            stream.write(file.getvalue())


def bundle(source: Path, folder: Path, quality: int = 90) -> None:
    """Reduce the archive ``source`` to the bundle in ``folder``, and print what became of it."""
    classes = reduced(source)
    columns: dict[str, list] = {"label": [], "part": [], "number": []}
    kept: list[np.ndarray] = []
    for label, name in enumerate(CLASSES):
        numbers = np.array(sorted(classes[name]))
        images = np.stack([classes[name][number] for number in numbers])
        dropped = near_duplicates(images)
        if dropped.any():
            print(f"{name}: {dropped.sum()} of {len(images)} are near-duplicates")
        kept += [*images[~dropped]]
        columns["label"] += [label] * len(images[~dropped])
        columns["part"] += [*parts(len(images[~dropped]), name)]
        columns["number"] += [*numbers[~dropped]]

    # In a lossy mosaic neighbours bleed into one another by a pixel: their order is drawn, so that
    # this tells nothing of a picture's class.
    order = numpy_generator(SEED, "photographs", "order").permutation(len(kept))
    types = {"label": np.uint8, "part": np.uint8, "number": np.uint16}
    index = {name: np.array(columns[name], types[name])[order] for name in columns}
    write(folder, np.stack(kept)[order], {"classes": np.array(CLASSES), **index}, quality)
    counts = np.bincount(columns["part"], minlength=len(PARTS))
    size = sum(path.stat().st_size for path in folder.iterdir()) / 1e6
    found = ", ".join(f"{count} {name}" for count, name in zip(counts, PARTS, strict=True))
    print(f"{len(kept)} pictures of {len(CLASSES)} classes ({found}), {size:.1f} MB")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("archive", type=Path)
    parser.add_argument("--out", type=Path, default=FOLDER)
    parser.add_argument("--quality", type=int, default=90, help="of WebP; 101 is lossless")
    given = parser.parse_args()
    try:
        bundle(given.archive, given.out, given.quality)
    except InputError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
