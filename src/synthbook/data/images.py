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

    Raises:
        InputError: if a type, a shape or a label is none of the above.
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
        if labels.shape != (len(images),):
            raise InputError(
                f"'{self.name}' has {len(images)} images and labels of shape "
                f"{list(labels.shape)}; give one label an image"
            )
        if labels.size and not np.issubdtype(labels.dtype, np.integer):
            raise InputError(f"labels of '{self.name}' are {labels.dtype}; give integers")
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
        high, wide, channels = self.images.shape[1:]
        return (
            f"ImageSet('{self.name}', {len(self)} images of {high} x {wide} x {channels}, "
            f"{self.num_classes} classes)"
        )

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
        chosen = np.asarray(indices)
        if chosen.size == 0 and chosen.dtype != bool:
            chosen = chosen.astype(np.int64)
        return ImageSet(self.images[chosen], self.labels[chosen], self.classes, self.name)

    def of_classes(self, names: Sequence[str]) -> ImageSet:
        """Return the images of the classes ``names``, labelled 0.. in the order of ``names``."""
        lookup = {name: k for k, name in enumerate(self.classes)}
        for name in names:
            if name not in lookup:
                remedy = did_you_mean(name, lookup) or f"; it has {', '.join(self.classes)}"
                raise InputError(f"'{self.name}' has no class '{name}'{remedy}")
        if len(set(names)) != len(names):
            raise InputError(f"classes {list(names)} name one twice; name each once")
        new_label = np.full(self.num_classes, -1, dtype=np.int64)
        new_label[[lookup[name] for name in names]] = np.arange(len(names))
        keep = np.flatnonzero(new_label[self.labels] >= 0)
        return ImageSet(self.images[keep], new_label[self.labels[keep]], tuple(names), self.name)

    @cached_property
    def _digest(self) -> str:
        digest = hashlib.sha256(repr((self.images.shape, self.classes)).encode())
        digest.update(np.ascontiguousarray(self.images).data)
        digest.update(np.ascontiguousarray(self.labels, dtype="<i8").data)
        return digest.hexdigest()[:16]

    def fingerprint(self) -> str:
        """Return 16 hex digits of SHA-256 over shape, pixels, labels and class names.

        The set's name does not count: it changes no number. Computed once a set.
        """
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

    def of_classes(self, names: Sequence[str]) -> Splits:
        """Return the three parts with the classes ``names`` only, labelled in that order."""
        parts = (part.of_classes(names) for part in (self.train, self.val, self.test))
        return Splits(*parts, self.skipped)


def concatenate(*sets: ImageSet, name: str | None = None) -> ImageSet:
    """Return the images of ``sets`` one after the other; its name joins theirs with "+".

    Raises:
        InputError: if there is no set, or their image shapes or classes differ.
    """
    if not sets:
        raise InputError("concatenate got no image set; give at least one")
    first = sets[0]
    for other in sets[1:]:
        if other.images.shape[1:] != first.images.shape[1:]:
            raise InputError(
                f"'{other.name}' has images of {list(other.images.shape[1:])} and '{first.name}' "
                f"of {list(first.images.shape[1:])}; load both with one image_size and channels"
            )
        if other.classes != first.classes:
            raise InputError(
                f"'{other.name}' and '{first.name}' have different classes; "
                "bring them to one list of classes with of_classes"
            )
    return ImageSet(
        np.concatenate([part.images for part in sets]),
        np.concatenate([part.labels for part in sets]),
        first.classes,
        "+".join(part.name for part in sets) if name is None else name,
    )


def few_shot(images: ImageSet, shots: int, *, seed: int) -> ImageSet:
    """Draw ``shots`` images of every class without replacement, kept in their order.

    The draws are nested: with the same seed, the 5-shot set is part of the 10-shot set, so that
    a curve over shots compares like with like.

    Raises:
        InputError: if ``shots`` is no positive integer, or a class has fewer images than that.
    """
    if isinstance(shots, bool) or not isinstance(shots, int | np.integer) or shots < 1:
        raise InputError(f"shots is {shots!r}; give an integer of at least 1")
    counts = images.counts()
    if images.num_classes and counts.min() < shots:
        poorest = int(counts.argmin())
        raise InputError(
            f"class '{images.classes[poorest]}' of '{images.name}' has {counts[poorest]} images, "
            f"fewer than shots={shots}; ask for at most {counts[poorest]} shots, or drop the "
            "class with of_classes"
        )
    chosen = [
        numpy_generator(seed, "few_shot", k).permutation(np.flatnonzero(images.labels == k))[:shots]
        for k in range(images.num_classes)
    ]
    return images.subset(np.sort(np.concatenate(chosen)) if chosen else [])


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
