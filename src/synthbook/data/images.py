"""Labelled images in memory: the one form in which every room of the library takes them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from synthbook.errors import InputError, did_you_mean
from synthbook.randomness import numpy_generator

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Labelled images; two sets hold the same thing when their ``fingerprint()`` is the same.

    Args:
        images: uint8 [N, H, W, C], values 0..255, C = 1 (grey) or 3 (RGB).
        labels: int64 [N], 0 <= label < len(classes); any integer type is converted.
        classes: the classes' names, in the order of the labels. A class may be without images.
        name: what the set is called in rows, captions and errors.
    """

    images: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]
    name: str

    def __post_init__(self) -> None:
        """Check the fields, and bring labels and classes to their types."""
        images, labels = np.asarray(self.images), np.asarray(self.labels)
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] not in (1, 3):
            raise InputError(
                f"images of '{self.name}' are {images.dtype} {list(images.shape)}; "
                "give uint8 [N, H, W, C] with C = 1 or 3"
            )
        whole = not labels.size or np.issubdtype(labels.dtype, np.integer)
        if labels.shape != (len(images),) or not whole:
            raise InputError(
                f"labels of '{self.name}' are {labels.dtype} {list(labels.shape)}; "
                f"give one integer for each of its {len(images)} images"
            )
        labels = labels.astype(np.int64, copy=False)
        if labels.size and not 0 <= labels.min() <= labels.max() < len(self.classes):
            raise InputError(
                f"labels of '{self.name}' run from {labels.min()} to {labels.max()}; "
                f"give 0 to {len(self.classes) - 1}, as it has {len(self.classes)} classes"
            )
        object.__setattr__(self, "images", images)
        object.__setattr__(self, "labels", labels)
        object.__setattr__(self, "classes", tuple(str(name) for name in self.classes))

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.labels)

    def __repr__(self) -> str:
        """Return name and shape; the pixels would fill a screen."""
        shape = " x ".join(map(str, self.images.shape[1:]))
        held = f"{len(self)} images of {shape}, {self.num_classes} classes"
        return f"ImageSet('{self.name}', {held})"

    @property
    def num_classes(self) -> int:
        """The number of classes, those without images included."""
        return len(self.classes)

    @property
    def channels(self) -> int:
        """1 for grey images, 3 for RGB."""
        return self.images.shape[3]

    @property
    def image_size(self) -> int:
        """The side of the square images, in pixels (InputError if they are not square)."""
        high, wide = self.images.shape[1:3]
        if high != wide:
            raise InputError(
                f"images of '{self.name}' are {high} x {wide}; load them with image_size set, "
                "which crops them to squares"
            )
        return high

    def counts(self) -> np.ndarray:
        """Return int64 [num_classes]: the number of images in each class."""
        return np.bincount(self.labels, minlength=self.num_classes)

    def subset(self, indices: Sequence[int] | np.ndarray) -> ImageSet:
        """Return the images at ``indices`` (integers, or a boolean mask) in that order."""
        chosen = np.asarray(indices, dtype=None if len(indices) else np.int64)
        return ImageSet(self.images[chosen], self.labels[chosen], self.classes, self.name)

    def of_classes(self, names: Sequence[str]) -> ImageSet:
        """Return the images of the classes ``names``, labelled 0.. in the order of ``names``."""
        for name in names:
            if name not in self.classes:
                remedy = did_you_mean(name, self.classes) or f"; it has {', '.join(self.classes)}"
                raise InputError(f"'{self.name}' has no class '{name}'{remedy}")
        new_label = np.full(self.num_classes, -1)
        new_label[[self.classes.index(name) for name in names]] = np.arange(len(names))
        labels = new_label[self.labels]
        return ImageSet(self.images[labels >= 0], labels[labels >= 0], tuple(names), self.name)

    @cached_property
    def _digest(self) -> str:
        digest = hashlib.sha256(repr((self.images.shape, self.classes)).encode())
        digest.update(np.ascontiguousarray(self.images).data)
        digest.update(np.ascontiguousarray(self.labels, dtype="<i8").data)
        return digest.hexdigest()[:16]

    def fingerprint(self) -> str:
        """Return 16 hex digits of shape, pixels, labels and class names; not of the set's name."""
        return self._digest


@dataclass(frozen=True, eq=False)
class Splits:
    """A data set's three disjoint parts, with the same classes and image shape.

    ``skipped`` names the files that could not be decoded (only with ``skip_unreadable``).
    """

    train: ImageSet
    val: ImageSet
    test: ImageSet
    skipped: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The data set's name."""
        return self.train.name

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes' names, in the order of the labels."""
        return self.train.classes


def concatenate(*sets: ImageSet, name: str | None = None) -> ImageSet:
    """Return the images of ``sets`` one after the other; its name joins theirs with "+"."""
    first = sets[0]
    for other in sets[1:]:
        shapes = [list(images.images.shape[1:]) for images in (other, first)]
        if shapes[0] != shapes[1] or other.classes != first.classes:
            raise InputError(
                f"'{other.name}' has images of {shapes[0]} and '{first.name}' of {shapes[1]}, or "
                "other classes; load both with one image_size and channels, and bring them to one "
                "list of classes with of_classes"
            )
    return ImageSet(
        np.concatenate([part.images for part in sets]),
        np.concatenate([part.labels for part in sets]),
        first.classes,
        "+".join(part.name for part in sets) if name is None else name,
    )


def few_shot(images: ImageSet, shots: int, *, seed: int) -> ImageSet:
    """Draw ``shots`` images of every class without replacement, kept in their order.

    With the same seed, the 5-shot set is part of the 10-shot set.
    """
    counts = images.counts()
    least = counts.min()
    if not 1 <= shots <= least:
        raise InputError(
            f"class '{images.classes[counts.argmin()]}' of '{images.name}' has {least} images, "
            f"which shots={shots} cannot be drawn from; ask for 1 to {least} shots, or drop the "
            "class with of_classes"
        )
    chosen = [
        numpy_generator(seed, "few_shot", k).permutation(np.flatnonzero(images.labels == k))[:shots]
        for k in range(images.num_classes)
    ]
    return images.subset(np.sort(np.concatenate(chosen)))


def at_most(images: ImageSet, count: int, *, seed: int = 0) -> ImageSet:
    """Return ``count`` images drawn by ``seed``, in their old order; all if there are no more."""
    if len(images) <= count:
        return images
    drawn = numpy_generator(seed, "at most").permutation(len(images))[:count]
    return images.subset(np.sort(drawn))


def pixels_and_labels(images: ImageSet, device: str) -> tuple[Tensor, Tensor]:
    """Return pixels uint8 [N, C, H, W] and labels int64 [N] on ``device``; refuse an empty set."""
    import torch

    if not len(images):
        raise InputError(f"'{images.name}' has no images to train on; give one at least")
    pixels = torch.tensor(images.images).permute(0, 3, 1, 2).contiguous()
    return pixels.to(device), torch.tensor(images.labels).to(device)
