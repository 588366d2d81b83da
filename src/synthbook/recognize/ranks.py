"""Top-1, top-5 and mean per-class accuracy of logits, over all classes or among some of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from synthbook.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

METRICS = ("top1", "top5", "mean_per_class")


def ranks(logits: np.ndarray | Tensor, labels: np.ndarray) -> np.ndarray:
    """Return how many classes come before the label's, int64 [N], of logits [N, K].

    Of equal logits the lower class comes first, so that rank 0 is where argmax is right.
    """
    logits = np.asarray(logits)
    own = np.take_along_axis(logits, labels[:, None], 1)
    before = np.arange(logits.shape[1]) < labels[:, None]
    return ((logits > own) | ((logits == own) & before)).sum(1)


def kept(logits: np.ndarray, labels: np.ndarray, among: str | Sequence[int]) -> np.ndarray:
    """Return bool [K]: the classes that may be named.

    ``among`` is "all", "present" (those that ``labels`` have, as for ImageNet-R and -A, whose 200
    classes are some of ImageNet's), or class numbers.

    Raises:
        InputError: for numbers that are no classes, or that leave out the label of an image.
    """
    count = logits.shape[1]
    mask = np.zeros(count, bool)
    if isinstance(among, str):
        if among not in ("all", "present"):
            raise InputError(f"among is '{among}'; give 'all', 'present' or numbers of classes")
        mask[labels if among == "present" else slice(None)] = True
        return mask
    chosen = np.asarray(among)
    if not chosen.size or chosen.dtype.kind not in "iu" or not 0 <= chosen.min() <= chosen.max() < (
        count
    ):  # fmt: skip
        raise InputError(f"among is {list(among)[:9]}; give numbers of classes, 0 to {count - 1}")
    mask[chosen] = True
    if not mask[labels].all():
        lost = int(labels[~mask[labels]][0])
        raise InputError(
            f"among leaves out class {lost}, which an image has; add it or take its images out"
        )
    return mask


def measures(
    logits: np.ndarray | Tensor, labels: np.ndarray, *, among: str | Sequence[int] = "all"
) -> dict[str, float]:
    """Return "top1", "top5" and "mean_per_class" (top-1 of each class, averaged), in percent.

    ``logits`` are [N, K], a torch tensor on the CPU or an array, and ``labels`` int64 [N]; `kept`
    says what ``among`` may be. Of five classes or fewer, top-5 is 100 and says nothing.

    Raises:
        InputError: for shapes that do not fit, logits that are no numbers, and as `kept` does.
    """
    logits, labels = np.asarray(logits), np.asarray(labels)
    if logits.ndim != 2 or labels.shape != logits.shape[:1] or not len(labels):
        raise InputError(
            f"logits are {list(logits.shape)} and labels {list(labels.shape)}; give [N, K] and [N] "
            "with N >= 1"
        )
    if labels.min() < 0 or labels.max() >= logits.shape[1]:
        raise InputError(
            f"labels run from {labels.min()} to {labels.max()}, but there are logits of classes 0 "
            f"to {logits.shape[1] - 1}"
        )
    if np.isnan(logits).any():
        raise InputError("some logits are no numbers (nan); look at the training that made them")
    mask = kept(logits, labels, among)
    number = np.cumsum(mask) - 1  # of a class among those that are kept
    rank = ranks(logits if mask.all() else logits[:, mask], number[labels])
    counts = np.bincount(labels)
    right = np.bincount(labels, weights=rank == 0)
    return {
        "top1": 100 * float((rank == 0).mean()),
        "top5": 100 * float((rank < 5).mean()),
        "mean_per_class": 100 * float((right[counts > 0] / counts[counts > 0]).mean()),
    }
