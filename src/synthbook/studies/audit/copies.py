"""Do generated images repeat training images, or have they seen the test images?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from synthbook.data import ImageSet, Splits
from synthbook.studies.audit.images import draw, some

if TYPE_CHECKING:
    from synthbook.measure.features import Extractor

THUMBNAIL = 16  # side in pixels at which images are compared with all training images
HALF_WAY = 0.5  # see `closeness`
SAME = 1e-3  # thumbnails nearer than this, in grey levels, are equal up to rounding


@dataclass(frozen=True)
class Copies:
    """What `memorisation` found; ``index`` and ``nearest`` are sorted, the closest pair first.

    ``values`` are counts and shares by name. ``index`` [N] points into the generated images,
    ``nearest`` [N] into the training images, ``relative`` [N] is their `closeness`, and
    ``relative_unseen`` that of unseen real images.
    """

    values: Mapping[str, float]
    index: np.ndarray
    nearest: np.ndarray
    relative: np.ndarray
    relative_unseen: np.ndarray


class Closeness(NamedTuple):
    """For each image: its nearest training image [N], and how close it is to that one [N]."""

    nearest: np.ndarray
    relative: np.ndarray


def thumbnails(images: np.ndarray) -> np.ndarray:
    """Return uint8 [N, H, W, C] averaged down to at most 16 pixels a side, float64 [N, D]."""
    import torch

    side = min(THUMBNAIL, *images.shape[1:3])
    parts = [
        torch.nn.functional.adaptive_avg_pool2d(
            torch.from_numpy(images[i : i + 4096]).permute(0, 3, 1, 2).float(), side
        ).flatten(1)
        for i in range(0, len(images), 4096)
    ]
    return torch.cat(parts).numpy().astype(np.float64)


def closeness(images: np.ndarray, among: np.ndarray) -> Closeness:
    """Return the distance of each row to its nearest row of ``among``, over that one's spacing.

    The spacing of a training image is the distance to the nearest training image that differs
    from it, as in the extraction attack of Carlini et al. 2023, which also divides by the
    distances around an image: in a dense region near is not yet a copy. Below 0.5 (`HALF_WAY`) an
    image is closer to that one training image than the middle between it and its neighbour is,
    which no even mixture of training images reaches, and by the triangle inequality no other
    training image is as close.
    """
    from synthbook.measure.neighbours import nearest, pairwise

    index, distance = nearest(images, among)
    used, back = np.unique(index, return_inverse=True)
    spacing = np.empty(len(used))
    for i in range(0, len(used), 1024):
        block = pairwise(among[used[i : i + 1024]], among)
        spacing[i : i + 1024] = np.where(block < SAME, np.inf, block).min(axis=1)
    return Closeness(index, distance / spacing[back])


def memorisation(
    real: Splits, generated: ImageSet, *, extractor: Extractor, most_images: int = 1000
) -> Copies:
    """Return whether the generated images repeat training images, or have seen test images.

    Equal images are counted over all images. Near copies are looked for in thumbnails of up to
    ``most_images`` generated images against *all* training images; the data-copying test of
    `measure.copying` is made on features of as many of each. Unseen real images get the same
    treatment, for comparison.
    """
    from synthbook.measure.copying import copying, leaks

    asked = np.sort(draw(generated, most_images, 0, "copies")[0])
    sample, unseen = generated.subset(asked), some(real.test, most_images, "copies")
    known = some(real.train, most_images, "copies")
    train, test = thumbnails(real.train.images), thumbnails(real.test.images)
    own, other = thumbnails(sample.images), thumbnails(unseen.images)
    close, reference = closeness(own, train), closeness(other, train)
    seen, base = closeness(own, test), closeness(thumbnails(known.images), test)
    call = extractor.cached if extractor.fingerprint else extractor
    tested = copying(call(known.images), call(unseen.images), call(sample.images))
    values = {
        **{f"equal_{name}": count for name, count in
           leaks(real.train.images, real.test.images, generated.images).items()},
        "near_train": int((close.relative < HALF_WAY).sum()),
        "near_train_unseen": int((reference.relative < HALF_WAY).sum()),
        "near_test": int((seen.relative < HALF_WAY).sum()),
        "near_test_train": int((base.relative < HALF_WAY).sum()),
        "n_all_generated": len(generated), "n_all_unseen": len(real.test),
        "n_generated": len(sample), "n_unseen": len(unseen), "n_train": len(known),
        **{name: tested[name] for name in ("copying_z", "copying_p", "authenticity")},
    }  # fmt: skip
    order = np.argsort(close.relative, kind="stable")
    nearest = close.nearest[order]
    return Copies(values, asked[order], nearest, close.relative[order], reference.relative)
