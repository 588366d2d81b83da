"""Fixed splits: which image is for training, validation or test never depends on a run's seed."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from synthbook.errors import InputError
from synthbook.randomness import numpy_generator

STREAM = 0  # The seed of every split. It is no parameter: splits are part of the data.
POOL_SHARES = {"train": 0.6, "val": 0.1, "test": 0.3}
VALIDATION_SHARES = {"train": 0.9, "val": 0.1}


def _ranks(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (position in a random order of its class, number in its class), each [N]."""
    position = np.empty(len(labels), dtype=np.int64)
    size = np.empty(len(labels), dtype=np.int64)
    for k in np.unique(labels):
        members = np.flatnonzero(labels == k)
        drawn = numpy_generator(STREAM, "split", int(k)).permutation(members)
        position[drawn] = np.arange(len(members))
        size[members] = len(members)
    return position, size


def by_share(labels: np.ndarray, shares: Mapping[str, float]) -> dict[str, np.ndarray]:
    """Split every class by ``shares``; return sorted indices a part, disjoint, covering all.

    All parts but the first get the rounded share of a class's images and at least one of them;
    the first gets the rest. A class needs as many images as there are parts.
    """
    position, size = _ranks(labels)
    parts, start = {}, np.zeros(len(labels), dtype=np.int64)
    first, *others = shares
    for name in others:
        count = np.maximum(1, np.floor(shares[name] * size + 0.5)).astype(np.int64)
        parts[name] = np.flatnonzero((start <= position) & (position < start + count))
        start = start + count
    parts[first] = np.flatnonzero(position >= start)
    return {name: parts[name] for name in shares}


def by_size(labels: np.ndarray, sizes: Mapping[str, int]) -> dict[str, np.ndarray]:
    """Split into parts of exactly ``sizes`` (their sum is N); return sorted indices a part.

    Images are ordered by how far down their class's random order they lie, and the order is cut:
    with K classes, one of n images differs from its proportional share of the first part by at
    most 1/2 + K n / (2 N) images, which is one image where classes are balanced.
    """
    position, size = _ranks(labels)
    order = np.lexsort((labels, (position + 0.5) / size))
    cuts = np.cumsum(list(sizes.values()))[:-1]
    return {name: np.sort(part) for name, part in zip(sizes, np.split(order, cuts), strict=True)}


def plan(
    labels: Mapping[str, np.ndarray],
    classes: tuple[str, ...],
    name: str,
    sizes: Mapping[str, int] | None = None,
) -> dict[str, tuple[str, np.ndarray]]:
    """Return split -> (part, indices into it) for the parts that a data set has.

    ``labels`` is {"pool": ...}, {"train", "test"} or {"train", "val", "test"}. A pool is split
    stratified 60/10/30, or into ``sizes`` where the data set has its own rule. Where there is no
    official validation split, a tenth of train becomes it, stratified: the papers' protocol for
    CIFAR-10, 500 images a class. Official test splits stay as they are.

    Raises:
        InputError: if a class has too few images to be split, or is missing from train.
    """
    part, shares = "pool", POOL_SHARES
    if part not in labels:
        part, shares = "train", {"train": 1.0} if "val" in labels else VALIDATION_SHARES
    counts = np.bincount(labels[part], minlength=len(classes))
    poorest = int(counts.argmin())
    if not sizes and counts[poorest] < len(shares):
        images = f"only {counts[poorest]} image(s)" if counts[poorest] else "no image"
        place = "the pool" if part == "pool" else part
        poor = int((counts < len(shares)).sum())
        many = f" ({poor} classes are like this)" if poor > 1 else ""
        raise InputError(
            f"class '{classes[poorest]}' of '{name}' has {images} in {place}, but needs at least "
            f"{len(shares)} for {' and '.join(shares)}{many}; add images or leave "
            f"{'these classes' if poor > 1 else 'the class'} out"
        )
    drawn = by_size(labels[part], sizes) if sizes else by_share(labels[part], shares)
    chosen = {split: (split, np.arange(len(values))) for split, values in labels.items()}
    chosen |= {split: (part, indices) for split, indices in drawn.items()}
    return {split: chosen[split] for split in ("train", "val", "test")}
