"""`load` and `check`: one name, folder or archive in; fixed splits, or a summary, out."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np

from synthbook import machine
from synthbook.data import files
from synthbook.data.images import ImageSet, Splits
from synthbook.data.named import REGISTRY, Entry, entry_of, find_named, read_named
from synthbook.data.npz import open_npz
from synthbook.data.shards import holds_shards, open_shards
from synthbook.data.splits import plan
from synthbook.errors import InputError
from synthbook.machine import check_memory
from synthbook.settings import shown
from synthbook.store import path_of


@dataclass(frozen=True)
class Summary:
    """What `check` found without reading pixels; printing it gives one line.

    ``counts`` are images a part: train, val, test where the split is known already, else the
    official parts ("train+val" becomes train and val), or "" for all together. ``size`` is the
    native size in words; ``classes`` is empty where only reading the images tells the names.
    ``sources`` are lines on generated images beside them. ``side`` is the shorter one of the
    largest image in pixels (0: not known), ``channels`` are at most so many.
    """

    name: str
    origin: str
    licence: str
    num_classes: int
    classes: tuple[str, ...]
    counts: Mapping[str, int]
    size: str
    skipped: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    side: int = 0
    channels: int = 3

    def __str__(self) -> str:
        """Return the summary as one line, and one a source of generated images."""
        counts = ", ".join(f"{count:,} {part}".strip() for part, count in self.counts.items())
        skipped, more = "", len(self.skipped) - 3
        if self.skipped:
            names = ", ".join(self.skipped[:3]) + (f" and {more} more" if more > 0 else "")
            kind = f"unreadable file{'s' * (len(self.skipped) > 1)}"
            skipped = f"; {len(self.skipped)} {kind} skipped: {names}"
        return (
            f"{self.name}: {self.origin}; {self.num_classes} classes; {counts} images, "
            f"{self.size}; terms: {self.licence}{skipped}" + "".join(f"\n{s}" for s in self.sources)
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

    Folders: names, and the head of every file. Shards: records, and heads. Archives: headers and
    labels. Named sets: whether their files are there. A file that is cut short passes here and is
    named by ``load``. With ``image_size`` given, 0 included, it is checked that images then have
    one size.
    """
    found = _find(data, data_root, image_size or 0, channels)
    if isinstance(found, Entry):
        num_classes, counts, skipped = found.num_classes, dict(found.counts), ()
        depth = found.channels
        shapes = {(found.image_size, found.image_size)} if found.image_size else set()
    else:
        num_classes = len(found.classes)
        chosen, shapes, skipped = _split(found, None, skip_unreadable)
        counts = {split: len(labels) for split, (_, labels) in chosen.items()}
        depth = getattr(chosen["train"][0][0], "shape", (0, 0, 3))[2]  # heads of files have none
    if image_size == 0:
        files.one_size(shapes, found.name)
    largest = (image_size or 0) ** 2 or max((high * wide for high, wide in shapes), default=0)
    check_held(found.name, sum(counts.values()), largest, channels or depth)
    terms, size = (found.origin, found.licence), files.spread(shapes)
    side = max((min(shape) for shape in shapes), default=0)
    return Summary(
        found.name, *terms, num_classes, found.classes, counts, size, skipped,
        side=side, channels=channels or depth,
    )  # fmt: skip


def load(
    data: str,
    *,
    data_root: str = "",
    image_size: int = 0,
    channels: int = 0,
    skip_unreadable: bool = False,
) -> Splits:
    """Read a data set and its fixed splits. Nothing is downloaded, and no seed is involved.

    How a set is split says `splits.plan`; bundled sets have rules of their own, set so that
    training images are few enough to leave room for improvement, and test images many enough for
    narrow intervals. If own images are in train and in another part, a line on the console says so.

    Args:
        data: a name (see ``available``), a folder of class folders or of shards, or an .npz.
        data_root: where named sets lie: <name>.npz, the official files, or <name>/.
        image_size: side in pixels (see `files`); 0 keeps the size, which must be one square size.
        channels: 1 grey, 3 RGB, 0 as the images are (RGB if only some of them are grey).
        skip_unreadable: leave out files that cannot be decoded, and name them in
            ``Splits.skipped``; the split of all the others does not change.
    """
    found = _find(data, data_root, image_size, channels)
    if isinstance(found, Entry):
        check_held(found.name, sum(found.counts.values()), image_size**2, channels or 1)
        found = read_named(found, data_root, image_size, channels)
    else:
        check_held(found.name, sum(map(len, found.labels.values())), image_size**2, channels or 1)
    chosen, shapes, skipped = _split(found, (image_size, channels), skip_unreadable)
    files.one_size(shapes, found.name)
    most = max(image.shape[2] for images, _ in chosen.values() for image in images)
    sets = {
        split: ImageSet(files.stack(images, found.name, most), labels, found.classes, found.name)
        for split, (images, labels) in chosen.items()
    }
    if str(data) not in REGISTRY:
        _tell_shared(sets)
    return Splits(**sets, skipped=skipped)


def _tell_shared(sets: Mapping[str, ImageSet]) -> None:
    """Say on the console if images of test or validation are images of train, pixel by pixel."""
    digests = {
        split: [hashlib.sha256(image).digest() for image in some.images]
        for split, some in sets.items()
    }
    learned, found = set(digests["train"]), []
    for split, words in (("test", "test"), ("val", "validation")):
        if count := sum(one in learned for one in digests[split]):
            found.append(f"{count:,} of {len(digests[split]):,} {words} images")
    if found:
        machine.say(
            f"{' and '.join(found)} of '{sets['train'].name}' are among its training images, too; "
            "remove the duplicates, or accuracies come out too high"
        )


