"""What images teach: classifiers trained on either source and on both, tested on unseen images."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from synthbook.data import ImageSet, Splits
from synthbook.randomness import derive
from synthbook.recognize import methods
from synthbook.studies.audit.images import AuditSettings, draw, some
from synthbook.studies.audit.measures import FLOOR, GENERATED
from synthbook.studies.remedies import guide_of, numbers_of, remedy
from synthbook.studies.rows import REAL

if TYPE_CHECKING:
    from synthbook.recognize.methods.guide import Guide

BOTH = "real+generated"
AUG = "Aug"  # both sets mixed: what every other way of training on both has to beat


@dataclass(frozen=True)
class Lessons:
    """What `learn` finds, one number a seed.

    ``accuracy[training, test]`` is in percent on images that were not trained on. A training is
    real images alone (`REAL`), generated ones alone (`GENERATED`), `AUG`, then each remedy, on
    what ``sources`` says; all had ``updates`` optimiser steps, rounded to whole epochs. ``counts``
    says how many real and generated images were trained on. ``losses`` [N], in nats, are the mean
    over seeds of each image of ``sample`` under classifiers trained on real images,
    ``losses_unseen`` those of unseen real images and ``losses_back`` of the latter under
    classifiers trained on generated images.
    """

    accuracy: Mapping[tuple[str, str], tuple[float, ...]]
    sources: Mapping[str, str]
    values: Mapping[str, tuple[float, ...]]
    counts: Mapping[str, int]
    updates: int
    sample: ImageSet
    losses: np.ndarray
    losses_unseen: np.ndarray
    losses_back: np.ndarray

    @property
    def on_both(self) -> list[str]:
        """The trainings on both sources: `AUG` and the remedies that need real images."""
        return [name for name, source in self.sources.items() if source == BOTH]

    @property
    def on_generated(self) -> list[str]:
        """The trainings on generated images alone: the plain one, `GENERATED`, then remedies."""
        return [name for name, source in self.sources.items() if source == GENERATED]


def guide_for(settings: AuditSettings, real: Splits) -> Guide | None:
    """Return the frozen guide of the remedies that are asked for, None if none needs one."""
    if not any(methods.GUIDE in methods.find(name).needs for name in settings.remedies):
        return None
    return guide_of(vars(settings), channels=real.train.channels, device=settings.device)


def training_images(
    real: Splits, generated: ImageSet, train_images: int, seed: int
) -> tuple[dict[str, ImageSet], ImageSet]:
    """Return the images of either source that a seed trains on, and generated ones kept back.

    Up to ``train_images`` (0: all) real ones, and as many generated ones or four fifths of them,
    whichever is less.
    """
    count = min(len(real.train), train_images or len(real.train))
    fewer = min(count, len(generated) * 4 // 5)
    chosen, rest = draw(generated, fewer, seed, "train", GENERATED)
    sets = {
        REAL: real.train.subset(draw(real.train, count, seed, "train", REAL)[0]),
        GENERATED: generated.subset(chosen),
    }
    return sets, generated.subset(rest[: len(real.test)])


def learn(
    real: Splits, generated: ImageSet, settings: AuditSettings, *, seeds: Iterable[int],
    guide: Guide | None = None,
) -> Lessons:  # fmt: skip
    """Train on each source, on both mixed and by each remedy; test on images not trained on.

    The images of a seed are those of `training_images`, and its initial weights are the same in
    all trainings. Each has as many updates as the recipe's epochs over the real images have.
    Remedies that need no real images have the generated ones only. ``guide`` is that of
    `guide_for`.
    """
    from synthbook.measure.gap import loss_profile, non_mutual_gap
    from synthbook.recognize.methods.task import updates_of
    from synthbook.recognize.predict import accuracy, sample_losses

    network, device = settings.network, settings.device
    options = network.reading(device)
    sources = {REAL: REAL, GENERATED: GENERATED}
    for name in (AUG, *settings.remedies):
        sources[name] = BOTH if methods.REAL in methods.find(name).needs else GENERATED
    sample = some(generated, settings.most_images, "losses")
    unseen = some(real.test, settings.most_images, "losses")
    judged = {"": (REAL, sample), FLOOR: (REAL, unseen), "_back": (GENERATED, unseen)}
    accuracies: dict[tuple[str, str], list[float]] = {}
    values: dict[str, list[float]] = {}
    losses: dict[str, list[np.ndarray]] = {suffix: [] for suffix in judged}
    for seed in seeds:
        sets, kept_back = training_images(real, generated, settings.train_images, seed)
        updates, models = updates_of(sets[REAL], settings.recipe), {}
        for name, source in sources.items():
            method = "plain" if name in (REAL, GENERATED) else name
            model, _ = remedy(
                network, method, updates=updates, seed=derive(seed, "audit"), device=device,
                real=None if source == GENERATED else sets[REAL],
                synthetic=None if source == REAL else sets[GENERATED],
                guide=guide, **numbers_of(method, {"lambda_3": settings.lambda_3}),
            )  # fmt: skip
            models[name] = model
            for test, images in {REAL: real.test, GENERATED: kept_back}.items():
                accuracies.setdefault((name, test), []).append(accuracy(model, images, **options))
        latest = {pair: numbers[-1] for pair, numbers in accuracies.items()}
        for name, value in non_mutual_gap(latest, GENERATED).items():
            values.setdefault(name, []).append(value)
        for suffix, (train, images) in judged.items():
            losses[suffix].append(sample_losses(models[train], images, **options))
            profile = loss_profile(losses[suffix][-1])
            for kind in ("near_zero", "high"):
                values.setdefault(f"{kind}_loss{suffix}", []).append(profile[kind])
    return Lessons(
        {pair: tuple(numbers) for pair, numbers in accuracies.items()},
        sources,
        {name: tuple(numbers) for name, numbers in values.items()},
        {name: len(images) for name, images in sets.items()},
        updates,
        sample,
        *(np.mean(arrays, axis=0) for arrays in losses.values()),
    )
