"""Which way of training on both helps: the remedies of the book, tried on the images at hand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from synthbook.data import ImageSet, Splits
from synthbook.intervals import Difference, paired
from synthbook.randomness import derive
from synthbook.recognize import methods
from synthbook.studies.audit import measures
from synthbook.studies.audit.images import AuditSettings
from synthbook.studies.audit.measures import BOTH, GENERATED
from synthbook.studies.gap import REAL
from synthbook.studies.remedies import guide_of, numbers_of, remedy

if TYPE_CHECKING:
    from synthbook.recognize.methods.guide import Guide

AUG = "Aug"  # both sets mixed: what every other remedy has to beat
VERDICTS = {1: "helps", -1: "does not help", 0: "undecided"}


@dataclass(frozen=True)
class Remedies:
    """Accuracy in percent on unseen real images, one a seed, by the way of training.

    These are real images alone (`REAL`), generated ones alone (`GENERATED`), then each remedy;
    ``trained`` says on what. All had ``updates`` optimiser steps, rounded to whole epochs.
    """

    accuracy: Mapping[str, tuple[float, ...]]
    trained: Mapping[str, str]
    updates: int


class Effect(NamedTuple):
    """What a training is worth, in points of accuracy: less real images alone, and less `AUG`."""

    name: str
    against_real: Difference
    against_aug: Difference

    @property
    def verdict(self) -> str:
        """Whether it helps beside real images alone, by the side of zero of the interval."""
        return VERDICTS[self.against_real.sign]


def effects(accuracy: Mapping[str, tuple[float, ...]]) -> list[Effect]:
    """Return the effect of every training but the one on real images alone, seed by seed."""
    return [
        Effect(name, paired(numbers, accuracy[REAL]), paired(numbers, accuracy[AUG]))
        for name, numbers in accuracy.items()
        if name != REAL
    ]


def guide_for(settings: AuditSettings, real: Splits) -> Guide | None:
    """Return the frozen guide of the remedies that are asked for, None if none needs one."""
    if not any(methods.GUIDE in methods.find(name).needs for name in settings.remedies):
        return None
    return guide_of(vars(settings), channels=real.train.channels, device=settings.device)


def try_remedies(
    real: Splits, generated: ImageSet, settings: AuditSettings, lessons: measures.Lessons, *,
    seeds: Iterable[int], guide: Guide | None = None,
) -> Remedies:  # fmt: skip
    """Train by `AUG` and by every remedy of the settings, as `usefulness` did with plain training.

    The images and initial weights of a seed are the same as there, and each training has as many
    updates as the one on real images alone. That one is not repeated, nor that on generated images
    alone where it had as many. Remedies that need no real images have the generated ones only.
    ``lessons`` are what `usefulness` found with the same arguments, ``guide`` is `guide_for` them.
    """
    from synthbook.recognize.methods.task import updates_of
    from synthbook.recognize.predict import accuracy

    network, device = settings.network, settings.device
    trained = {REAL: REAL, GENERATED: GENERATED}
    for name in (AUG, *settings.remedies):
        trained[name] = BOTH if methods.REAL in methods.find(name).needs else GENERATED
    accuracies: dict[str, list[float]] = {name: [] for name in trained}
    plain = lessons.accuracy[REAL, REAL], lessons.accuracy[GENERATED, REAL]
    for seed, alone, replaced in zip(seeds, *plain, strict=True):
        sets, _ = measures.training_images(real, generated, settings.train_images, seed)
        updates = updates_of(sets[REAL], settings.recipe)
        known = {REAL: alone}
        if updates_of(sets[GENERATED], settings.recipe) == updates:
            known[GENERATED] = replaced
        for name, source in trained.items():
            if name not in known:
                method = "plain" if name == GENERATED else name
                model, _ = remedy(
                    network, method, updates=updates, seed=derive(seed, "audit"), device=device,
                    real=sets[REAL] if source == BOTH else None, synthetic=sets[GENERATED],
                    guide=guide, **numbers_of(method, {"lambda_3": settings.lambda_3}),
                )  # fmt: skip
                known[name] = accuracy(model, real.test, **network.reading(device))
            accuracies[name].append(known[name])
    found = {name: tuple(numbers) for name, numbers in accuracies.items()}
    return Remedies(found, trained, updates)
