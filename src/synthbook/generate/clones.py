"""Synthetic clones of a data set: plain, or filtered by a classifier's confidence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from synthbook.data import ImageSet
from synthbook.errors import InputError
from synthbook.randomness import derive, numpy_generator


class Sampler(Protocol):
    """What makes images of classes: a generator of the book, or a reader's own (`own`).

    ``left`` is how many images of each class it can still give, None for as many as are asked for;
    ``key`` tells it from others.
    """

    family: str
    classes: tuple[str, ...]
    conditional: bool
    left: np.ndarray | None
    key: str

    def sample(self, labels: Sequence[int | None], *, seed: int, **settings: float) -> np.ndarray:
        """Return one image a label, uint8 [N, H, W, C]."""


def class_shares(like: ImageSet, count: int) -> np.ndarray:
    """Return int64 [num_classes] that sum to ``count``, in the proportions of ``like``.

    Fractions go to the classes with the largest remainders (Hamilton's method).
    """
    exact = like.counts() * count / len(like)
    whole = np.floor(exact).astype(np.int64)
    rest = np.argsort(whole - exact, kind="stable")[: count - whole.sum()]
    whole[rest] += 1
    return whole


def clone(
    generator: Sampler, like: ImageSet, *, count: int, seed: int, **sampling: float
) -> ImageSet:
    """Return ``count`` conditional samples, the classes in the proportions of ``like``.

    The order of the classes is shuffled, so that every part of the set holds all of them.
    ``sampling`` are settings of ``Generator.sample``.
    """
    _same_classes(generator, like)
    labels = np.repeat(np.arange(like.num_classes), class_shares(like, count))
    labels = numpy_generator(seed, "clone").permutation(labels)
    images = generator.sample(labels.tolist(), seed=seed, **sampling)
    return ImageSet(images, labels, like.classes, f"{generator.family} clone of {like.name}")


def confident(
    probabilities: np.ndarray, confidence: float, condition: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Keep the samples that a classifier is sure of, and label them (Wang et al. 2024, Sec. 3.2).

    A sample is kept if its largest softmax probability is above ``confidence`` (strictly; the
    paper uses 0.8). With ``condition`` the predicted class must also be the one that the sample
    was drawn for: the paper does not say so, it is this book's choice for conditional generators.

    ``probabilities`` are softmax outputs [N, K], each row summing to 1 (within 1e-3), and
    ``condition`` class indices [N]. Returns keep [N] bool and labels [N] int64: the predicted
    class, also of those not kept.

    Raises:
        InputError: if a row is no distribution, as where logits were given.
    """
    # Written so that NaN fails too: a comparison with NaN is false.
    sums = probabilities.sum(axis=1, dtype=np.float64)
    valid = (np.abs(sums - 1) <= 1e-3) & (probabilities >= 0).all(axis=1)
    if not valid.all():
        row = int(np.argmin(valid))
        raise InputError(
            f"probabilities[{row}] is no distribution (its sum is {sums[row]:.6g}); apply softmax"
            " to the logits first"
        )
    labels = probabilities.argmax(axis=1).astype(np.int64)
    keep = probabilities.max(axis=1) > confidence
    return keep if condition is None else keep & (labels == condition), labels


def filtered_clone(
    generator: Sampler,
    like: ImageSet,
    label: Callable[[np.ndarray], np.ndarray],
    *,
    count: int,
    confidence: float = 0.8,
    unconditional: bool,
    seed: int,
    most_drawn: int = 20,
    **sampling: float,
) -> tuple[ImageSet, dict[str, Any]]:
    """Return samples that a classifier is sure of (Wang et al., WACV 2024, Sec. 3.2), and counts.

    ``label`` maps images uint8 [N, H, W, C] to class probabilities [N, K]; `confident` says which
    are kept. The images of a conditional generator must also be of the class that was asked for
    ("agreement"). Rounds are drawn until every class has its share of ``count``, in the
    proportions of ``like``, or ``most_drawn`` times ``count`` images are drawn, or all that there
    are. ``sampling`` are settings of ``Generator.sample``.

    Of the counts, ``accepted`` is by the filter, ``share`` = accepted / drawn, ``kept`` in the set.
    """
    _same_classes(generator, like)
    wanted = class_shares(like, count)
    accepted = np.zeros(like.num_classes, dtype=np.int64)
    tried = np.zeros(like.num_classes, dtype=np.int64)
    images, labels, drawn, rounds = [], [], 0, 0
    while (accepted < wanted).any() and drawn < most_drawn * count:
        asked = _next_round(wanted, accepted, tried, drawn, unconditional)
        if generator.left is not None:
            asked = np.repeat(
                np.arange(like.num_classes),
                np.minimum(np.bincount(asked, minlength=like.num_classes), generator.left),
            )
            if not len(asked):
                break
        # Shuffled, so that the cut is fair to the classes and the set comes out mixed.
        asked = numpy_generator(seed, "filtered clone", rounds).permutation(asked)
        asked = asked[: most_drawn * count - drawn]
        batch = generator.sample(
            [None] * len(asked) if unconditional else asked.tolist(),
            seed=derive(seed, "filtered clone", rounds),
            **sampling,
        )
        keep, classes = confident(label(batch), confidence, None if unconditional else asked)
        images.append(batch[keep])
        labels.append(classes[keep])
        accepted += np.bincount(classes[keep], minlength=like.num_classes)
        tried += np.bincount(asked, minlength=like.num_classes)
        drawn, rounds = drawn + len(asked), rounds + 1

    short = np.maximum(wanted - accepted, 0)
    if short.any():
        worst = int(short.argmax())
        finite = generator.left is not None
        remedy = f"add images to {generator.family}" if finite else "train the generator longer"
        raise InputError(
            f"class '{like.classes[worst]}' is still {short[worst]} images short after {drawn} "
            f"samples; lower confidence ({confidence}), or {remedy}"
        )
    name = f"filtered {generator.family} clone of {like.name}"
    found = ImageSet(np.concatenate(images), np.concatenate(labels), like.classes, name)
    # The first ones of each class that are wanted, in the order in which they were drawn.
    firsts = [np.flatnonzero(found.labels == k)[:number] for k, number in enumerate(wanted)]
    kept = found.subset(np.sort(np.concatenate(firsts)))
    return kept, {
        "drawn": drawn,
        "accepted": int(accepted.sum()),
        "share": float(accepted.sum() / drawn),
        "kept": len(kept),
        "agreement": not unconditional,
    }


def _next_round(
    wanted: np.ndarray, accepted: np.ndarray, tried: np.ndarray, drawn: int, unconditional: bool
) -> np.ndarray:
    """Return the labels to ask for next; without classes only their number counts.

    The first round asks for what is wanted, later ones for what is missing over the rate of
    acceptance so far and a tenth more, but no more than twice what was tried before: a class that
    never comes must not use up what the others need.
    """
    if not drawn:
        return np.repeat(np.arange(len(wanted)), wanted)
    missing = np.maximum(wanted - accepted, 0)
    if unconditional:
        number = int(np.ceil((1.1 * missing * drawn / np.maximum(accepted, 1)).max()))
        return np.zeros(min(number, 2 * drawn), dtype=np.int64)
    number = np.ceil(1.1 * missing * tried / np.maximum(accepted, 1)).astype(np.int64)
    return np.repeat(np.arange(len(wanted)), np.minimum(number, 2 * tried))


def _same_classes(generator: Sampler, like: ImageSet) -> None:
    if generator.classes != like.classes:
        raise InputError(
            f"the {generator.family} generator knows {len(generator.classes)} classes and "
            f"'{like.name}' has {len(like.classes)} or other ones; train it on images of the same "
            "classes"
        )
