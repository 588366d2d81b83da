"""Synthetic clones of a data set: plain, or filtered by a classifier's confidence."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from synthbook.data import ImageSet
from synthbook.errors import InputError
from synthbook.generate.filters import confident
from synthbook.randomness import derive, numpy_generator

if TYPE_CHECKING:
    from synthbook.generate.generators import Source


def class_shares(like: ImageSet, count: int) -> np.ndarray:
    """Return int64 [num_classes] that sum to ``count``, in the proportions of ``like``.

    Fractions go to the classes with the largest remainders (Hamilton's method).
    """
    if count < 1 or not len(like):
        raise InputError(f"count is {count} and '{like.name}' has {len(like)} images; give both")
    exact = like.counts() * count / len(like)
    whole = np.floor(exact).astype(np.int64)
    rest = np.argsort(whole - exact, kind="stable")[: count - whole.sum()]
    whole[rest] += 1
    return whole


def clone(source: Source, like: ImageSet, *, count: int, seed: int) -> ImageSet:
    """Return ``count`` conditional samples, the classes in the proportions of ``like``.

    The order of the classes is shuffled, so that every part of the set holds all of them.
    """
    _same_classes(source, like)
    labels = np.repeat(np.arange(like.num_classes), class_shares(like, count))
    labels = numpy_generator(seed, "clone").permutation(labels)
    images = source.sample(labels.tolist(), seed=seed)
    return ImageSet(images, labels, like.classes, f"{source.family} clone of {like.name}")


def filtered_clone(
    source: Source,
    like: ImageSet,
    label: Callable[[np.ndarray], np.ndarray],
    *,
    count: int,
    confidence: float = 0.8,
    unconditional: bool,
    seed: int,
    most_drawn: int = 20,
    strict: bool = True,
) -> tuple[ImageSet, dict[str, Any]]:
    """Return samples that a classifier is sure of (Wang et al., WACV 2024, Sec. 3.2), and counts.

    ``label`` maps images uint8 [N, H, W, C] to class probabilities [N, K]. An image is kept if
    the largest is above ``confidence``, and is labelled by it. The paper does not say whether the
    images of a conditional generator must also be of the class that was asked for; here they must
    ("agreement"). Rounds are drawn until every class has its share of ``count``, in the
    proportions of ``like``, or ``most_drawn`` times ``count`` images are drawn.

    Returns the set and a dict: ``drawn``; ``accepted`` by the filter and ``share`` = accepted /
    drawn; ``kept`` in the set; ``rounds``; ``confidence``; ``agreement``; ``per_class`` (name ->
    accepted, kept); ``short`` (name -> images missing).

    Raises:
        InputError: if a class stays short and ``strict``; without, the set is smaller.
    """
    _same_classes(source, like)
    wanted = class_shares(like, count)
    accepted = np.zeros(like.num_classes, dtype=np.int64)
    tried = np.zeros(like.num_classes, dtype=np.int64)
    images, labels, drawn, rounds = [], [], 0, 0
    while (accepted < wanted).any() and drawn < most_drawn * count:
        asked = _next_round(wanted, accepted, tried, drawn, unconditional)
        # Shuffled, so that the cut is fair to the classes and the set comes out mixed.
        asked = numpy_generator(seed, "filtered clone", rounds).permutation(asked)
        asked = asked[: most_drawn * count - drawn]
        batch = source.sample(
            [None] * len(asked) if unconditional else asked.tolist(),
            seed=derive(seed, "filtered clone", rounds),
        )
        probabilities = label(batch)
        if np.shape(probabilities) != (len(batch), like.num_classes):
            raise InputError(
                f"label gave an array of shape {np.shape(probabilities)}; give probabilities "
                f"[{len(batch)}, {like.num_classes}], one column a class of '{like.name}'"
            )
        keep, found = confident(probabilities, confidence, None if unconditional else asked)
        images.append(batch[keep])
        labels.append(found[keep])
        accepted += np.bincount(found[keep], minlength=like.num_classes)
        tried += np.bincount(asked, minlength=like.num_classes)
        drawn, rounds = drawn + len(asked), rounds + 1

    chosen = _first_of_each(np.concatenate(labels), wanted)
    name = f"filtered {source.family} clone of {like.name}"
    kept = ImageSet(
        np.concatenate(images)[chosen], np.concatenate(labels)[chosen], like.classes, name
    )
    missing = wanted - kept.counts()
    short = {like.classes[k]: int(missing[k]) for k in np.flatnonzero(missing)}
    if short and strict:
        worst = max(short, key=lambda name: short[name])
        raise InputError(
            f"class '{worst}' is still {short[worst]} images short after {drawn} samples; lower "
            f"confidence ({confidence}), raise most_drawn ({most_drawn}), or train longer"
        )
    per_class = zip(like.classes, accepted, kept.counts(), strict=True)
    return kept, {
        "drawn": drawn,
        "accepted": int(accepted.sum()),
        "share": float(accepted.sum() / drawn),
        "kept": len(kept),
        "rounds": rounds,
        "confidence": confidence,
        "agreement": not unconditional,
        "per_class": {c: {"accepted": int(a), "kept": int(k)} for c, a, k in per_class},
        "short": short,
    }


def _next_round(
    wanted: np.ndarray, accepted: np.ndarray, tried: np.ndarray, drawn: int, unconditional: bool
) -> np.ndarray:
    """Return the labels to ask for next; without classes only their number counts.

    The first round asks for what is wanted, later ones for what is missing over the rate of
    acceptance so far and a tenth more, but no more than twice what was tried before: a class that
    never comes must not use up what the others need.
    """
    missing = np.maximum(wanted - accepted, 0)
    if not drawn:
        return np.repeat(np.arange(len(wanted)), wanted)
    if unconditional:
        number = int(np.ceil((1.1 * missing * drawn / np.maximum(accepted, 1)).max()))
        return np.zeros(min(number, 2 * drawn), dtype=np.int64)
    number = np.ceil(1.1 * missing * tried / np.maximum(accepted, 1)).astype(np.int64)
    return np.repeat(np.arange(len(wanted)), np.minimum(number, 2 * tried))


def _first_of_each(labels: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return, in ascending order, the indices of the first ``wanted[k]`` of each class k."""
    parts = [np.flatnonzero(labels == k)[:number] for k, number in enumerate(wanted)]
    return np.sort(np.concatenate(parts))


def _same_classes(source: Source, like: ImageSet) -> None:
    if source.classes != like.classes:
        raise InputError(
            f"the {source.family} source knows {len(source.classes)} classes and '{like.name}' "
            f"has {len(like.classes)} or other ones; train it on images of the same classes"
        )
