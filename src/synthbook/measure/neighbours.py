"""Distances between feature vectors, and the checks that every measure makes of its input."""

from __future__ import annotations

import numpy as np
import torch

from synthbook.errors import InputError

_ROWS = 2048  # rows a block: 2048 x 50,000 float64 distances are 0.8 GB


def checked(name: str, features: np.ndarray, *, at_least: int = 1) -> np.ndarray:
    """Return ``features`` as float64 [N, D]; images [N, H, W, C] are flattened to pixels.

    Raises:
        InputError: if it has no rows of numbers, fewer than ``at_least`` of them, or NaN.
    """
    array = np.asarray(features)
    if array.ndim < 2 or array.dtype.kind not in "fiub":
        raise InputError(
            f"{name} is {array.dtype} of shape {array.shape}; give numbers of shape [N, D]"
        )
    if len(array) < at_least:
        raise InputError(
            f"{name} has {len(array)} rows where at least {at_least} are needed; give more images"
            " or lower the number of neighbours, subsets or cells"
        )
    array = array.reshape(len(array), -1).astype(np.float64)
    if not np.isfinite(array).all():
        row = int(np.argmin(np.isfinite(array).all(axis=1)))
        raise InputError(f"{name}[{row}] holds NaN or infinity; check the model that made it")
    return array


def checked_pair(
    a: np.ndarray,
    b: np.ndarray,
    *,
    names: tuple[str, str] = ("real", "fake"),
    at_least: int = 1,
) -> tuple[np.ndarray, np.ndarray]:
    """Return both as float64 [N, D] and [M, D].

    Raises:
        InputError: as ``checked``, or if the widths differ.
    """
    left = checked(names[0], a, at_least=at_least)
    right = checked(names[1], b, at_least=at_least)
    if left.shape[1] != right.shape[1]:
        raise InputError(
            f"{names[0]} has {left.shape[1]} features and {names[1]} has {right.shape[1]}; use"
            " one extractor and one image size for both"
        )
    return left, right


def pairwise(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return Euclidean distances [N, M] of float64 rows (rounding error near 1e-7 relative)."""
    return torch.cdist(torch.from_numpy(a), torch.from_numpy(b)).numpy()


def nearest(images: np.ndarray, among: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return for each row of ``images`` [N, D] its nearest row of ``among`` [M, D].

    Returns:
        indices [N] int64 into ``among``, and Euclidean distances [N] float64.
    """
    left, right = checked_pair(images, among, names=("images", "among"))
    parts = [pairwise(left[i : i + _ROWS], right) for i in range(0, len(left), _ROWS)]
    indices = np.concatenate([part.argmin(axis=1) for part in parts]).astype(np.int64)
    # The blocks' distances come from a matrix product; the one that counts is made exact, so that
    # an equal row has distance 0.
    return indices, np.linalg.norm(left - right[indices], axis=1)


def radii(points: np.ndarray, neighbours: int) -> np.ndarray:
    """Return each row's distance to its ``neighbours``-th nearest other row, float64 [N]."""
    if neighbours < 1:
        raise InputError(f"neighbours is {neighbours}; give at least 1")
    rows = checked("points", points, at_least=neighbours + 1)
    result = np.empty(len(rows))
    for start in range(0, len(rows), _ROWS):
        block = pairwise(rows[start : start + _ROWS], rows)
        local = np.arange(len(block))
        block[local, start + local] = np.inf  # a row is no neighbour of itself
        result[start : start + len(block)] = np.partition(block, neighbours - 1)[:, neighbours - 1]
    return result
