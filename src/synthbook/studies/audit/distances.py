"""How near generated images are to real ones, against what unseen real images reach."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from synthbook.data import ImageSet, Splits
from synthbook.errors import InputError
from synthbook.randomness import numpy_generator
from synthbook.studies.audit.images import some

if TYPE_CHECKING:
    from synthbook.measure.features import Extractor

FLOOR = "_floor"  # ends the name of a measure of unseen real images


def fidelity(
    real: Splits,
    generated: ImageSet,
    *,
    seeds: Iterable[int],
    extractor: Extractor,
    neighbours: int = 5,
    most_images: int = 1000,
) -> dict[str, tuple[float, ...]]:
    """Return the measures of `measure.fidelity` and the taxonomy of `measure.gap`, one a seed.

    Each seed draws three sets of equal size: training images, generated images and unseen real
    images (the test split). Names ending in "_floor" are of the unseen images against the
    training images, which is what a perfect generator would get. The size is half of the smallest
    set's (at most ``most_images``), so that draws differ between seeds.
    """
    from synthbook.measure.fidelity import fidelity as measures_of
    from synthbook.measure.gap import separability, taxonomy

    sets = {"train": real.train, FLOOR: real.test, "": generated}
    images = {name: some(one, most_images, "features", name).images for name, one in sets.items()}
    size = min(map(len, images.values())) // 2
    if size <= neighbours:
        raise InputError(
            f"the smallest of training, test and generated images has {2 * size}, too few for "
            f"neighbours={neighbours} in halves of it; add images or lower neighbours"
        )
    call = extractor.cached if extractor.fingerprint else extractor
    features = {name: call(one) for name, one in images.items()}
    found: dict[str, list[float]] = {}
    for seed in seeds:
        part = {
            name: rows[numpy_generator(seed, "fidelity", name).permutation(len(rows))[:size]]
            for name, rows in features.items()
        }
        for suffix in ("", FLOOR):
            pair = part["train"], part[suffix]
            measures = measures_of(
                *pair, extractor_name=extractor.name, neighbours=neighbours, seed=seed
            )
            separable = separability(*pair, folds=min(5, size), seed=seed)
            for name, value in {**measures, **taxonomy(measures, separable)}.items():
                found.setdefault(name + suffix, []).append(float(value))
    return {name: tuple(numbers) for name, numbers in found.items()}
