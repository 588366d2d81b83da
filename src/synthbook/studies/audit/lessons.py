"""What classifiers learn from generated images, and what each image still teaches."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from synthbook.data import ImageSet, Splits
from synthbook.randomness import derive
from synthbook.studies.audit.distances import FLOOR
from synthbook.studies.audit.images import draw, some

REAL, GENERATED, BOTH = "real", "generated", "real+generated"


@dataclass(frozen=True)
class Lessons:
    """What `usefulness` found, one number a seed.

    ``accuracy[train, test]`` is in percent on images that were not trained on. ``losses`` [N], in
    nats, are the mean over seeds of each image of ``sample`` under classifiers trained on real
    images, ``losses_unseen`` those of unseen real images and ``losses_back`` of the latter under
    classifiers trained on generated images.
    """

    accuracy: Mapping[tuple[str, str], tuple[float, ...]]
    values: Mapping[str, tuple[float, ...]]
    counts: Mapping[str, int]
    sample: ImageSet
    losses: np.ndarray
    losses_unseen: np.ndarray
    losses_back: np.ndarray


def training_sizes(real: Splits, generated: ImageSet, p: Mapping[str, Any]) -> tuple[int, int]:
    """Return how many real and how many generated images classifiers are trained on.

    Up to ``p["train_images"]`` (0: all) real ones, and as many generated ones or four fifths of
    them, whichever is less; the others are kept back for tests.
    """
    count = min(len(real.train), p["train_images"] or len(real.train))
    return count, min(count, len(generated) * 4 // 5)


def training_images(
    real: Splits, generated: ImageSet, p: Mapping[str, Any], seed: int
) -> tuple[dict[str, ImageSet], ImageSet]:
    """Return the images of either source that a seed trains on, and the generated ones kept back.

    The classifiers of a seed begin with the same weights: those of `training_seed`.
    """
    count, fewer = training_sizes(real, generated, p)
    chosen, rest = draw(generated, fewer, seed, "train", GENERATED)
    sets = {
        REAL: real.train.subset(draw(real.train, count, seed, "train", REAL)[0]),
        GENERATED: generated.subset(chosen),
    }
    return sets, generated.subset(rest[: len(real.test)])


def training_seed(seed: int) -> int:
    """Return what a seed's classifiers draw their initial weights and orders from."""
    return derive(seed, "audit")


def usefulness(
    real: Splits,
    generated: ImageSet,
    p: Mapping[str, Any],
    *,
    seeds: Iterable[int],
    device: str = "cpu",
) -> Lessons:
    """Train on each source and on both, test on images that were not trained on.

    The images are those of `training_images`. With both sources, each step takes a batch of
    either, so that a real image is shown as often as without the generated ones.
    """
    from synthbook.measure.gap import loss_profile, non_mutual_gap
    from synthbook.recognize.predict import accuracy, sample_losses
    from synthbook.studies.training_sets import train_classifier

    how = {"device": device, "input_size": p.get("input_size", 0)}
    count, fewer = training_sizes(real, generated, p)
    sample = some(generated, p["most_images"], "losses")
    unseen = some(real.test, p["most_images"], "losses")
    accuracies: dict[tuple[str, str], list[float]] = {}
    found: dict[str, list[float]] = {}
    losses: dict[str, list[np.ndarray]] = {"generated": [], "unseen": [], "back": []}
    for seed in seeds:
        sets, kept_back = training_images(real, generated, p, seed)
        tests = {REAL: real.test, GENERATED: kept_back}
        models = {
            name: train_classifier(p, streams, seed=training_seed(seed), device=device)[0]
            for name, streams in {**sets, BOTH: sets}.items()
        }
        for train, model in models.items():
            for test, images in tests.items():
                accuracies.setdefault((train, test), []).append(accuracy(model, images, **how))
        latest = {pair: numbers[-1] for pair, numbers in accuracies.items()}
        for name, value in non_mutual_gap(latest, GENERATED).items():
            found.setdefault(name, []).append(value)
        losses["generated"].append(sample_losses(models[REAL], sample, **how))
        losses["unseen"].append(sample_losses(models[REAL], unseen, **how))
        losses["back"].append(sample_losses(models[GENERATED], unseen, **how))
        for name, suffix in (("generated", ""), ("unseen", FLOOR), ("back", "_back")):
            profile = loss_profile(losses[name][-1])
            for kind in ("near_zero", "high"):
                found.setdefault(f"{kind}_loss{suffix}", []).append(profile[kind])
    return Lessons(
        {pair: tuple(numbers) for pair, numbers in accuracies.items()},
        {name: tuple(numbers) for name, numbers in found.items()},
        {"real": count, "generated": fewer, "unseen": len(real.test)},
        sample,
        *(np.mean(losses[name], axis=0) for name in ("generated", "unseen", "back")),
    )
