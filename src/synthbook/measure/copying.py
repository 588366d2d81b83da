"""Does a generator copy its training images? Nearest neighbours against those of held-out images.

Everything here takes features [N, D] or images [N, H, W, C] (compared by pixels). The held-out
images must come from the same source as the training images and must not have been trained on.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from synthbook.errors import InputError
from synthbook.intervals import Interval, interval
from synthbook.measure.neighbours import checked, nearest, radii
from synthbook.randomness import derive, numpy_generator

NEAR = 0.05  # quantile of the held-out images' distances
LEAST = 20  # generated images of a cell that counts have to be more, as in the authors' experiments


def mann_whitney(first: np.ndarray, second: np.ndarray) -> tuple[float, float]:
    """Test whether ``first`` [M] tends to be smaller than ``second`` [N]; return (z, p-value).

    z = (U - MN/2) / sigma, U the pairs in which the first is larger (ties count half), sigma with
    the correction for ties; the p-value is that of scipy's normal approximation, P(Z <= z). With
    all numbers equal, z is 0 and p 0.5.
    """
    from scipy.stats import mannwhitneyu

    pooled = np.concatenate([first, second])
    m, n, total = len(first), len(second), len(pooled)
    ties = np.unique(pooled, return_counts=True)[1].astype(np.float64)
    variance = m * n / 12 * (total + 1 - (ties**3 - ties).sum() / (total * (total - 1)))
    if variance <= 1e-9:
        return 0.0, 0.5
    how = {"alternative": "less", "method": "asymptotic", "use_continuity": False}
    test = mannwhitneyu(first, second, **how)
    return float((test.statistic - m * n / 2) / np.sqrt(variance)), float(test.pvalue)


def copying(train: np.ndarray, held_out: np.ndarray, generated: np.ndarray) -> dict[str, float]:
    """Return the data-copying test and what goes with it (Meehan et al. 2020).

    If the generator were perfect, its images would lie as far from the training set as held-out
    images do. Keys:

    - ``copying_z``: three-sample Mann-Whitney score of the distances to the nearest training
      image. Far below 0 (say -3): nearer than held-out images, copying. Far above 0: farther, so
      the generator underfits. ``copying_p``: probability of so low a score without copying.
    - ``near_copies``: share of generated images nearer to a training image than the nearest 5 %
      of the held-out images are; about 0.05 without copying.
    - ``authenticity``: share of generated images that are farther from their nearest training
      image than that one is from the next training image (Alaa et al. 2022); about one half
      without copying.
    """
    base, held, fake = checked(2, train=train, held_out=held_out, generated=generated)
    index, distance = nearest(fake, base)
    reference = nearest(held, base)[1]
    z, p_value = mann_whitney(distance, reference)
    return {
        "copying_z": z,
        "copying_p": p_value,
        "near_copies": float((distance < np.quantile(reference, NEAR)).mean()),
        "authenticity": float((distance > radii(base, 1)[index]).mean()),
    }


@dataclass(frozen=True)
class DataCopying:
    """C_T of several trials (`data_copying`).

    ``trials`` holds one C_T a trial and ``c_t`` their mean with its interval (ends NaN with a
    single trial); ``used`` is the share of the held-out images that lie in cells that counted, the
    least of all trials.
    """

    c_t: Interval
    trials: tuple[float, ...]
    used: float


def data_copying(
    train: np.ndarray, held_out: np.ndarray, generated: Sequence[np.ndarray], *,
    cells: int = 5, least: int = LEAST, seed: int = 0,
) -> DataCopying:  # fmt: skip
    """Return the data-copying statistic C_T (Meehan et al. 2020), its mean over trials.

        C_T = sum_p P_n(p) Z_p / sum_p P_n(p)   over the cells p with Q_m(p) > ``least`` / m

    The cells are those of k-means on the training set; Z_p is `mann_whitney` of the distances of a
    cell's generated images to the cell's nearest training image against those of its held-out
    images, P_n(p) the share of held-out images in the cell and Q_m(p) that of the m generated ones.
    Weights and threshold are those of the authors' code. Cells that the generator all but leaves
    out count for nothing (that it leaves them out is for recall to say), and ``used`` tells how
    much is left. C_T << 0: copying, >> 0: underfitting; one cell gives ``copying_z`` of `copying`.

    A trial is one sample of generated images, with a k-means of its own: the interval covers what
    the draw of images and the partition change, and not another training or held-out set. The
    authors bring Inception features to 64 dimensions by PCA first, which is for the caller to do.

    Raises:
        InputError: if there are fewer training images than cells, no trial, or no cell that counts.
    """
    if not 1 <= cells <= len(train):
        raise InputError(
            f"cells is {cells} with {len(train)} training images; give 1 to {len(train)} cells"
        )
    if not len(generated):
        raise InputError("no trial was given; give the features of generated images, a set a trial")
    sets = [checked(train=train, held_out=held_out, generated=one) for one in generated]
    results = [_in_cells(*three, cells, least, k, seed) for k, three in enumerate(sets)]
    scores, used = zip(*results, strict=True)
    return DataCopying(interval(scores), scores, min(used))


def _in_cells(
    base: np.ndarray, held: np.ndarray, fake: np.ndarray,
    cells: int, least: int, trial: int, seed: int,
) -> tuple[float, float]:  # fmt: skip
    """Return C_T of one trial, and the share of held-out images in the cells that count."""
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    means = KMeans(cells, random_state=derive(seed, "data copying", trial) % 2**32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # equal images: some cells are empty
        means.fit(base)
    of_base, of_held, of_fake = means.labels_, means.predict(held), means.predict(fake)
    shares, scores = np.zeros(cells), np.zeros(cells)
    for cell in range(cells):
        known, seen, made = base[of_base == cell], held[of_held == cell], fake[of_fake == cell]
        if len(made) > least and len(seen) and len(known):
            shares[cell] = len(seen) / len(held)
            scores[cell], _ = mann_whitney(nearest(made, known)[1], nearest(seen, known)[1])
    if not shares.any():
        raise InputError(
            f"none of {cells} cells has more than {least} of the {len(fake)} generated images, and "
            "a held-out one; give more images, or fewer cells"
        )
    return float(shares @ scores / shares.sum()), float(shares.sum())


def replayed(features: np.ndarray, count: int, *, seed: int) -> np.ndarray:
    """Return ``count`` rows of the training set's features [N, D], drawn with repetition.

    They are what a generator has that knows its training images by heart and nothing else: its
    Frechet distance to held-out images is the reference of memorisation, which a generator that
    makes anything new should lie below. Images [N, H, W, C] are drawn likewise.
    """
    return features[numpy_generator(seed, "replayed").integers(len(features), size=count)]


def leaks(train: np.ndarray, held_out: np.ndarray, generated: np.ndarray) -> dict[str, int]:
    """Return counts of images that are equal byte for byte: a check of generator and split.

    ``generated_in_train``: exact copies. ``generated_in_held_out``: 0 unless the generator has
    seen held-out images (or copies a training image that is also held out).
    ``held_out_in_train``: 0 unless the split leaks.
    """
    return {
        "generated_in_train": _equal(generated, train),
        "generated_in_held_out": _equal(generated, held_out),
        "held_out_in_train": _equal(held_out, train),
    }


def _equal(images: np.ndarray, among: np.ndarray) -> int:
    if images.shape[1:] != among.shape[1:] or images.dtype != among.dtype:
        raise InputError(
            f"cannot compare {images.dtype} images of shape {images.shape[1:]} with {among.dtype}"
            f" images of shape {among.shape[1:]}; bring both to one size and type"
        )
    known = {image.tobytes() for image in among}
    return sum(image.tobytes() in known for image in images)
