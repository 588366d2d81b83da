"""How alike images are: of one condition, of one noise, and of what was asked for.

Features come as unit rows, for which the cosine is the product; center them before, by
`gans.prior.Prior.mean`, or features that are never negative make all images alike.
"""

from __future__ import annotations

import numpy as np
from torch import Tensor

from synthbook.measure.neighbours import nearest

BLOCK = 4096  # images that are turned into float64 at a time


def unit(rows: np.ndarray | Tensor) -> np.ndarray:
    """Return float64 rows scaled to length one."""
    rows = np.asarray(rows, dtype=np.float64)
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def mean_cosine(rows: np.ndarray) -> float:
    """Return the mean cosine of two different rows of one group; unit rows [groups, k, d].

    |sum of k rows|^2 = k + the sum of the cosines of all ordered pairs.
    """
    count = rows.shape[1]
    together = np.square(rows.sum(1)).sum(-1)
    return float(((together - count) / (count * (count - 1))).mean())


def pixel_difference(groups: np.ndarray) -> float:
    """Return the root mean square difference of two images of one group, in grey levels.

    ``groups`` is uint8 [groups, k, H, W, C]. Two draws differ by twice their variance.
    """
    return float(np.sqrt(2 * groups.astype(np.float64).var(axis=1, ddof=1).mean()))


def similarities(seen: np.ndarray, asked: np.ndarray) -> dict[str, float]:
    """Return how similar unit rows are to their own row of ``asked``, and to the others' [N, d].

    ``own_first`` is the share of rows for which no other row of ``asked`` is more similar; by
    chance it is 1 / N.
    """
    cosines = seen @ asked.T
    own, count = np.diag(cosines), len(cosines)
    return {
        "own_similarity": float(own.mean()),
        "other_similarity": float((cosines.sum() - own.sum()) / (count * (count - 1))),
        "own_first": float((cosines.argmax(1) == np.arange(count)).mean()),
    }


def squared_errors(images: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return ||x - y||^2 a pixel and channel, of images in [0, 1], float64 [N]; as `invert` does.

    Both are [N, H, W, C] in 0..255, or ``others`` one image for all.
    """
    return np.square((images.astype(np.float64) - others) / 255).mean((1, 2, 3))


def nearest_images(images: np.ndarray, among: np.ndarray) -> np.ndarray:
    """Return which of ``among`` [M, H, W, C] is nearest to each image in its pixels, int64 [N]."""
    found = [
        (place + indices, distances)
        for place in range(0, len(among), BLOCK)
        for indices, distances in [nearest(images, among[place : place + BLOCK])]
    ]
    places, distances = map(np.stack, zip(*found, strict=True))
    return np.take_along_axis(places, distances.argmin(0)[None], axis=0)[0]
