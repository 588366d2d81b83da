"""Distances between feature vectors, and the check that measures make of their input."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from synthbook.errors import InputError

_ROWS = 2048  # rows a block: 2048 x 50,000 float64 distances are 0.8 GB


def checked(at_least: int = 1, **sets: np.ndarray) -> list[np.ndarray]:
    """Return sets of features as float64 [N, D]; images [N, H, W, C] are flattened to pixels.

    Raises:
        InputError: that calls a set by its keyword, if it has fewer than ``at_least`` rows, NaN,
            or another width than the others.
    """
    rows: dict[str, np.ndarray] = {}
    for name, features in sets.items():
        if len(features) < at_least:
            raise InputError(
                f"{name} has {len(features)} rows where at least {at_least} are needed; give more"
                " images or lower the number of neighbours or subsets"
            )
        rows[name] = np.asarray(features).reshape(len(features), -1)
        rows[name] = rows[name].astype(np.float64, copy=False)
        finite = np.isfinite(rows[name]).all(axis=1)
        if not finite.all():
            where = f"{name}[{finite.argmin()}]"
            raise InputError(f"{where} holds NaN or infinity; check the model that made it")
    if len({array.shape[1] for array in rows.values()}) > 1:
        widths = " and ".join(f"{name} has {a.shape[1]} features" for name, a in rows.items())
        raise InputError(f"{widths}; use one extractor and one image size")
    return list(rows.values())


def pairwise(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return Euclidean distances [N, M] of float64 rows (rounding error near 1e-7 relative)."""
    return torch.cdist(torch.from_numpy(a), torch.from_numpy(b)).numpy()


def _blocks(rows: np.ndarray, among: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield the distances of a block of ``rows`` to all of ``among``, and where the block lies."""
    for start in range(0, len(rows), _ROWS):
        block = slice(start, start + _ROWS)
        yield block, pairwise(rows[block], among)


def nearest(images: np.ndarray, among: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return each row's nearest row of ``among`` [M, D]: indices int64 [N], and distances [N]."""
    left, right = checked(images=images, among=among)
    indices = np.concatenate([distances.argmin(1) for _, distances in _blocks(left, right)])
    # The blocks' distances come from a matrix product; the one that counts is made exact, so that
    # an equal row has distance 0.
    return indices, np.linalg.norm(left - right[indices], axis=1)


def radii(rows: np.ndarray, neighbours: int) -> np.ndarray:
    """Return the distance of each of N float64 rows to its ``neighbours``-th nearest other, [N].

    N must be larger than ``neighbours``.
    """
    if neighbours < 1:
        raise InputError(f"neighbours is {neighbours}; give at least 1")
    radius = []
    for block, distances in _blocks(rows, rows):
        np.fill_diagonal(distances[:, block], np.inf)  # a row is no neighbour of itself
        radius.append(np.partition(distances, neighbours - 1)[:, neighbours - 1])
    return np.concatenate(radius)


def ball_counts(
    centres: np.ndarray, points: np.ndarray, neighbours: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return how many of M points each of N balls holds, [N], and in how many each point lies, [M].

    A closed ball reaches from its centre to that one's ``neighbours``-th nearest other centre.
    """
    radius = radii(centres, neighbours)
    held, lies_in = [], np.zeros(len(points), dtype=np.int64)
    for block, distances in _blocks(centres, points):
        hits = distances <= radius[block, None]
        held.append(hits.sum(axis=1))
        lies_in += hits.sum(axis=0)
    return np.concatenate(held), lies_in
