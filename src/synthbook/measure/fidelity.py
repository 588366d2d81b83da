"""Features to numbers: how near a set of generated images is to a set of real ones.

Every function takes features, [N, D] and [M, D], real first, and works in float64; on NaN, too few
rows or different widths it raises InputError. Means of small sets are biased (a Frechet distance
falls as N grows), so a number belongs to its extractor and its sample counts, and ``floor`` says
what it would be for a perfect generator.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from synthbook.measure.neighbours import ball_counts, checked
from synthbook.randomness import derive, numpy_generator

DIP_NEIGHBOURS = (10, 40)  # of precision and recall in the Data Instance Prior's Tables 1 and 3


def frechet_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Return the Frechet distance of Gaussians fitted to both sets (Heusel et al. 2017, Eq. 6).

        |m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2)),  C the unbiased covariances

    by torch-fidelity. It is FID only on the 'inception' features; it is symmetric, >= 0, and in
    squared units of the features.
    """
    from torch_fidelity import metric_fid

    rows = checked(2, real=a, fake=b)
    statistics = [metric_fid.fid_features_to_statistics(torch.from_numpy(x)) for x in rows]
    for s in statistics:  # one feature has a covariance without axes
        s["sigma"] = np.atleast_2d(s["sigma"])
    # With fewer images than features the eigenvalues that should be 0 are rounding errors, which
    # can take the distance of equal sets a little (some 1e-5) below 0.
    distance = metric_fid.fid_statistics_to_metric(*statistics, verbose=False)
    return max(0.0, distance[metric_fid.KEY_METRIC_FID])


@dataclass(frozen=True)
class Gaussian:
    """The Gaussian fitted to features: ``mean`` [D] and ``factor`` [min(N, D), D].

    factor^T factor is the unbiased covariance.
    """

    mean: np.ndarray
    factor: np.ndarray


def gaussian(features: np.ndarray) -> Gaussian:
    """Return the Gaussian of features [N, D], made once for many comparisons."""
    (rows,) = checked(2, features=features)
    mean = rows.mean(0)
    factor = (rows - mean) / np.sqrt(len(rows) - 1)
    if len(rows) > rows.shape[1]:
        factor = np.linalg.qr(factor, mode="r")  # A = Q R: Q changes no singular value of A B^T
    return Gaussian(mean, factor)


def gaussian_distance(a: Gaussian, b: Gaussian) -> float:
    """Return ``frechet_distance`` up to rounding, much sooner where there are few images.

    With the factors A and B, the eigenvalues of C_a C_b are the squared singular values of A B^T.
    So tr (C_a C_b)^(1/2) is the nuclear norm of A B^T, and a matrix of [N, M] takes the place of
    one of [D, D]: milliseconds for some 200 images and 1280 features.
    """
    shift = a.mean - b.mean
    traces = float(np.square(a.factor).sum()) + float(np.square(b.factor).sum())
    nuclear = np.linalg.svd(a.factor @ b.factor.T, compute_uv=False).sum()
    return max(0.0, float(shift @ shift + traces - 2 * nuclear))


def kernel_distance(
    a: np.ndarray, b: np.ndarray, subset_size: int = 1000, subsets: int = 100, *, seed: int = 0
) -> float:
    """Return the squared MMD with the kernel (x.y / D + 1)^3 (Binkowski et al. 2018).

    The mean over ``subsets`` random subsets of ``subset_size`` rows of the unbiased estimate, by
    torch-fidelity; equal distributions give 0 on average, so it can be a little below 0. It is
    KID only on the 'inception' features.
    """
    from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, kid_features_to_metric

    sets = map(torch.from_numpy, checked(subset_size, real=a, fake=b))
    how = {"rng_seed": derive(seed, "kernel_distance") % 2**32, "verbose": False}
    result = kid_features_to_metric(*sets, kid_subset_size=subset_size, kid_subsets=subsets, **how)
    return result[KEY_METRIC_KID_MEAN]


