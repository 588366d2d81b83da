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
    if sum(sizes.values()) != len(labels):
        raise ValueError(f"parts of {dict(sizes)} do not cover {len(labels)} images")
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
    """Return split -> (part, indices into it) for the parts that a source offers.

    ``labels`` is {"pool": ...}, {"train", "test"} or {"train", "val", "test"}. A pool is split
    stratified 60/10/30, or into ``sizes`` where the data set has its own rule. Where there is no
    official validation split, a tenth of train becomes it, stratified: the papers' protocol for
    CIFAR-10, 500 images a class. Official test splits stay as they are.

    Raises:
        InputError: if a class has too few images to be split, or is missing from train.
    """
    if "pool" in labels:
        pool = labels["pool"]
        if sizes:
            chosen = by_size(pool, sizes)
        else:
            _enough(pool, classes, name, "the pool", POOL_SHARES)
            chosen = by_share(pool, POOL_SHARES)
        return {split: ("pool", indices) for split, indices in chosen.items()}
    given = {split: (split, np.arange(len(values))) for split, values in labels.items()}
    shares = {"train": 1.0} if "val" in labels else VALIDATION_SHARES
    _enough(labels["train"], classes, name, "train", shares)
    if "val" not in labels:
        for split, indices in by_share(labels["train"], VALIDATION_SHARES).items():
            given[split] = ("train", indices)
    return {split: given[split] for split in ("train", "val", "test")}


def _enough(
    labels: np.ndarray, classes: tuple[str, ...], name: str, part: str, shares: Mapping[str, float]
) -> None:
    """Raise unless every class has at least as many images in ``labels`` as ``shares`` parts."""
    counts = np.bincount(labels, minlength=len(classes))
    poorest = int(counts.argmin())
    if counts[poorest] >= len(shares):
        return
    images = "no image" if not counts[poorest] else f"only {counts[poorest]} image(s)"
    raise InputError(
        f"class '{classes[poorest]}' of '{name}' has {images} in {part}, but needs at least "
        f"{len(shares)} for {' and '.join(shares)}; add images or leave the class out"
    )
