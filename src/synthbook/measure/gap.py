"""The gap between real and generated images (Wang et al. 2024, Sec. 3).

First its observations, as numbers; then masks that choose images, for what one image teaches; then
its three factors. Accuracies are in percent, losses in nats, shares in [0, 1].
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np

from synthbook.errors import InputError
from synthbook.measure.neighbours import checked
from synthbook.randomness import derive, numpy_generator

# Observations


def non_mutual_gap(
    accuracy: Mapping[tuple[str, str], float], generator: str, *, real: str = "real"
) -> dict[str, float]:
    """Return how lopsided the gap is (Observation 1, Table 1).

    ``accuracy[train, test]`` in percent, for ``real`` and ``generator`` in both places; in the
    paper all four are measured on the training images of the test source. The ``asymmetry`` is 0
    if the gap is mutual.
    """
    rr, rs, sr, ss = (float(accuracy[pair]) for pair in product((real, generator), repeat=2))
    return {
        "synthetic_to_real_drop": ss - sr,
        "real_to_synthetic_drop": rr - rs,
        "asymmetry": (ss - sr) - (rr - rs),
        "transfer_difference": rs - sr,
    }


def learning_speed(
    train_accuracy: Sequence[float], val_accuracy: Sequence[float], *,
    early: float = 0.125, level: float = 0.95, chance: float = 0.0,
) -> dict[str, float]:  # fmt: skip
    """Return how fast the training accuracy rises and levels off (Observation 2, Figure 2).

    Returns:
        ``early_accuracy``: mean training accuracy of the first ceil(``early`` x epochs) epochs
        (the paper's "early epochs" are fewer than 25 of 200). ``epochs_to_level``: the epoch,
        counted from 1, at which the training accuracy first reaches ``level`` times its last
        value. The curve is taken as straight between epochs and as ``chance`` at epoch 0, so
        this is no whole number, and two runs of few epochs can still be told apart.
        ``generalisation_gap``: last training less last validation accuracy, in points.
    """
    train, val = np.asarray(train_accuracy, float), np.asarray(val_accuracy, float)
    if train.shape != val.shape or not len(train) or not np.isfinite([train, val]).all():
        raise InputError(
            f"train_accuracy has shape {train.shape} and val_accuracy {val.shape}, or they hold"
            " NaN; give one number an epoch for both"
        )
    curve = np.array([chance, *train])
    target = level * train[-1]
    epoch = int(np.argmax(curve >= target))
    if epoch:
        before, after = curve[epoch - 1 : epoch + 1]
        epoch = epoch - 1 + (target - before) / (after - before)
    return {
        "early_accuracy": float(train[: math.ceil(early * len(train) - 1e-9)].mean()),
        "epochs_to_level": float(epoch),
        "generalisation_gap": float(train[-1] - val[-1]),
    }


def loss_profile(
    losses: np.ndarray, near_zero: float = 0.01, high: float = 1.0
) -> dict[str, float]:
    """Return mean, median and shares of sample losses [N] (Observation 3, Figure 3).

    Losses are cross-entropies under a classifier trained on the opposite source. The shares are
    of samples below ``near_zero`` (the paper gives no number) and above ``high`` (the paper's 1).
    """
    values = _losses(losses)
    return {
        "mean": float(values.mean()),
        "median": float(np.median(values)),
        "near_zero": float((values < near_zero).mean()),
        "high": float((values > high).mean()),
    }


def easier_share(losses_a: np.ndarray, losses_b: np.ndarray) -> float:
    """Return how often a random one of ``losses_a`` [N] is below one of ``losses_b`` [M].

    In [0, 1]; equal pairs count half, so that 0.5 is no difference. Observation 3 without a level
    that losses have to be under: of generated images under a classifier of real ones, against real
    images under a classifier of generated ones, it is above 0.5 where the first are easier. It is
    the statistic of Mann and Whitney over N x M.
    """
    from scipy.stats import mannwhitneyu

    a, b = _losses(losses_a), _losses(losses_b)
    return float(mannwhitneyu(b, a).statistic) / (len(a) * len(b))


# Images to train on


def extremes(losses: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Return indices of the ``k`` least and the ``k`` highest losses, the most extreme first."""
    order = np.argsort(_losses(losses), kind="stable")
    return order[:k], order[::-1][:k]


def low_loss(losses: np.ndarray, quantile: float = 0.5) -> np.ndarray:
    """Return a mask [N] of the floor(``quantile`` x N) samples of lowest loss (end of Sec. 3.2).

    The number is exact: of equal losses the first are taken. That the paper's low-loss samples
    are those below the median is this book's reading.
    """
    least, _ = extremes(losses, int(quantile * len(losses) + 1e-9))
    mask = np.zeros(len(losses), dtype=bool)
    mask[least] = True
    return mask


def _losses(losses: np.ndarray) -> np.ndarray:
    values = np.asarray(losses, dtype=np.float64)
    if values.ndim != 1 or not len(values) or np.isnan(values).any():
        raise InputError(f"losses has shape {values.shape} or holds NaN; give one number a sample")
    return values


def rare_images(
    features: np.ndarray, labels: np.ndarray, share: float, *, clusters: int = 8, seed: int = 0
) -> np.ndarray:
    """Return a mask [N] of the images in the rare modes of their class.

    In each class k-means makes ``clusters`` clusters; those whose centres are farthest from the
    class mean are taken whole, one after the other, and of the last one the images that are
    farthest from the class mean. A class mean lies where its frequent images are, so far clusters
    are rare ways to look. Clusters and not single far images, because a mode is a group: lone
    outliers are often just broken images, and leaving them out need not cost anything. So
    clusters of fewer than 3 images come last.

    The same number is marked in every class: floor(``share`` x the smallest class), at least 1.
    """
    from sklearn.cluster import KMeans

    (rows,) = checked(features=features)
    names, counts = np.unique(labels, return_counts=True)
    number = int(share * counts.min() + 1e-9)
    if not 0 < number < counts.min():
        raise InputError(
            f"share is {share}, with {counts.min()} images in the smallest class; give one in"
            " (0, 1) that is at least one image"
        )
    mask = np.zeros(len(rows), dtype=bool)
    for name in names:
        members = np.flatnonzero(labels == name)
        own = rows[members]
        state = derive(seed, "rare_images", int(name)) % 2**32
        means = KMeans(min(clusters, len(members)), n_init=4, random_state=state).fit(own)
        middle = own.mean(axis=0)
        distance = np.linalg.norm(means.cluster_centers_ - middle, axis=1)
        distance[np.bincount(means.labels_, minlength=len(distance)) < 3] = 0
        far_centre = distance[means.labels_]
        far_image = np.linalg.norm(own - middle, axis=1)
        order = np.lexsort((-far_image, -far_centre))  # by the centre first, then by the image
        mask[members[order[:number]]] = True
    return mask


def random_like(mask: np.ndarray, labels: np.ndarray, *, seed: int = 0) -> np.ndarray:
    """Return a random mask [N] with as many images of each class as ``mask``: its control."""
    generator = numpy_generator(seed, "random_like")
    drawn = np.zeros(len(mask), dtype=bool)
    for name in np.unique(labels):
        members = np.flatnonzero(labels == name)
        drawn[generator.choice(members, int(mask[members].sum()), replace=False)] = True
    return drawn


# The three factors


def separability(real: np.ndarray, fake: np.ndarray, *, folds: int = 5, seed: int = 0) -> float:
    """Return how well a linear classifier tells the two sets apart on held-out rows, in [0, 1].

    2 x balanced accuracy - 1 of a logistic regression on standardised features, cross-validated
    and cut off at 0: 0 if they cannot be told apart, 1 if every image betrays its source.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    sets = checked(max(2, folds), real=real, fake=fake)
    split = StratifiedKFold(folds, shuffle=True, random_state=derive(seed, "separability") % 2**32)
    model = make_pipeline(
        StandardScaler(),
        # Strong regularisation: features often outnumber images. The classes weigh the same.
        LogisticRegression(C=0.01, class_weight="balanced", max_iter=200),
    )
    rows, target = np.concatenate(sets), np.repeat([0, 1], list(map(len, sets)))
    scores = cross_val_score(model, rows, target, cv=split, scoring="balanced_accuracy")
    return max(0.0, 2 * float(scores.mean()) - 1)


def taxonomy(measures: Mapping[str, float], separable: float) -> dict[str, float]:
    """Return the three factors of the gap, each in [0, 1], 0 = no gap (Sec. 3.1).

    ``measures`` is a result of ``fidelity.fidelity``, ``separable`` one of ``separability``, of
    the same features. The paper argues from accuracies and losses and measures none of the three
    directly; these proxies are this book's:

    - ``appearance``: how well a linear classifier tells real from generated features. A texture or
      tint that betrays every image makes this 1, whatever the images show.
    - ``content`` (1 - recall), ``content_coverage`` (1 - coverage): share of the real images that
      no generated image comes near, which the generator leaves out.
    - ``quality`` (1 - precision), ``quality_density`` (1 - density where that is positive): share
      of the generated images that come near no real one, which are distorted.
    - ``content_minus_quality``: above 0 where missing content is the larger part (the paper's
      conclusion, Sec. 3.3).
    """
    content, quality = 1 - measures["recall"], 1 - measures["precision"]
    return {
        "appearance": float(separable),
        "content": content,
        "content_coverage": 1 - measures["coverage"],
        "quality": quality,
        "quality_density": max(0.0, 1 - measures["density"]),
        "content_minus_quality": content - quality,
    }