def precision_recall(
    real: np.ndarray, fake: np.ndarray, neighbours: int | tuple[int, int] = 3
) -> tuple[float, float]:
    """Return (precision, recall) in [0, 1] (Kynkaanniemi et al. 2019, Eq. 1 and 2).

    Precision: share of generated images inside a ball around some real image, whose radius is
    the distance to that image's ``neighbours``-th nearest real one. Recall: the same with the
    parts exchanged. Two ``neighbours`` are that of precision and that of recall, such as
    `DIP_NEIGHBOURS`; with more of them a ball is larger, and so is the number. Both are rounded to
    single precision, as torch-fidelity does.
    """
    two = neighbours if isinstance(neighbours, tuple) else (neighbours, neighbours)
    real, fake = checked(real=real, fake=fake)
    checked(two[0] + 1, real=real)
    checked(two[1] + 1, fake=fake)
    around = zip(((real, fake), (fake, real)), two, strict=True)
    inside = [ball_counts(*pair, k)[1] > 0 for pair, k in around]
    precision, recall = (float(share.mean(dtype=np.float32)) for share in inside)
    return precision, recall


def density_coverage(
    real: np.ndarray, fake: np.ndarray, neighbours: int = 5
) -> tuple[float, float]:
    """Return (density, coverage) (Naeem et al. 2020, Sec. 3).

    Density (>= 0, about 1 for a perfect generator): mean number of real balls that a generated
    image lies in, divided by ``neighbours``. Coverage in [0, 1]: share of real balls that hold a
    generated image; for a perfect generator about 1 - 2^-neighbours at equal counts. The balls
    are closed and only around real images, so generated outliers inflate neither.
    """
    real, fake = checked(neighbours + 1, real=real, fake=fake)
    held, _ = ball_counts(real, fake, neighbours)
    return int(held.sum()) / (neighbours * len(fake)), float((held > 0).mean())


def fidelity(
    real: np.ndarray, fake: np.ndarray, *,
    extractor_name: str, neighbours: int = 5, seed: int = 0,
) -> dict[str, float]:  # fmt: skip
    """Return all measures of two sets of features, real ones and generated ones.

    With real images for both, which no network has been trained on in the second place, it is what
    a perfect generator would get: the control to print beside one, above all in features of a
    network that has learned the first set by heart, where `floor` sees no difference.

    Keys: ``fd`` and ``kd`` (``fid`` and ``kid`` if ``extractor_name`` is 'inception'),
    ``precision``, ``recall``, ``density``, ``coverage``, ``n_real``, ``n_fake``. ``neighbours``
    serves all four of the middle. The 20 subsets of the kernel distance are half of the smaller
    set, so that they differ, but at most 1,000.
    """
    near = precision_recall(real, fake, neighbours) + density_coverage(real, fake, neighbours)
    subset = max(2, min(1000, len(real) // 2, len(fake) // 2))
    fd, kd = ("fid", "kid") if extractor_name == "inception" else ("fd", "kd")
    return {
        fd: frechet_distance(real, fake),
        kd: kernel_distance(real, fake, subset, subsets=20, seed=seed),
        **dict(zip(("precision", "recall", "density", "coverage"), near, strict=True)),
        "n_real": float(len(real)),
        "n_fake": float(len(fake)),
    }


def floor(
    real: np.ndarray, *, extractor_name: str, neighbours: int = 5, seed: int = 0
) -> dict[str, float]:
    """Return ``fidelity`` of two random halves of the real set: what a perfect generator gets.

    Each half has N / 2 images. A Frechet distance from more images lies below this floor, so
    compare it with a generator's at the same counts.
    """
    half = len(real) // 2
    drawn = real[numpy_generator(seed, "floor").permutation(len(real))]
    how = {"extractor_name": extractor_name, "neighbours": neighbours, "seed": seed}
    return fidelity(drawn[:half], drawn[half : 2 * half], **how)
