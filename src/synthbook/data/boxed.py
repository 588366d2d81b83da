"""Images with boxes: the form in which detection takes its data, its truth and what was found."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from synthbook.errors import InputError, did_you_mean


@dataclass(frozen=True, eq=False)
class Objects:
    """What there truly is in an image.

    ``boxes`` are float32 [n, 4]: left, top, right, bottom in pixels, borders and not centres of
    pixels, so that the whole image is (0, 0, W, H). ``labels`` are int64 [n]; ``difficult`` bool
    [n] marks objects that count neither for nor against a detector (Everingham et al. 2010).
    """

    boxes: np.ndarray
    labels: np.ndarray
    difficult: np.ndarray

    def __len__(self) -> int:
        """Return the number of objects."""
        return len(self.labels)


@dataclass(frozen=True, eq=False)
class Detections:
    """What a detector found in an image: boxes and labels as in `Objects`, scores float32 [n]."""

    boxes: np.ndarray
    labels: np.ndarray
    scores: np.ndarray

    def __len__(self) -> int:
        """Return the number of detections."""
        return len(self.labels)


@dataclass(frozen=True, eq=False)
class Boxed:
    """Images with boxes, in memory or on a disk.

    Args:
        objects: of each image; an image may have none.
        classes: the classes' names, in the order of the labels.
        name: what the set is called in rows, captions and errors.
        sizes: int64 [N, 2], height and width of each image.
        read: maps the number of an image to uint8 [H, W, 3].
        digest: stands for the pixels that are read.
    """

    objects: tuple[Objects, ...]
    classes: tuple[str, ...]
    name: str
    sizes: np.ndarray
    read: Callable[[int], np.ndarray]
    digest: str

    def __post_init__(self) -> None:
        """Check that each image has a size, and that boxes and labels are such."""
        if self.sizes.shape != (len(self.objects), 2):
            raise InputError(
                f"'{self.name}' has boxes of {len(self.objects)} images and sizes of "
                f"{len(self.sizes)}; give height and width of each image"
            )
        for number, (seen, size) in enumerate(zip(self.objects, self.sizes, strict=True)):
            check_objects(seen, size, self.classes, f"image {number} of '{self.name}'")

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.objects)

    def __repr__(self) -> str:
        """Return name and counts."""
        boxes = sum(map(len, self.objects))
        return (
            f"Boxed('{self.name}', {len(self)} images, {boxes} boxes, {self.num_classes} classes)"
        )

    @property
    def num_classes(self) -> int:
        """The number of classes, those without boxes included."""
        return len(self.classes)

    def counts(self) -> np.ndarray:
        """Return int64 [num_classes]: the boxes of each class that are not difficult."""
        labels = [seen.labels[~seen.difficult] for seen in self.objects]
        return np.bincount(np.concatenate([*labels, []]).astype(int), minlength=self.num_classes)

    def check_counts(self) -> None:
        """Raise InputError if there is no image, or if a class has no box to learn or be rated."""
        if not len(self):
            raise InputError(f"'{self.name}' has no images; give one at least")
        missing = [name for name, n in zip(self.classes, self.counts(), strict=True) if not n]
        if missing:
            raise InputError(
                f"class '{missing[0]}' has no box in '{self.name}'"
                f"{f' (nor have {len(missing) - 1} others)' if missing[1:] else ''}; add images, "
                "or leave the class out with of_classes"
            )

    def subset(self, indices: Sequence[int] | np.ndarray) -> Boxed:
        """Return the images at ``indices`` in that order."""
        chosen = np.asarray(indices, np.int64)
        digest = hashlib.sha256(self.digest.encode() + chosen.astype("<i8").tobytes()).hexdigest()
        return Boxed(
            tuple(self.objects[k] for k in chosen), self.classes, self.name, self.sizes[chosen],
            lambda number: self.read(int(chosen[number])), digest,
        )  # fmt: skip

    def of_classes(self, names: Sequence[str]) -> Boxed:
        """Return all images with the boxes of the classes ``names``, labelled in their order."""
        for name in names:
            if name not in self.classes:
                remedy = did_you_mean(name, self.classes) or f"; it has {', '.join(self.classes)}"
                raise InputError(f"'{self.name}' has no class '{name}'{remedy}")
        new_label = np.full(self.num_classes, -1)
        new_label[[self.classes.index(name) for name in names]] = np.arange(len(names))
        kept = []
        for seen in self.objects:
            labels = new_label[seen.labels]
            held = labels >= 0
            kept.append(Objects(seen.boxes[held], labels[held], seen.difficult[held]))
        return Boxed(tuple(kept), tuple(names), self.name, self.sizes, self.read, self.digest)

    def fingerprint(self) -> str:
        """Return 16 hex digits of boxes, labels, class names and what ``digest`` stands for."""
        return self._digest

    @cached_property
    def _digest(self) -> str:
        digest = hashlib.sha256(repr((self.digest, self.classes, len(self))).encode())
        for seen in self.objects:
            digest.update(repr(len(seen)).encode())
            digest.update(np.ascontiguousarray(seen.boxes, "<f4").data)
            digest.update(np.ascontiguousarray(seen.labels, "<i8").data)
            digest.update(np.ascontiguousarray(seen.difficult, bool).data)
        return digest.hexdigest()[:16]


def check_objects(
    seen: Objects, size: Sequence[int], classes: Sequence[str], where: str
) -> None:  # fmt: skip
    """Raise InputError unless boxes lie in an image of ``size`` (height, width) and have an area.

    Labels are checked too; ``where`` names the image.
    """
    boxes, count = seen.boxes, len(seen.labels)
    if boxes.shape != (count, 4) or seen.difficult.shape != (count,):
        raise InputError(
            f"{where} has boxes {list(boxes.shape)}, {count} labels and {len(seen.difficult)} "
            "marks of difficulty; give [n, 4], n and n"
        )
    if not count:
        return
    high, wide = int(size[0]), int(size[1])
    left, top, right, bottom = boxes.T
    inside = (left >= 0) & (top >= 0) & (right <= wide) & (bottom <= high)
    for held, fault in ((inside, f"does not lie in its {wide} x {high} pixels"),
                        ((right > left) & (bottom > top), "has no area")):  # fmt: skip
        if not held.all():
            box = ", ".join(f"{x:g}" for x in boxes[np.flatnonzero(~held)[0]])
            raise InputError(
                f"the box ({box}) in {where} {fault}; give left, top, right, bottom in pixels "
                "with 0 <= left < right <= width, and alike down"
            )
    if not 0 <= seen.labels.min() <= seen.labels.max() < len(classes):
        raise InputError(
            f"labels in {where} run from {seen.labels.min()} to {seen.labels.max()}; give 0 to "
            f"{len(classes) - 1}, as there are {len(classes)} classes"
        )


def joined(*sets: Boxed, name: str | None = None) -> Boxed:
    """Return the images of ``sets`` one after the other; its name joins theirs with "+"."""
    for other in sets[1:]:
        if other.classes != sets[0].classes:
            raise InputError(
                f"'{other.name}' and '{sets[0].name}' have different classes; bring them to one "
                "list with of_classes"
            )
    starts = np.cumsum([0, *map(len, sets)])

    def read(number: int) -> np.ndarray:
        which = int(np.searchsorted(starts, number, side="right")) - 1
        return sets[which].read(number - int(starts[which]))

    return Boxed(
        tuple(seen for one in sets for seen in one.objects), sets[0].classes,
        "+".join(one.name for one in sets) if name is None else name,
        np.concatenate([one.sizes for one in sets]), read, "+".join(one.digest for one in sets),
    )  # fmt: skip


def in_memory(
    images: np.ndarray, objects: Sequence[Objects], classes: Sequence[str], name: str
) -> Boxed:
    """Return images uint8 [N, H, W, 3] with boxes as a set."""
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3:
        raise InputError(
            f"images of '{name}' are {images.dtype} {list(images.shape)}; give uint8 [N, H, W, 3]"
        )
    digest = hashlib.sha256(repr(images.shape).encode())
    digest.update(np.ascontiguousarray(images).data)
    sizes = np.tile(np.array(images.shape[1:3], np.int64), (len(images), 1))
    return Boxed(
        tuple(objects), tuple(classes), name, sizes, lambda number: images[number],
        digest.hexdigest(),
    )  # fmt: skip
