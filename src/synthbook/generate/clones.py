"""Synthetic clones of a data set: plain, or filtered by a classifier's confidence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from synthbook.data import ImageSet
from synthbook.errors import InputError
from synthbook.machine import telling
from synthbook.randomness import derive, numpy_generator


class Sampler(Protocol):
    """What makes images of classes: a generator of the book, or a reader's own (`own`).

    ``left`` is how many images of each class it can still give, None for as many as are asked for;
    one that is not ``conditional`` has as many of every class as are left at all. ``key`` tells it
    from others.
    """

    family: str
    classes: tuple[str, ...]
    conditional: bool
    left: np.ndarray | None
    key: str

    def sample(self, labels: Sequence[int | None], *, seed: int, **settings: float) -> np.ndarray:
        """Return one image a label, uint8 [N, H, W, C]."""


PILOT = 1000  # samples after which it is estimated whether every class can be filled


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
    count: int | Sequence[int],
    confidence: float = 0.8,
    fallbacks: Sequence[float] = (),
    unconditional: bool,
    seed: int,
    most_drawn: int = 20,
    **sampling: float,
) -> tuple[ImageSet, dict[str, Any]]:
    """Return samples that a classifier is sure of (Wang et al., WACV 2024, Sec. 3.2), and counts.

    ``label`` maps images uint8 [N, H, W, C] to class probabilities [N, K]; `confident` says which
    are kept. The images of a conditional generator must also be of the class that was asked for
    ("agreement"). With ``confidence`` 0 there is no filter: each sample is kept, under the class
    that was asked for or, without one, under the classifier's.

    Rounds are drawn until every class has its share of ``count``, in the proportions of ``like``,
    or the number that ``count`` gives for it. ``most_drawn`` times as many may be drawn. From
    `PILOT` samples on, where the rate of acceptance says that this will not do, the largest of the
    ``fallbacks`` takes the place of ``confidence`` that will. ``sampling`` are settings of
    ``Generator.sample``.

    Of the counts, ``accepted`` is by the filter, ``share`` = accepted / drawn, ``kept`` in the set,
    and ``confidence`` the one that was used.

    Raises:
        InputError: if a class cannot be filled, as soon as the rate of acceptance says so.
    """
    _same_classes(generator, like)
    wanted = class_shares(like, count) if isinstance(count, int) else np.array(count)
    limit = most_drawn * int(wanted.sum())
    levels = [confidence, *sorted((c for c in fallbacks if c < confidence), reverse=True)]
    tried = np.zeros(like.num_classes, dtype=np.int64)
    batches, drawn = [], 0
    tell = telling(f"drawing {generator.family} images, at most", limit)
    labels, sure = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32)

    def accepted(level: float) -> np.ndarray:
        """Return how many samples of each class pass the filter."""
        return np.bincount(labels[(sure > level) | (level == 0)], minlength=like.num_classes)

    def spent(level: float) -> bool:
        """Return whether fewer images are left than a class still wants."""
        return generator.left is not None and bool(
            (wanted - accepted(level) > generator.left).any()
        )

    def in_reach(level: float) -> bool:
        """Return whether what may still be drawn will do, by a rate two standard errors up."""
        got = accepted(level)
        if spent(level):
            return False
        hopeful = got + 2 * np.sqrt(got) + 3
        needed = np.maximum(wanted - got, 0) * (drawn if unconditional else tried) / hopeful
        return (needed.max() if unconditional else needed.sum()) <= limit - drawn

    def refusal(level: float) -> InputError:
        got = accepted(level)
        worst = int(np.argmin(got / np.maximum(wanted, 1)))
        said = (
            f"the filter took {got[worst]} of {drawn:,} {generator.family} samples for class "
            f"'{like.classes[worst]}', of which {wanted[worst]} are wanted"
        )
        if generator.left is not None:
            return InputError(
                f"{said}; add images to {generator.family}"
                + (f", or set confidence lower than {level:g}" if level else "")
            )
        remedies = [f"confidence lower than {level:g}"] * (level > 0)
        remedies += ["unconditional to [], to ask for classes"] * unconditional
        return InputError(f"{said} from {limit:,} at most; set {', or '.join(remedies)}")

    while (accepted(levels[0]) < wanted).any():
        if spent(levels[0]) or (drawn >= min(PILOT, limit) and not in_reach(levels[0])):
            refused, levels = levels[0], [level for level in levels[1:] if in_reach(level)]
            if not levels:
                raise refusal(refused)
            continue
        asked = _next_round(wanted, accepted(levels[0]), tried, drawn, unconditional)
        if generator.left is not None:
            classes = np.arange(like.num_classes)
            most = np.minimum(np.bincount(asked, minlength=like.num_classes), generator.left)
            asked = np.repeat(classes, most)
        # Shuffled, so that the cut is fair to the classes and the set comes out mixed.
        asked = numpy_generator(seed, "filtered clone", len(batches)).permutation(asked)
        asked = asked[: limit - drawn]
        batch = generator.sample(
            [None] * len(asked) if unconditional else asked.tolist(),
            seed=derive(seed, "filtered clone", len(batches)),
            **sampling,
        )
        probabilities = label(batch)
        agree, classes = confident(probabilities, 0.0, None if unconditional else asked)
        batches.append(batch)
        labels = np.concatenate([labels, classes if unconditional else asked])
        sure = np.concatenate([sure, np.where(agree, probabilities.max(axis=1), 0)])
        tried += np.bincount(asked, minlength=like.num_classes)
        drawn += len(asked)
        tell(drawn)

    used, name = levels[0], f"filtered {generator.family} clone of {like.name}"
    found = ImageSet(np.concatenate(batches), labels, like.classes, name)
    # The first ones of each class that are wanted, in the order in which they were drawn.
    passed = (sure > used) | (used == 0)
    firsts = [np.flatnonzero(passed & (labels == k))[:number] for k, number in enumerate(wanted)]
    kept = found.subset(np.sort(np.concatenate(firsts)))
    return kept, {
        "drawn": drawn,
        "accepted": int(passed.sum()),
        "share": float(passed.mean()),
        "kept": len(kept),
        "confidence": used,
        "agreement": not unconditional and used > 0,
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
