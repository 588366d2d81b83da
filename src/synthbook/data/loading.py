"""`load` and `check`: one name, folder or archive in; fixed splits, or a summary, out."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from synthbook.data.decode import Unreadable, conform, header, in_threads, one_size, refuse, spread
from synthbook.data.folders import FolderSource, open_folder
from synthbook.data.images import ImageSet, Splits
from synthbook.data.named import cifar_files, open_named, open_own, require
from synthbook.data.npz import open_npz
from synthbook.data.registry import REGISTRY, Entry, entry
from synthbook.data.sources import Source
from synthbook.data.splits import plan
from synthbook.errors import InputError


@dataclass(frozen=True)
class Summary:
    """What `check` found without reading pixels; printing it gives one line.

    ``counts`` are images a part: train, val, test where the split is known already, else the
    official parts ("train+val" becomes train and val). ``size`` is the native size in words;
    ``classes`` is empty where only reading the images tells the names.
    """

    name: str
    origin: str
    licence: str
    num_classes: int
    classes: tuple[str, ...]
    counts: Mapping[str, int]
    size: str
    skipped: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Return the summary as one line."""
        counts = ", ".join(f"{count:,} {part}" for part, count in self.counts.items())
        skipped = f"; {len(self.skipped)} unreadable files skipped" if self.skipped else ""
        return (
            f"{self.name}: {self.origin}; {self.num_classes} classes; {counts} images, "
            f"{self.size}; terms: {self.licence}{skipped}"
        )


def where(data: str) -> Entry | Path:
    """Return the named set or the path that ``data`` means. A name wins; './name' is a path."""
    if not isinstance(data, str | os.PathLike) or not str(data):
        raise InputError(
            f"data is {data!r}; give a name ({', '.join(REGISTRY)}), a folder or an .npz"
        )
    text = str(data)
    if text in REGISTRY:
        return REGISTRY[text]
    path = Path(text).expanduser()
    if path.is_dir() or (path.suffix == ".npz" and path.is_file()):
        return path
    if path.exists():
        raise InputError(
            f"data '{text}' is a file, but no .npz; give an .npz or a folder of class folders"
        )
    if path.suffix == ".npz" or text.startswith((".", "~")) or {"/", os.sep} & set(text):
        raise InputError(
            f"data '{text}' does not exist; correct the path, or give a known name "
            f"({', '.join(REGISTRY)})"
        )
    return entry(text)


def open_path(path: Path) -> Source:
    """Return the source of a user's folder or archive."""
    return open_folder(path) if path.is_dir() else open_npz(path)


def options(image_size: int, channels: int) -> None:
    """Raise InputError for an impossible ``image_size`` or ``channels``."""
    whole = isinstance(image_size, int | np.integer) and not isinstance(image_size, bool)
    if not whole or not (image_size == 0 or 4 <= image_size <= 4096):
        raise InputError(
            f"image_size is {image_size!r}; give pixels from 4 to 4096, or 0 to keep the size"
        )
    if isinstance(channels, bool) or channels not in (0, 1, 3):
        raise InputError(
            f"channels is {channels!r}; give 1 (grey), 3 (RGB) or 0 (as the images are)"
        )


def check(
    data: str,
    *,
    data_root: str = "",
    skip_unreadable: bool = False,
    image_size: int | None = None,
    channels: int = 0,
) -> Summary:
    """Find out in about a second whether ``load`` can read ``data``; reads no pixels.

    Folders: names, and the head of every file. Archives: headers and labels. Named sets: whether
    their files are there. A file that is cut short passes here and is named by ``load``.
    With ``image_size`` given, 0 included, it is checked that images then have one size.

    Raises:
        InputError: one sentence with the thing, the value and the remedy, for every bad input.
    """
    options(image_size or 0, channels)
    found = where(data)
    if isinstance(found, Entry):
        own = None if found.bundled else open_own(found, require(found, data_root))
        if own is None:
            return summary_of(found, data_root, image_size)
        source = own
    else:
        source = open_path(found)
    shapes, kept, skipped = source.shapes, None, ()
    if isinstance(source, FolderSource):
        shapes, kept, skipped = read_headers(source, skip_unreadable)
    if image_size == 0:
        one_size(set(shapes), source.name)
    chosen = plan(source.labels, source.classes, source.name, source.sizes)
    counts = {}
    for split, (part, indices) in chosen.items():
        left = indices if kept is None else indices[kept[part][indices]]
        counts[split] = len(left)
        not_emptied(source, split, source.labels[part][left])
    return Summary(
        source.name,
        source.origin,
        source.licence,
        len(source.classes),
        source.classes,
        counts,
        f"{spread(shapes)} pixels",
        skipped,
    )


