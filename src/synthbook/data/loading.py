"""`load` and `check`: one name, folder or archive in; fixed splits, or a summary, out."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from synthbook.data.files import Part, Unread, conform, one_size, open_folder, refuse, spread
from synthbook.data.images import ImageSet, Splits
from synthbook.data.named import REGISTRY, Entry, entry_of, find_named, read_named
from synthbook.data.npz import open_npz
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
    found = _find(data, data_root, image_size or 0, channels)
    if isinstance(found, Entry):
        side, num_classes, counts, skipped = found.image_size, found.num_classes, found.counts, ()
        size = f"{side} x {side} pixels" if side else "of unequal size"
        if image_size == 0 and not side:
            raise InputError(
                f"images of '{found.name}' are of unequal size; set image_size, which crops them "
                "to squares and resizes them to one size"
            )
    else:
        parts, chosen, skipped = _split(found, None, skip_unreadable, same_size=image_size == 0)
        shapes = set().union(*(part.shapes for part in parts.values()))
        size, num_classes = f"{spread(shapes)} pixels", len(found.classes)
        counts = {split: len(indices) for split, (_, indices) in chosen.items()}
    terms = found.origin, found.licence
    return Summary(found.name, *terms, num_classes, found.classes, dict(counts), size, skipped)


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
    found = _find(data, data_root, image_size, channels)
    if isinstance(found, Entry):
        found = read_named(found, data_root, image_size, channels)
    parts, chosen, skipped = _split(found, (image_size, channels), skip_unreadable)
    most = max(part.images.shape[3] for part in parts.values())
    sets = {}
    for split, (part, indices) in chosen.items():
        place = np.cumsum(parts[part].kept) - 1  # of a listed image among those that were decoded
        images = conform(parts[part].images[place[indices]], 0, most)
        sets[split] = ImageSet(images, found.labels[part][indices], found.classes, found.name)
    return Splits(**sets, skipped=skipped)


def _find(data: str, data_root: str, image_size: int, channels: int) -> Unread | Entry:
    """Return the images that ``data`` means, unread; of a named set it may be the entry.

    A name wins over a path; './name' is a path.

    Raises:
        InputError: if there are none, or ``image_size`` or ``channels`` is impossible.
    """
    whole = isinstance(image_size, int | np.integer) and not isinstance(image_size, bool)
    if not whole or not (image_size == 0 or 4 <= image_size <= 4096):
        raise InputError(
            f"image_size is {image_size!r}; give pixels from 4 to 4096, or 0 to keep the size"
        )
    if isinstance(channels, bool) or channels not in (0, 1, 3):
        raise InputError(
            f"channels is {channels!r}; give 1 (grey), 3 (RGB) or 0 (as the images are)"
        )
    names = ", ".join(REGISTRY)
    if not isinstance(data, str | os.PathLike) or not str(data):
        raise InputError(f"data is {data!r}; give a name ({names}), a folder or an .npz")
    text = str(data)
    path = Path(text).expanduser()
    if text in REGISTRY:
        return find_named(REGISTRY[text], data_root)
    if path.is_dir():
        return open_folder(path)
    if path.suffix == ".npz" and path.is_file():
        return open_npz(path)
    if path.exists():
        raise InputError(
            f"data '{text}' is a file, but no .npz; give an .npz or a folder of class folders"
        )
    if path.suffix == ".npz" or text.startswith((".", "~")) or {"/", os.sep} & set(text):
        raise InputError(
            f"data '{text}' does not exist; correct the path, or give a known name ({names})"
        )
    return find_named(entry_of(text), data_root)  # which raises and says what names there are


def _split(
    unread: Unread,
    wanted: tuple[int, int] | None,
    skip_unreadable: bool,
    *,
    same_size: bool = True,
) -> tuple[dict[str, Part], dict[str, tuple[str, np.ndarray]], tuple[str, ...]]:
    """Read an ``Unread`` and split it.

    Returns:
        Part -> what was read; split -> (part, indices of its readable images); the names of the
        unreadable ones.

    Raises:
        InputError: if images are unreadable, sizes differ, or skipping files left a split empty
            or a class without training images.
    """
    name, classes = unread.name, unread.classes
    planned = plan(unread.labels, classes, name, unread.sizes)
    parts = {part: unread.read(part, wanted) for part in unread.labels}
    bad = [file for part in parts.values() for file in part.bad]
    shapes = set().union(*(part.shapes for part in parts.values()))
    if not skip_unreadable or not shapes:
        refuse(bad, name)
    if same_size:
        one_size(shapes, name)
    chosen = {}
    for split, (part, indices) in planned.items():
        indices = indices[parts[part].kept[indices]]
        if not len(indices):
            raise InputError(f"'{name}' has no readable image for {split}; replace its files")
        counts = np.bincount(unread.labels[part][indices], minlength=len(classes))
        if split == "train" and not counts.all():
            raise InputError(
                f"class '{classes[int(counts.argmin())]}' of '{name}' has no readable "
                "training image; replace its files"
            )
        chosen[split] = part, indices
    return parts, chosen, tuple(file.name for file in bad)