def check_held(name: str, count: int, pixels: int, channels: int) -> None:
    """Raise InputError if images of so many pixels cannot be held in this machine's memory."""
    check_memory(
        2 * count * pixels * channels,  # one by one, and stacked
        f"the {count:,} images of '{name}'",
        "give a smaller image_size, or fewer images",
    )


def check_generated(path: str, classes: Sequence[str]) -> np.ndarray:
    """Return how many generated images of each class a folder or .npz holds, int64 [classes].

    ``classes`` are those of the real data, () where only reading these tells. No pixels are read.
    """
    found = _generated(_find(path, "", 0, 0), classes)
    for part in found.labels:
        files.refuse(files.readable(found.read(part, None))[2], found.name)
    labels = np.concatenate([*found.labels.values()])
    counts = np.bincount(labels, minlength=len(found.classes))
    return counts[[found.classes.index(name) for name in classes or found.classes]]


def load_generated(path: str, like: ImageSet) -> ImageSet:
    """Return all generated images of a folder or .npz, in size, channels and classes as ``like``.

    Classes go by their names; those of an .npz that has none by their numbers.
    """
    found = _generated(_find(path, "", 0, 0), like.classes)
    images = []
    for part in found.labels:
        good, _, bad = files.readable(found.read(part, (like.image_size, like.channels)))
        files.refuse(bad, found.name)
        images += good
    labels = np.concatenate([*found.labels.values()])
    whole = ImageSet(np.stack(images), labels, found.classes, found.name)
    return whole.of_classes(like.classes)


def _generated(found: files.Unread | Entry, classes: Sequence[str]) -> files.Unread:
    """Return generated images, unread, that have the classes of the real ones."""
    if isinstance(found, Entry):
        raise InputError(
            f"'{found.name}' names real images; give the folder or .npz of generated ones as a path"
        )
    if found.numbered and len(found.classes) == len(classes):
        found = replace(found, classes=tuple(classes))
    if classes:
        same_classes(classes, found.classes)
    return found


def same_classes(
    real: Sequence[str], others: Sequence[str], what: str = "generated images"
) -> None:
    """Raise InputError that names the classes which only one of the two has."""
    faults = []
    for verb, names, rest in (("lack", real, others), ("have in excess", others, real)):
        if only := [repr(name) for name in names if name not in rest]:
            faults.append(f"{verb} {', '.join(only[:5])}{' ...' if only[5:] else ''}")
    if faults:
        raise InputError(
            f"the {what} {' and '.join(faults)}; name the class folders (in an .npz the array "
            "'names') as the real ones are"
        )


def _find(data: str, data_root: str, image_size: int, channels: int) -> files.Unread | Entry:
    """Return the images that ``data`` means, unread; of a named set it may be the entry.

    A name wins over a path; './name' is a path.
    """
    if image_size != 0 and image_size not in range(4, 4097):
        raise InputError(
            f"image_size is {image_size!r}; give pixels from 4 to 4096, or 0 to keep the size"
        )
    if channels not in (0, 1, 3):
        raise InputError(
            f"channels is {channels!r}; give 1 (grey), 3 (RGB) or 0 (as the images are)"
        )
    text = str(data)
    path = path_of(text)
    if text in REGISTRY or not text:
        return find_named(entry_of(text), data_root)
    if path.is_dir():
        return open_shards(path) if holds_shards(path) else files.open_folder(path)
    if path.suffix == ".npz" and path.is_file():
        return open_npz(path)
    if path.exists() or path.suffix == ".npz" or text[0] in ".~" or len(path.parts) > 1:
        fault = "is a file, but no .npz" if path.exists() else "does not exist"
        raise InputError(
            f"data {shown(text)} {fault}; "
            f"correct the path to a folder or .npz, or give a known name ({', '.join(REGISTRY)})"
        )
    return find_named(entry_of(text), data_root)  # which raises and says what names there are


def _split(
    unread: files.Unread, wanted: tuple[int, int] | None, skip_unreadable: bool
) -> tuple[dict[str, tuple[list[files.Read], np.ndarray]], set[tuple[int, int]], tuple[str, ...]]:
    """Read an ``Unread`` and split it.

    Returns split -> (what was read of its images, labels), the (height, width) that occur, and the
    names of unreadable images, which are left out.
    """
    name, classes = unread.name, unread.classes
    if len(classes) < 2:
        raise InputError(f"'{name}' has one class only, '{classes[0]}'; give at least two")
    planned = plan(unread.labels, classes, name, unread.sizes)
    read = {part: unread.read(part, wanted) for part in unread.labels}
    good, _, bad = files.readable([*chain.from_iterable(read.values())])
    if not (skip_unreadable and good):
        files.refuse(bad, name)
    chosen = {}
    for split, (part, indices) in planned.items():
        images, kept, _ = files.readable([read[part][index] for index in indices])
        labels = unread.labels[part][indices[kept]]
        if not images:
            raise InputError(f"'{name}' has no readable image for {split}; replace its files")
        counts = np.bincount(labels, minlength=len(classes))
        if split == "train" and not counts.all():
            raise InputError(
                f"class '{classes[counts.argmin()]}' of '{name}' has no readable training image; "
                "replace its files"
            )
        chosen[split] = images, labels
    images = chain.from_iterable(images for images, _ in chosen.values())
    shapes = {getattr(image, "shape", image)[:2] for image in images}
    return chosen, shapes, tuple(file.name for file in bad)
