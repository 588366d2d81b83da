"""How near generated images are, and whether they are copies.

Each measure is made in the same way of unseen real images, for comparison.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from synthbook.data import ImageSet, Splits
from synthbook.errors import InputError
from synthbook.randomness import numpy_generator
from synthbook.studies.audit.images import draw, some

if TYPE_CHECKING:
    from synthbook.measure.features import Extractor

GENERATED = "generated"
FLOOR = "_floor"  # ends the name of a measure of unseen real images
THUMBNAIL = 16  # side in pixels at which images are compared with all training images
HALF_WAY = 0.5  # see `closeness`
SAME = 1e-3  # thumbnails nearer than this, in grey levels, are equal up to rounding


def _features(extractor: Extractor, images: ImageSet) -> np.ndarray:
    return (extractor.cached if extractor.fingerprint else extractor)(images.images)


def nearness(
    real: Splits, generated: ImageSet, *, seeds: Iterable[int], extractor: Extractor,
    neighbours: int = 5, most_images: int = 1000,
) -> dict[str, tuple[float, ...]]:  # fmt: skip
    """Return the measures of `measure.fidelity` and the taxonomy of `measure.gap`, one a seed.

    Each seed draws as many training, generated and unseen real images (the test split): half of
    the smallest set's, so that draws differ. Names ending in `FLOOR` are of the unseen against the
    training images, which is what a perfect generator would get.
    """
    from synthbook.measure.fidelity import fidelity
    from synthbook.measure.gap import separability, taxonomy

    sets = {"train": real.train, FLOOR: real.test, "": generated}
    features = {
        name: _features(extractor, some(images, most_images, "features", name))
        for name, images in sets.items()
    }
    size = min(map(len, features.values())) // 2
    if size <= neighbours:
        raise InputError(
            f"the smallest of training, test and generated images has {2 * size}, too few for "
            f"neighbours={neighbours} in halves of it; add images or lower neighbours"
        )
    values: dict[str, list[float]] = {}
    for seed in seeds:
        drawn = {
            name: rows[numpy_generator(seed, "fidelity", name).permutation(len(rows))[:size]]
            for name, rows in features.items()
        }
        for suffix in ("", FLOOR):
            pair = drawn["train"], drawn[suffix]
            options = {"extractor_name": extractor.name, "neighbours": neighbours, "seed": seed}
            measured = fidelity(*pair, **options)
            separable = separability(*pair, folds=min(5, size), seed=seed)
            for name, value in {**measured, **taxonomy(measured, separable)}.items():
                values.setdefault(name + suffix, []).append(float(value))
    return {name: tuple(numbers) for name, numbers in values.items()}


@dataclass(frozen=True)
class Copies:
    """What `memorisation` finds; ``index`` and ``nearest`` are sorted, the closest pair first.

    ``values`` are counts and shares by name. ``index`` [N] points into the generated images,
    ``nearest`` [N] into the training images, ``relative`` [N] is their `closeness`, and
    ``relative_unseen`` that of unseen real images.
    """

    values: Mapping[str, float]
    index: np.ndarray
    nearest: np.ndarray
    relative: np.ndarray
    relative_unseen: np.ndarray


def thumbnails(images: ImageSet) -> np.ndarray:
    """Return the images averaged down to at most 16 pixels a side, float64 [N, D]."""
    import torch

    pixels = torch.from_numpy(images.images).permute(0, 3, 1, 2)
    side = min(THUMBNAIL, *pixels.shape[2:])
    pooled = (
        torch.nn.functional.adaptive_avg_pool2d(block.float(), side).flatten(1)
        for block in pixels.split(4096)
    )
    return torch.cat([*pooled]).numpy().astype(np.float64)


def closeness(images: np.ndarray, among: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return each row's nearest row of ``among`` [N], and its distance over that one's spacing [N].

    The spacing of a training image is the distance to the nearest one that differs from it, after
    the extraction attack of Carlini et al. 2023: in a dense region near is not yet a copy. Below
    `HALF_WAY` an image is closer to that one training image than the middle between it and its
    neighbour is, which no even mixture of training images reaches, and by the triangle inequality
    no other training image is as close.
    """
    from synthbook.measure.neighbours import nearest, pairwise

    index, distance = nearest(images, among)
    used, back = np.unique(index, return_inverse=True)
    spacing = np.empty(len(used))
    for i in range(0, len(used), 1024):
        block = pairwise(among[used[i : i + 1024]], among)
        spacing[i : i + 1024] = np.where(block < SAME, np.inf, block).min(axis=1)
    return index, distance / spacing[back]


def memorisation(
    real: Splits, generated: ImageSet, *, extractor: Extractor, most_images: int = 1000
) -> Copies:
    """Return whether the generated images repeat training images, or have seen test images.

    Equal images are counted over all. Near copies are looked for in thumbnails of up to
    ``most_images`` generated images against *all* training images; the data-copying test is made
    on features of as many. Unseen real images get the same treatment.
    """
    from synthbook.measure.copying import copying, leaks

    chosen = np.sort(draw(generated, most_images, 0, "copies")[0])
    sample, unseen = generated.subset(chosen), some(real.test, most_images, "copies")
    known = some(real.train, most_images, "copies")
    train, test, small = map(thumbnails, (real.train, real.test, sample))
    nearest, relative = closeness(small, train)
    shares = {
        "near_train": relative,
        "near_train_unseen": closeness(thumbnails(unseen), train)[1],
        "near_test": closeness(small, test)[1],
        "near_test_train": closeness(thumbnails(known), test)[1],
    }
    tested = copying(*(_features(extractor, images) for images in (known, unseen, sample)))
    equal = leaks(real.train.images, real.test.images, generated.images)
    values = {
        **{f"equal_{name}": count for name, count in equal.items()},
        **{name: int((ratio < HALF_WAY).sum()) for name, ratio in shares.items()},
        "n_all_generated": len(generated), "n_all_unseen": len(real.test),
        "n_generated": len(sample), "n_unseen": len(unseen), "n_train": len(known),
        **{name: tested[name] for name in ("copying_z", "copying_p", "authenticity")},
    }  # fmt: skip
    order = np.argsort(relative, kind="stable")
    pairs = chosen[order], nearest[order], relative[order]
    return Copies(values, *pairs, shares["near_train_unseen"])
