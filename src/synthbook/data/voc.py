"""Images with boxes on a disk: PASCAL VOC, and any folder in its format.

Such a folder has ``Annotations/NAME.xml``, ``JPEGImages/NAME.jpg`` (or .jpeg, .png) and
``ImageSets/Main/PART.txt``, a name a line; tools that draw boxes write it. Nothing is downloaded.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

import numpy as np

from synthbook.data import files
from synthbook.data.boxed import Boxed, Objects, joined
from synthbook.errors import InputError, did_you_mean
from synthbook.store import path_of

# Everingham et al. 2010, Table 1, in the order of the names.
CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train",
    "tvmonitor",
)  # fmt: skip
SUFFIXES = (".jpg", ".jpeg", ".png", ".JPG", ".JPEG", ".PNG")


class Annotation(NamedTuple):
    """What an XML file says: (height, width) if it does, and names, boxes and marks of objects."""

    size: tuple[int, int] | None
    names: list[str]
    boxes: list[tuple[float, float, float, float]]
    difficult: list[bool]


def annotation(path: Path) -> Annotation:
    """Read an XML file of VOC.

    Its corners are pixels counted from 1, so that (1, 1, W, H) is the whole image, here
    (0, 0, W, H): areas, and so overlaps, are those of VOC's own code. Tools that count from 0 write
    0 for the first pixel, which is taken as 1.

    Raises:
        InputError: if it cannot be read as such.
    """
    from torchvision.datasets import VOCDetection

    try:
        told: dict[str, Any] = VOCDetection.parse_voc_xml(ElementTree.parse(path).getroot())
        told = told["annotation"]
        names, boxes, difficult = [], [], []
        for one in told["object"]:
            box = one["bndbox"]
            left, top, right, bottom = (float(box[k]) for k in ("xmin", "ymin", "xmax", "ymax"))
            if np.isnan(left + top + right + bottom):
                raise ValueError("a corner is no number")
            names.append(one["name"].strip())
            boxes.append((max(left, 1) - 1, max(top, 1) - 1, right, bottom))
            difficult.append(bool(int(one.get("difficult", 0))))
        size = told.get("size")
        shape = (int(size["height"]), int(size["width"])) if size else None
    except (OSError, ElementTree.ParseError, KeyError, TypeError, ValueError, AttributeError) as e:
        fault = f"{type(e).__name__}: {str(e)[:100]}"
        raise InputError(
            f"{path} is no annotation of VOC ({fault}); give XML with an object's name and its "
            "bndbox of xmin, ymin, xmax, ymax"
        ) from e
    return Annotation(shape if shape and min(shape) > 0 else None, names, boxes, difficult)


def voc_folder(folder: str | Path, year: int | None = None) -> Path:
    """Return where Annotations and JPEGImages are: ``folder``, or VOC's own places below it.

    Raises:
        InputError: if they are nowhere.
    """
    top = path_of(folder)
    within = [top / "VOCdevkit" / f"VOC{year}", top / f"VOC{year}"] if year else [top]
    for place in within:
        if (place / "Annotations").is_dir() and (place / "JPEGImages").is_dir():
            return place
    wanted = f"VOCdevkit/VOC{year}/Annotations and JPEGImages" if year else "Annotations"
    beside = "" if year else " and JPEGImages"
    raise InputError(
        f"{top} is no folder in VOC format: it has no {wanted}{beside}; correct the path, or "
        "unpack the archives of PASCAL VOC there"
    )


def read_voc(
    folder: str | Path, part: str = "trainval", *, year: int | None = None,
    classes: Sequence[str] | None = None, name: str = "",
) -> Boxed:  # fmt: skip
    """Return a part of a folder in VOC's format; pixels are read when asked for.

    Args:
        part: 'train', 'val', 'trainval', 'test' or another list in ImageSets/Main.
        year: of PASCAL VOC, if ``folder`` is where its archives were unpacked.
        classes: their order. By default VOC's twenty if there are no others, else all names.

    Raises:
        InputError: if the folder is none such, or a file in it is missing or wrong.
    """
    place = voc_folder(folder, year)
    name = name or f"{place.name} {part}"
    numbers = _listed(place, part)
    told = [annotation(place / "Annotations" / f"{number}.xml") for number in numbers]
    images = [_image(place / "JPEGImages", number) for number in numbers]
    sizes = [one.size or _size(path, name) for one, path in zip(told, images, strict=True)]
    found = {label for one in told for label in one.names}
    if classes is None:
        classes = CLASSES if found <= set(CLASSES) else sorted(found)
    if unknown := sorted(found - set(classes)):
        near = did_you_mean(unknown[0], classes) or f"; known are {', '.join(classes)}"
        raise InputError(f"'{name}' has boxes of '{unknown[0]}', which is no class of it{near}")
    of_name = {label: k for k, label in enumerate(classes)}
    objects = tuple(
        Objects(
            np.array(one.boxes, np.float32).reshape(-1, 4),
            np.array([of_name[label] for label in one.names], np.int64),
            np.array(one.difficult, bool),
        )
        for one in told
    )
    digest = hashlib.sha256(repr([(p.name, p.stat().st_size) for p in images]).encode())

    def read(number: int) -> np.ndarray:
        pixels = files.decode(images[number], 0, 3)
        if isinstance(pixels, files.Unreadable):
            files.refuse([pixels], name)
        if pixels.shape[:2] != tuple(sizes[number]):
            high, wide = pixels.shape[:2]
            raise InputError(
                f"{images[number]} has {high} x {wide} pixels, and its annotation says "
                f"{sizes[number][0]} x {sizes[number][1]}; make them alike"
            )
        return pixels

    return Boxed(
        objects, tuple(classes), name, np.array(sizes, np.int64).reshape(-1, 2), read,
        digest.hexdigest(),
    )  # fmt: skip


def pascal_voc(root: str | Path) -> tuple[Boxed, Boxed]:
    """Return train and test as the study of MoCo takes them: trainval of 2007 and 2012, test 2007.

    16,551 and 4,952 images. ``root`` is where the archives were unpacked, over one another:
    root/VOCdevkit/VOC2007 and VOC2012.
    """
    both = [read_voc(root, "trainval", year=year, classes=CLASSES) for year in (2007, 2012)]
    test = read_voc(root, "test", year=2007, classes=CLASSES)
    return joined(*both, name="PASCAL VOC 07+12"), test


def _listed(place: Path, part: str) -> list[str]:
    path = place / "ImageSets" / "Main" / f"{part}.txt"
    try:
        numbers = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError) as error:
        there = sorted(one.stem for one in path.parent.glob("*.txt") if "_" not in one.stem)
        remedy = (
            f"there are {', '.join(there)}" if there else "write it, the name of an image a line"
        )
        raise InputError(
            f"{place} has no part '{part}' ({path.relative_to(place)}); {remedy}"
        ) from error
    if not any(numbers):
        raise InputError(f"{path} names no images; write the name of an image a line")
    return [number for number in numbers if number]


def _image(folder: Path, number: str) -> Path:
    for suffix in SUFFIXES:
        if (path := folder / f"{number}{suffix}").is_file():
            return path
    raise InputError(
        f"{folder} has no image '{number}' ({', '.join(SUFFIXES[:3])}); add it, or take it off "
        "the list"
    )


def _size(path: Path, name: str) -> tuple[int, int]:
    size = files.header(path)
    if isinstance(size, files.Unreadable):
        files.refuse([size], name)
    return size