def summary_of(found: Entry, data_root: str, image_size: int | None) -> Summary:
    """Return the summary of a bundled or official set, whose files are there."""
    if found.url:
        cifar_files(found, Path(data_root).expanduser())
    if image_size == 0 and not found.image_size:
        raise InputError(
            f"images of '{found.name}' are of unequal size; set image_size, which crops them to "
            "squares and resizes them to one size"
        )
    side = found.image_size
    return Summary(
        found.name,
        found.origin,
        found.licence,
        found.num_classes,
        found.classes,
        dict(found.counts),
        f"{side} x {side} pixels" if side else "of unequal size",
    )


def read_headers(
    source: FolderSource, skip_unreadable: bool
) -> tuple[set[tuple[int, int]], dict[str, np.ndarray], tuple[str, ...]]:
    """Return the (height, width) that occur, which files are readable, and the names of others."""
    shapes, kept, bad = set(), {}, []
    for part, files in source.files.items():
        sizes = in_threads(header, files)
        bad += [one for one in sizes if isinstance(one, Unreadable)]
        kept[part] = np.array([not isinstance(one, Unreadable) for one in sizes], dtype=bool)
        shapes |= {one[::-1] for one in sizes if not isinstance(one, Unreadable)}
    if not skip_unreadable or not shapes:
        refuse(bad, source.name)
    return shapes, kept, tuple(one.name for one in bad)


def not_emptied(source: Source, split: str, labels: np.ndarray) -> None:
    """Raise InputError if skipping files left a split empty, or a class without training images."""
    if not len(labels):
        raise InputError(f"'{source.name}' has no readable image for {split}; replace its files")
    counts = np.bincount(labels, minlength=len(source.classes))
    if split == "train" and not counts.all():
        raise InputError(
            f"class '{source.classes[int(counts.argmin())]}' of '{source.name}' has no readable "
            "training image; replace its files"
        )


def load(
    data: str,
    *,
    data_root: str = "",
    image_size: int = 0,
    channels: int = 0,
    skip_unreadable: bool = False,
) -> Splits:
    """Read a data set and its fixed splits. Nothing is downloaded, and no seed is involved.

    Args:
        data: a name (see ``available``), a folder of class folders, or an .npz.
        data_root: where named sets lie: <name>.npz, the official files, or <name>/.
        image_size: side in pixels; images are cropped to their centre square and resized with
            PIL's antialiased bicubic. 0 keeps the size, which then must be one square size.
        channels: 1 grey, 3 RGB, 0 as the images are (RGB if only some of them are grey).
        skip_unreadable: leave out files that cannot be decoded, and name them in
            ``Splits.skipped``; the split of all the others does not change.

    Splits: an official test split stays; a tenth of train becomes the validation split where
    there is none (CIFAR-10: 45,000 / 5,000 / 10,000). A single pool is split stratified
    60/10/30. Two bundled sets have rules of their own, set so that training images are few
    enough to leave room for improvement, and test images many enough for narrow intervals:
    ``digits`` 300 / 197 / 1,300, ``mnist5k`` 1,000 / 500 / 3,500, both stratified.

    Raises:
        InputError: one sentence with the thing, the value and the remedy, for every bad input.
    """
    options(image_size, channels)
    found = where(data)
    if isinstance(found, Entry):
        source = open_named(found, data_root, image_size, channels)
    else:
        source = open_path(found)
    chosen = plan(source.labels, source.classes, source.name, source.sizes)
    arrays = {part: source.read(part, image_size, channels) for part in source.labels}
    bad = [one for _, _, unreadable in arrays.values() for one in unreadable]
    if not skip_unreadable or not any(kept.any() for _, kept, _ in arrays.values()):
        refuse(bad, source.name)
    one_size({a.shape[1:3] for a, kept, _ in arrays.values() if kept.any()}, source.name)
    most = max(images.shape[3] for images, _, _ in arrays.values())
    sets = {}
    for split, (part, indices) in chosen.items():
        images, kept, _ = arrays[part]
        left = indices[kept[indices]]
        not_emptied(source, split, source.labels[part][left])
        place = np.cumsum(kept) - 1  # where a listed image lies among those that were decoded
        sets[split] = ImageSet(
            conform(images[place[left]], 0, most),
            source.labels[part][left],
            source.classes,
            source.name,
        )
    return Splits(**sets, skipped=tuple(one.name for one in bad))
