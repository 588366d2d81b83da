"""Distances between feature vectors, and the check that measures make of their input."""

from __future__ import annotations

import numpy as np
import torch

from synthbook.errors import InputError

_ROWS = 2048  # rows a block: 2048 x 50,000 float64 distances are 0.8 GB


def checked(at_least: int = 1, **sets: np.ndarray) -> list[np.ndarray]:
    """Return sets of features as float64 [N, D]; images [N, H, W, C] are flattened to pixels.

    Raises:
        InputError: that calls a set by its keyword, if it has no rows of numbers, fewer than
            ``at_least`` of them, NaN, or another width than the first.
    """
    rows: dict[str, np.ndarray] = {}
    for name, features in sets.items():
        array = np.asarray(features)
        if array.ndim < 2 or array.dtype.kind not in "fiub":
            raise InputError(
                f"{name} is {array.dtype} of shape {array.shape}; give numbers of shape [N, D]"
            )
        if len(array) < at_least:
            raise InputError(
                f"{name} has {len(array)} rows where at least {at_least} are needed; give more"
                " images or lower the number of neighbours, subsets or cells"
            )
        array = array.reshape(len(array), -1).astype(np.float64, copy=False)
        finite = np.isfinite(array).all(axis=1)
        if not finite.all():
            raise InputError(
                f"{name}[{int(finite.argmin())}] holds NaN or infinity; check the model that made"
                " it"
            )
        rows[name] = array
        first = next(iter(rows))
        if array.shape[1] != rows[first].shape[1]:
            raise InputError(
                f"{first} has {rows[first].shape[1]} features and {name} has {array.shape[1]}; use"
                " one extractor and one image size for both"
            )
    return list(rows.values())


def pairwise(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return Euclidean distances [N, M] of float64 rows (rounding error near 1e-7 relative)."""
    return torch.cdist(torch.from_numpy(a), torch.from_numpy(b)).numpy()


def nearest(images: np.ndarray, among: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return for each row of ``images`` [N, D] its nearest row of ``among`` [M, D].

    Returns:
        indices [N] int64 into ``among``, and Euclidean distances [N] float64.
    """
    left, right = checked(images=images, among=among)
    blocks = [pairwise(left[i : i + _ROWS], right) for i in range(0, len(left), _ROWS)]
    indices = np.concatenate([block.argmin(axis=1) for block in blocks]).astype(np.int64)
    # The blocks' distances come from a matrix product; the one that counts is made exact, so that
    # an equal row has distance 0.
    return indices, np.linalg.norm(left - right[indices], axis=1)


def radii(rows: np.ndarray, neighbours: int) -> np.ndarray:
    """Return the distance of each of N float64 rows to its ``neighbours``-th nearest other, [N].

    N must be larger than ``neighbours``.
    """
    if neighbours < 1:
        raise InputError(f"neighbours is {neighbours}; give at least 1")
    result = np.empty(len(rows))
    for start in range(0, len(rows), _ROWS):
        block = pairwise(rows[start : start + _ROWS], rows)
        local = np.arange(len(block))
        block[local, start + local] = np.inf  # a row is no neighbour of itself
        result[start : start + len(block)] = np.partition(block, neighbours - 1)[:, neighbours - 1]
    return result


def ball_counts(
    centres: np.ndarray, points: np.ndarray, neighbours: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return how many of M points each of N balls holds, [N], and in how many each point lies, [M].

    A closed ball reaches from its centre to that one's ``neighbours``-th nearest other centre.
    """
    radius = radii(centres, neighbours)
    held, lies_in = [], np.zeros(len(points), dtype=np.int64)
    for start in range(0, len(centres), _ROWS):
        block = slice(start, start + _ROWS)
        hits = pairwise(centres[block], points) <= radius[block, None]
        held.append(hits.sum(axis=1))
        lies_in += hits.sum(axis=0)
    return np.concatenate(held), lies_in
