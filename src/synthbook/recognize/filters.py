"""Which generated images to keep: the CLIP filter and the real filter (He et al. 2023).

CF drops images that CLIP does not take for their class, RF those that look like real shots of
another class. A class that a filter would empty keeps its best images, and that is said.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from synthbook import machine
from synthbook.errors import InputError
from synthbook.randomness import numpy_generator
from synthbook.recognize.clip import Encoded
from synthbook.recognize.heads import check_alike, probabilities

BLOCK = 2**26  # cosines that are held at a time


@dataclass(frozen=True, eq=False)
class Kept:
    """The ``images`` that a filter kept, and their ``indices`` in the set that it got.

    ``passed`` is the share of all images that passed the filter itself, and ``fallback`` names the
    classes in which too few did, so that they have their best images instead.
    """

    images: Encoded
    indices: np.ndarray
    passed: float
    fallback: tuple[str, ...]


def clip_filter(
    images: Encoded, head: np.ndarray, scale: float, *, threshold: float | None = None,
    top_share: float | None = None, count: int | None = None, least: int = 1, seed: int = 0,
) -> Kept:  # fmt: skip
    """Keep the images whose own class CLIP gives a probability above a threshold (CF).

    Args:
        images: unit features and the classes that were asked for.
        head: unit rows [K, D], and ``scale`` CLIP's logit scale.
        threshold: of the probability; None is 1/k, the public code's.
        top_share: keep this share of each class, the most probable, in place of a threshold.
        count: of images a class at most, drawn by ``seed`` from those that passed; where fewer
            did, the ``count`` most probable (the public code has 800).
        least: without a ``count``, how many of its most probable a class has at least.

    Raises:
        InputError: for a threshold or share out of range, both, or a count or least below 1.
    """
    scores = probabilities(images, head, scale)[np.arange(len(images)), images.labels]
    limit = 1 / images.num_classes if threshold is None else threshold
    if top_share is not None and threshold is not None:
        raise InputError(
            f"threshold = {threshold} and top_share = {top_share} exclude each other; give one"
        )
    if not 0 <= limit < 1 or (top_share is not None and not 0 < top_share <= 1):
        raise InputError(
            f"threshold = {threshold} and top_share = {top_share}; give a threshold from 0 to "
            "below 1, or a share above 0 and up to 1"
        )
    passes = scores > limit if top_share is None else _tops(scores, images.labels, top_share)
    how = {"count": count, "least": least if count is None else count, "seed": seed}
    return _filtered("CLIP filter", images, scores, passes, **how)


def real_filter(
    images: Encoded, shots: Encoded, *, margin: float = 0.0, count: int | None = None,
    least: int = 1, seed: int = 0,
) -> Kept:  # fmt: skip
    """Keep the images that are no nearer to a real shot of another class than of their own (RF).

    Nearness is the cosine of g. An image is dropped if the nearest shot of another class is nearer
    than the nearest of its own by more than ``margin``; 0 is "the nearest shot is of its class".

    Args:
        images, shots: unit features and their classes.
        margin: of a cosine.
        count: of images a class at most, drawn by ``seed`` from those that passed. Where fewer did,
            these are all: what the filter drops does not come back.
        least: how many of its best a class has at least.

    Raises:
        InputError: if a class has no shot, or the classes are others.
    """
    check_alike(images, shots)
    if not len(shots) or not shots.counts().all():
        empty = shots.classes[int(shots.counts().argmin())]
        raise InputError(
            f"the real filter compares with real shots, and class '{empty}' of '{shots.name}' has "
            "none; give a shot of every class, or leave the filter off"
        )
    nearer, size = np.empty(len(images), images.features.dtype), max(1, BLOCK // len(shots))
    for start in range(0, len(images), size):
        rows = slice(start, start + size)
        cosines = images.features[rows] @ shots.features.T
        own = images.labels[rows, None] == shots.labels
        near = np.where(own, cosines, -np.inf).max(1)
        nearer[rows] = near - np.where(own, -np.inf, cosines).max(1)
    how = {"count": count, "least": least, "seed": seed}
    return _filtered("real filter", images, nearer, nearer >= -margin, **how)


def _tops(scores: np.ndarray, labels: np.ndarray, share: float) -> np.ndarray:
    """Return bool [N]: the best share of each class, rounded up."""
    mask = np.zeros(len(scores), bool)
    for k in np.unique(labels):
        members = np.flatnonzero(labels == k)
        mask[best(members, scores, int(np.ceil(share * len(members) - 1e-9)))] = True
    return mask


def best(members: np.ndarray, scores: np.ndarray, count: int) -> np.ndarray:
    """Return the ``count`` of ``members`` with the largest scores, the first of equals first."""
    return members[np.argsort(-scores[members], kind="stable")[:count]]


def _filtered(
    name: str, images: Encoded, scores: np.ndarray, passes: np.ndarray, *, count: int | None,
    least: int, seed: int,
) -> Kept:  # fmt: skip
    if least < 1 or (count is not None and count < 1):
        raise InputError(f"least = {least} and count = {count}; give whole numbers of 1 or more")
    counts, kept, fallback = images.counts(), [], []
    if not counts.all():
        empty = images.classes[int(counts.argmin())]
        raise InputError(
            f"class '{empty}' of '{images.name}' has no image for the {name} to choose from; "
            "generate some, or leave the class out"
        )
    for k in range(images.num_classes):
        members = np.flatnonzero(images.labels == k)
        good = members[passes[members]]
        needed = min(least, len(members))
        if len(good) < needed:
            fallback += [images.classes[k]]
            good = best(members, scores, needed)
        elif count is not None:
            good = numpy_generator(seed, name, k).permutation(good)[:count]
        kept.append(np.sort(good))
    if fallback:
        machine.say(
            f"the {name} left too few images of {len(fallback)} of {images.num_classes} classes of "
            f"'{images.name}' ({', '.join(fallback[:5])}{' ...' if len(fallback) > 5 else ''}); "
            "their best ones are taken instead"
        )
    indices = np.concatenate(kept)
    return Kept(images.subset(indices), indices, float(passes.mean()), tuple(fallback))
