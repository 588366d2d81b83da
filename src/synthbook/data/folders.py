"""A folder of class folders, with or without train/, val/ and test/ above them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from synthbook.data.decode import Unreadable, decode, in_threads, stack
from synthbook.data.registry import Entry
from synthbook.data.sources import Source
from synthbook.errors import InputError

SUFFIXES = frozenset((".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"))
PARTS = ("train", "val", "test")
CLUTTER = "BACKGROUND_Google"  # Caltech-101's folder of what belongs to no class


@dataclass(frozen=True, kw_only=True)
class FolderSource(Source):
    """A source of files; ``files`` is part -> path of every image, in the order of the labels."""

    files: Mapping[str, list[Path]]


def image_files(folder: Path) -> Iterator[Path]:
    """Yield the image files at any depth below ``folder``, hidden ones left out, in no order."""
    seen = set()

    def refuse(error: OSError) -> None:
        raise InputError(f"{error.filename} cannot be read ({error.strerror}); check its rights")

    for top, folders, files in os.walk(folder, onerror=refuse, followlinks=True):
        real = os.path.realpath(top)
        if real in seen:  # a link to a folder above would never end
            folders.clear()
            continue
        seen.add(real)
        folders[:] = [name for name in folders if visible(name)]
        for name in files:
            if visible(name) and os.path.splitext(name)[1].lower() in SUFFIXES:
                yield Path(top, name)


def visible(name: str) -> bool:
    """Return False for hidden files and folders, and for the one that macOS adds to archives."""
    return not name.startswith(".") and name != "__MACOSX"


def subfolders(folder: Path) -> list[Path]:
    """Return the visible folders directly in ``folder``, sorted by name."""
    try:
        return sorted(one for one in folder.iterdir() if visible(one.name) and one.is_dir())
    except OSError as error:
        raise InputError(f"{folder} cannot be read ({error.strerror}); check its rights") from error


def layout(folder: Path) -> dict[str, Path]:
    """Return part -> folder of class folders: {"pool": folder}, or train, test and maybe val.

    Raises:
        InputError: for train/ beside other folders than val/ and test/, or without test/.
    """
    found = {one.name: one for one in subfolders(folder)}
    if "train" not in found or not {"val", "test", "valid", "validation"} & set(found):
        return {"pool": folder}
    others = sorted(set(found) - set(PARTS))
    if others:
        raise InputError(
            f"{folder} holds {', '.join(others)} beside train; only train, val and test are read: "
            "rename or move it"
        )
    if "test" not in found:
        raise InputError(
            f"{folder} has train and val but no test; rename val to test, and validation is drawn "
            "from train"
        )
    return {part: found[part] for part in PARTS if part in found}


def classes_of(folder: Path) -> dict[str, list[Path]]:
    """Return class name -> sorted image files, classes sorted by name.

    Raises:
        InputError: if there are fewer than two class folders, or one has no image.
    """
    found = subfolders(folder)
    if not found:
        loose = sum(1 for _ in image_files(folder))
        raise InputError(
            f"{folder} has no class folders ({loose} images lie in it directly); put the images "
            "of each class into a folder named after it"
        )
    classes = {one.name: sorted(image_files(one)) for one in found}
    for name, files in classes.items():
        if not files:
            raise InputError(
                f"class folder {folder / name} has no image ({', '.join(sorted(SUFFIXES))}); "
                "add images or delete the folder"
            )
    return classes


def open_folder(folder: Path, entry: Entry | None = None) -> Source:
    """Return the source of a folder; reads names only, no file. See ``layout``, ``classes_of``.

    A named set (``entry``) gives its name and terms; Caltech-101 leaves its clutter folder out.
    """
    name = entry.name if entry else folder.resolve().name
    parts = {part: classes_of(path) for part, path in layout(folder).items()}
    if entry and entry.name == "caltech101":
        for found in parts.values():
            found.pop(CLUTTER, None)
    classes = tuple(next(iter(parts.values())))
    if len(classes) < 2:
        raise InputError(
            f"{folder} has one class only, '{classes[0]}'; give at least two class folders"
        )
    files, labels = {}, {}
    for part, found in parts.items():
        unknown = sorted(set(found) - set(classes))
        if unknown:
            raise InputError(
                f"class '{unknown[0]}' in {folder / part} is not in {folder / 'train'}; "
                "add it there or delete it"
            )
        files[part] = [path for paths in found.values() for path in paths]
        labels[part] = np.repeat(
            np.array([classes.index(one) for one in found], dtype=np.int64),
            [len(paths) for paths in found.values()],
        )

    def read(part: str, size: int, channels: int) -> tuple:
        decoded = in_threads(lambda path: decode(path, size, channels), files[part])
        bad = [one for one in decoded if isinstance(one, Unreadable)]
        kept = np.array([not isinstance(one, Unreadable) for one in decoded], dtype=bool)
        images = (one for one in decoded if not isinstance(one, Unreadable))
        return stack(images, name), kept, bad

    return FolderSource(
        name=name,
        classes=classes,
        labels=labels,
        read=read,
        origin=entry.origin if entry else f"image folder {folder}",
        licence=entry.licence if entry else "as its owner says",
        files=files,
    )
