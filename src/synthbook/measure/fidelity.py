"""Features to numbers: how near a set of generated images is to a set of real ones.

Every function takes features, [N, D] and [M, D], real first, and works in float64. Means of small
sets are biased (a Frechet distance falls as N grows), so a number belongs to its extractor and its
sample counts, and ``floor`` says what it would be for a perfect generator.
"""

from __future__ import annotations

import numpy as np
import torch

from synthbook.errors import InputError
from synthbook.measure.neighbours import checked, checked_pair, pairwise, radii
from synthbook.randomness import derive, numpy_generator

_ROWS = 2048  # rows of real images whose distances are held at a time


def frechet_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Return the Frechet distance of Gaussians fitted to both sets (Heusel et al. 2017, Eq. 6).

        |m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2)),  C the unbiased covariances

    by torch-fidelity. It is FID only on the 'inception' features; it is symmetric, >= 0, and in
    squared units of the features.

    Raises:
        InputError: on fewer than 2 rows, NaN or different widths (so do all functions here).
    """
    from torch_fidelity.metric_fid import (
        KEY_METRIC_FID,
        fid_features_to_statistics,
        fid_statistics_to_metric,
    )

    statistics = [
        fid_features_to_statistics(torch.from_numpy(x)) for x in checked_pair(a, b, at_least=2)
    ]
    for s in statistics:
        s["sigma"] = np.atleast_2d(s["sigma"])  # one feature has a covariance without axes
    # With fewer images than features the eigenvalues that should be 0 are rounding errors, which
    # can take the distance of equal sets a little (some 1e-5) below 0.
    return max(0.0, fid_statistics_to_metric(*statistics, verbose=False)[KEY_METRIC_FID])


def kernel_distance(
    a: np.ndarray, b: np.ndarray, subset_size: int = 1000, subsets: int = 100, seed: int = 0
) -> float:
    """Return the squared MMD with the kernel (x.y / D + 1)^3 (Binkowski et al. 2018).

    The mean over ``subsets`` random subsets of ``subset_size`` rows of the unbiased estimate, by
    torch-fidelity; equal distributions give 0 on average, so it can be a little below 0. It is
    KID only on the 'inception' features.
    """
    from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, kid_features_to_metric

    if subset_size < 2 or subsets < 1:
        raise InputError(
            f"kernel_distance got subset_size={subset_size}, subsets={subsets}; give at least 2"
            " rows and 1 subset"
        )
    left, right = checked_pair(a, b, at_least=subset_size)
    result = kid_features_to_metric(
        torch.from_numpy(left),
        torch.from_numpy(right),
        kid_subset_size=subset_size,
        kid_subsets=subsets,
        rng_seed=derive(seed, "kernel_distance") % 2**32,
        verbose=False,
    )
    return result[KEY_METRIC_KID_MEAN]


def precision_recall(
    real: np.ndarray, fake: np.ndarray, neighbours: int = 3
) -> tuple[float, float]:
    """Return (precision, recall) in [0, 1] (Kynkaanniemi et al. 2019, Eq. 1 and 2).

    Precision: share of generated images inside a ball around some real image, whose radius is
    the distance to that image's ``neighbours``-th nearest real one. Recall: the same with the
    parts exchanged. By torch-fidelity.
    """
    from torch_fidelity.metric_prc import (
        KEY_METRIC_PRECISION,
        KEY_METRIC_RECALL,
        prc_features_to_metric,
    )

    if neighbours < 1:
        raise InputError(f"neighbours is {neighbours}; give at least 1")
    left, right = checked_pair(real, fake, at_least=neighbours + 1)
    result = prc_features_to_metric(
        torch.from_numpy(right),  # torch-fidelity has the generated ones first
        torch.from_numpy(left),
        prc_neighborhood=neighbours,
        save_cpu_ram=True,
        verbose=False,
    )
    return result[KEY_METRIC_PRECISION], result[KEY_METRIC_RECALL]


def density_coverage(
    real: np.ndarray, fake: np.ndarray, neighbours: int = 5
) -> tuple[float, float]:
    """Return (density, coverage) (Naeem et al. 2020, Sec. 3).

    Density (>= 0, about 1 for a perfect generator): mean number of real balls that a generated
    image lies in, divided by ``neighbours``. Coverage in [0, 1]: share of real balls that hold a
    generated image; for a perfect generator about 1 - 2^-neighbours at equal counts. The balls
    are closed and only around real images, so generated outliers inflate neither.
    """
    left, right = checked_pair(real, fake)
    radius = radii(left, neighbours)
    inside, covered = 0, 0
    for start in range(0, len(left), _ROWS):
        rows = slice(start, start + _ROWS)
        hits = pairwise(left[rows], right) <= radius[rows, None]
        inside += int(hits.sum())
        covered += int(hits.any(axis=1).sum())
    return inside / (neighbours * len(right)), covered / len(left)


def fidelity(
    real: np.ndarray,
    fake: np.ndarray,
    *,
    extractor_name: str,
    neighbours: int = 5,
    subset_size: int = 0,
    subsets: int = 20,
    seed: int = 0,
) -> dict[str, float]:
    """Return all measures of two sets of features.

    Keys: ``fd`` and ``kd`` (``fid`` and ``kid`` if ``extractor_name`` is 'inception'),
    ``precision``, ``recall``, ``density``, ``coverage``, ``n_real``, ``n_fake``. ``neighbours``
    serves all four of the middle. ``subset_size`` 0 means half of the smaller set, so that the
    subsets of the kernel distance differ, but at most 1,000.
    """
    left, right = checked_pair(real, fake, at_least=neighbours + 1)
    smaller = min(len(left), len(right))
    precision, recall = precision_recall(left, right, neighbours)
    density, coverage = density_coverage(left, right, neighbours)
    inception = extractor_name == "inception"
    return {
        "fid" if inception else "fd": frechet_distance(left, right),
        "kid" if inception else "kd": kernel_distance(
            left, right, subset_size or max(2, min(1000, smaller // 2)), subsets, seed
        ),
        "precision": precision,
        "recall": recall,
        "density": density,
        "coverage": coverage,
        "n_real": float(len(left)),
        "n_fake": float(len(right)),
    }


def floor(
    real: np.ndarray, seed: int = 0, *, extractor_name: str, neighbours: int = 5
) -> dict[str, float]:
    """Return ``fidelity`` of two random halves of the real set: what a perfect generator gets.

    Each half has N / 2 images. A Frechet distance from more images lies below this floor, so
    compare it with a generator's at the same counts.
    """
    rows = checked("real", real, at_least=2 * (neighbours + 1))
    order = numpy_generator(seed, "floor").permutation(len(rows))
    half = len(rows) // 2
    return fidelity(
        rows[order[:half]],
        rows[order[half : 2 * half]],
        extractor_name=extractor_name,
        neighbours=neighbours,
        seed=seed,
    )
