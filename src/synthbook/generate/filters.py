"""The confidence filter that turns raw samples into a labelled synthetic clone."""

from __future__ import annotations

import numpy as np

from synthbook.errors import InputError


def confident(
    probabilities: np.ndarray, threshold: float, condition: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Keep the samples that a classifier is sure of, and label them (Wang et al. 2024, Sec. 3.2).

    A sample is kept if its largest softmax probability is above ``threshold`` (strictly; the
    paper uses 0.8). With ``condition`` the predicted class must also be the one that the sample
    was drawn for: the paper does not say so, it is this book's choice for conditional generators.

    Args:
        probabilities: [N, K] softmax outputs, each row in [0, 1] and summing to 1 (within 1e-3).
        threshold: in [0, 1).
        condition: [N] class indices in [0, K), or None for an unconditional generator.

    Returns:
        keep [N] bool and labels [N] int64 (the predicted class, also of those not kept).

    Raises:
        InputError: if shapes, ranges or sums are not as said above.
    """
    probs = np.asarray(probabilities)
    if probs.ndim != 2 or probs.shape[1] < 1 or probs.dtype.kind != "f":
        raise InputError(
            f"probabilities is {probs.dtype} of shape {probs.shape}; give floats of shape [N, K]"
        )
    if not 0 <= threshold < 1:
        raise InputError(f"threshold is {threshold}; give a probability in [0, 1), such as 0.8")
    sums = probs.sum(axis=1, dtype=np.float64)
    # Written so that NaN fails too: a comparison with NaN is false.
    valid = (np.abs(sums - 1) <= 1e-3) & (probs >= 0).all(axis=1)
    if not valid.all():
        row = int(np.argmin(valid))
        raise InputError(
            f"probabilities[{row}] is no distribution (its sum is {sums[row]:.6g}); apply softmax"
            " to the logits first"
        )
    labels = probs.argmax(axis=1).astype(np.int64)
    keep = probs.max(axis=1) > threshold
    if condition is not None:
        wanted = np.asarray(condition)
        if wanted.shape != labels.shape or wanted.dtype.kind not in "iu":
            raise InputError(
                f"condition is {wanted.dtype} of shape {wanted.shape}; give one class index for"
                f" each of the {len(labels)} rows of probabilities"
            )
        if wanted.size and not (wanted.min() >= 0 and wanted.max() < probs.shape[1]):
            raise InputError(
                f"condition holds class indices from {wanted.min()} to {wanted.max()};"
                f" probabilities has the classes 0 to {probs.shape[1] - 1}"
            )
        keep &= labels == wanted
    return keep, labels
