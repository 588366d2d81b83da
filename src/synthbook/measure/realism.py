"""How real a single generated image looks, and how far images of a class lie apart."""

from __future__ import annotations

import numpy as np

from synthbook.measure.neighbours import checked, pairwise, radii


def realism(real: np.ndarray, fake: np.ndarray, neighbours: int = 5) -> np.ndarray:
    """Return the realism score of each generated image, float64 [N] (Kynkaanniemi et al. 2019, 5).

        R(g) = max over r of radius(r) / |g - r|

    over the real images r whose radius is at most the median.

    A score of 1 or more means that the image lies in a real image's ball, whose radius is the
    distance to its ``neighbours``-th nearest real one. A copy of a real image with a small ball has
    a very large or infinite score; one of an outlier may have less than 1. Features are
    [M, D] and [N, D].
    """
    real, fake = checked(real=real, fake=fake)
    checked(neighbours + 1, real=real)
    radius = radii(real, neighbours)
    small = radius <= np.median(radius)  # the largest balls hold what is far from everything
    scores = np.zeros(len(fake))
    for start in range(0, len(fake), 2000):
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = radius[small] / pairwise(fake[start : start + 2000], real[small])
        scores[start : start + 2000] = np.nan_to_num(ratio, nan=np.inf, posinf=np.inf).max(1)
    return scores


def class_spread(features: np.ndarray, labels: np.ndarray) -> float:
    """Return the mean cosine distance of two images of one class, in [0, 2].

    The mean over all pairs within a class, then over classes with two images or more; ``features``
    are [N, D]. With unit vectors u_i of a class of n, the mean over pairs of 1 - u_i u_j is
    (n^2 - |sum u_i|^2) / (n (n - 1)).
    """
    (rows,) = checked(2, features=features)
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True).clip(1e-12)
    spreads = []
    for label in np.unique(labels):
        of_class = rows[labels == label]
        n = len(of_class)
        if n > 1:
            total = of_class.sum(0)
            spreads.append((n - total @ total / n) / (n - 1))
    return float(np.mean(spreads)) if spreads else float("nan")
