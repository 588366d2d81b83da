"""Labelled images that are read when asked for: sets that no memory holds, such as a whole clone.

Where an `ImageSet` keeps its pixels, a `Deferred` keeps the labels and how to read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np

from synthbook.data import files
from synthbook.data.images import ImageSet
from synthbook.errors import InputError, did_you_mean


@dataclass(frozen=True, eq=False)
class Deferred:
    """Labelled images on a disk, or in an `ImageSet`.

    ``labels`` are int64 [N]; ``read`` maps indices, int64 [n], to uint8 [n, S, S, C]. ``digest``
    stands for what is read: of an ImageSet its fingerprint, of files one of their names, sizes and
    times (`of_files`).
    """

    labels: np.ndarray
    classes: tuple[str, ...]
    name: str
    read: Callable[[np.ndarray], np.ndarray]
    digest: str

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.labels)

    @property
    def num_classes(self) -> int:
        """The number of classes, those without images included."""
        return len(self.classes)

    def counts(self) -> np.ndarray:
        """Return int64 [num_classes]: the number of images in each class."""
        return np.bincount(self.labels, minlength=self.num_classes)

    def fingerprint(self) -> str:
        """Return 16 hex digits of labels, class names and what ``digest`` stands for."""
        said = repr((self.digest, self.classes)).encode()
        return hashlib.sha256(said + self.labels.astype("<i8").tobytes()).hexdigest()[:16]

    def subset(self, indices: np.ndarray) -> Deferred:
        """Return the images at ``indices``, int64 [n], in that order."""
        digest = hashlib.sha256(self.digest.encode() + indices.astype("<i8").tobytes()).hexdigest()
        return Deferred(
            self.labels[indices], self.classes, self.name,
            lambda chosen: self.read(indices[chosen]), digest,
        )  # fmt: skip

    def of_classes(self, names: Sequence[str]) -> Deferred:
        """Return the images of the classes ``names``, labelled 0.. in the order of ``names``."""
        for name in names:
            if name not in self.classes:
                remedy = did_you_mean(name, self.classes) or f"; it has {', '.join(self.classes)}"
                raise InputError(f"'{self.name}' has no class '{name}'{remedy}")
        new_label = np.full(self.num_classes, -1)
        new_label[[self.classes.index(name) for name in names]] = np.arange(len(names))
        part = self.subset(np.flatnonzero(new_label[self.labels] >= 0))
        labels = new_label[part.labels]
        return Deferred(labels, tuple(names), self.name, part.read, part.digest)

    def without(self, names: Sequence[str]) -> Deferred:
        """Return the images of all classes but ``names``; those it does not have need no removal.

        Raises:
            InputError: if fewer than two classes are left.
        """
        left = [name for name in self.classes if name not in set(names)]
        if len(left) < 2:
            raise InputError(
                f"without {len(self.classes) - len(left)} of its classes '{self.name}' has "
                f"{len(left)} left; leave two at least"
            )
        return self if len(left) == self.num_classes else self.of_classes(left)

    def labelled_as(self, classes: Sequence[str]) -> Deferred:
        """Return the images of those ``classes`` that the set has, labelled as ``classes`` are.

        So the 200 classes of ImageNet-R become some of 1,000, or of 100 with the others left out;
        ``recognize.ranks.measures`` then rates logits of all ``among`` those that are "present".

        Raises:
            InputError: if the set has none of them.
        """
        number = {name: k for k, name in enumerate(classes)}
        place = np.array([number.get(name, -1) for name in self.classes])
        if (place < 0).all():
            raise InputError(
                f"'{self.name}' has none of the {len(classes)} classes, such as '{classes[0]}', "
                f"but for example '{self.classes[0]}'; name the class folders of both alike"
            )
        part = self.subset(np.flatnonzero(place[self.labels] >= 0))
        return Deferred(place[part.labels], tuple(classes), self.name, part.read, part.digest)

    def held(self) -> ImageSet:
        """Return all images in memory."""
        pixels = self.read(np.arange(len(self)))
        return ImageSet(pixels, self.labels, self.classes, self.name)


def deferred(images: ImageSet | Deferred) -> Deferred:
    """Return a set as one that is read when asked for; nothing is copied."""
    if isinstance(images, Deferred):
        return images
    return Deferred(
        images.labels, images.classes, images.name, lambda chosen: images.images[chosen],
        images.fingerprint(),
    )  # fmt: skip


def of_files(
    paths: Sequence[Path], labels: np.ndarray, classes: Sequence[str], name: str, *,
    image_size: int, channels: int = 3,
) -> Deferred:  # fmt: skip
    """Return image files; each is read as `files` says: centre square, resized, ``channels`` deep.

    Sets are told apart by the names of classes and files, and by the files' sizes and times of
    change: a copy of other times is another set, and a file that was changed and has its old size
    and time is not noticed.

    Raises:
        InputError: if a file is not there, and when it is read if it cannot be decoded.
    """
    if image_size not in range(4, 4097) or channels not in (1, 3):
        raise InputError(
            f"image_size is {image_size!r} and channels {channels!r}; images of '{name}' may be "
            "of unequal size, so give pixels from 4 to 4096, and 1 (grey) or 3 (RGB)"
        )
    paths = list(paths)
    work = partial(files.decode, image_size=image_size, channels=channels)

    def read(chosen: np.ndarray) -> np.ndarray:
        good, _, bad = files.readable(files.in_threads(work, [paths[k] for k in chosen]))
        files.refuse(bad, name)
        return files.stack(good, name, channels)

    told = "\n".join(files.in_threads(partial(_told, name=name), paths))
    digest = hashlib.sha256(f"{image_size} {channels}\n{told}".encode()).hexdigest()
    return Deferred(np.asarray(labels, np.int64), tuple(classes), name, read, digest)


def _told(path: Path, name: str) -> str:
    """Return what tells a file from others, without reading it."""
    try:
        status = path.stat()
    except OSError as error:
        raise InputError(
            f"an image of '{name}' cannot be read: {path} ({error.strerror}); bring it, or leave "
            "it out"
        ) from error
    return f"{'/'.join(path.parts[-2:])} {status.st_size} {status.st_mtime_ns}"


def of_folder(folder: Path, *, image_size: int, channels: int = 3, name: str = "") -> Deferred:
    """Return all images of a folder of class folders, without any split."""
    of_class = files.classes_of(folder)
    labels = np.repeat(np.arange(len(of_class)), [len(found) for found in of_class.values()])
    paths = [*chain.from_iterable(of_class.values())]
    how = {"image_size": image_size, "channels": channels}
    return of_files(paths, labels, tuple(of_class), name or folder.resolve().name, **how)
