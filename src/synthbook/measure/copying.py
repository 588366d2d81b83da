"""Does a generator copy its training images? Nearest neighbours against those of held-out images.

Everything here takes features [N, D] or images [N, H, W, C] (compared by pixels). The held-out
images must come from the same source as the training images and must not have been trained on.
"""

from __future__ import annotations

import numpy as np

from synthbook.errors import InputError
from synthbook.measure.neighbours import checked, nearest, radii

NEAR = 0.05  # quantile of the held-out images' distances


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
