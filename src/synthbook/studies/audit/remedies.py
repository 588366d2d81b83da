"""Which way of training on both helps: the remedies of the book, tried on the images at hand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from synthbook.data import ImageSet, Splits
from synthbook.intervals import Difference, paired
from synthbook.randomness import derive
from synthbook.studies.audit import measures
from synthbook.studies.audit.images import AuditSettings, fresh_classifier
from synthbook.studies.audit.measures import BOTH, GENERATED, REAL

if TYPE_CHECKING:
    from synthbook.recognize.methods.guide import Guide
    from synthbook.recognize.models import Classifier

AUG = "Aug"  # both sets mixed: what every other remedy has to beat
VERDICTS = {1: "helps", -1: "does not help", 0: "undecided"}


@dataclass(frozen=True)
class Remedies:
    """What `try_remedies` finds.

    ``accuracy`` is in percent on unseen real images, one a seed: of training on real images alone
    (`REAL`), on generated ones alone (`GENERATED`), then of each remedy by its name; ``trained``
    says on what. All had ``updates`` optimiser steps, rounded to whole epochs.
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
    """Return the frozen guide of the remedies that are asked for, None if none needs one.

    Raises:
        InputError: for an unknown remedy or guide, missing weights, or a size it cannot take.
    """
    from synthbook.recognize.methods import GUIDE, find
    from synthbook.recognize.methods.guide import create_guide

    if not any(GUIDE in find(name).needs for name in settings.remedies):
        return None
    return create_guide(
        settings.guide_backbone, channels=real.train.channels, device=settings.device,
        input_size=settings.guide_input_size,
    )  # fmt: skip


def train_by_remedy(
    name: str, settings: AuditSettings, *, real: ImageSet | None, generated: ImageSet,
    updates: int, seed: int, guide: Guide | None = None,
) -> Classifier:  # fmt: skip
    """Return a classifier trained by a method of ``METHODS`` in so many updates."""
    from synthbook.recognize.methods import keywords_of, train_by
    from synthbook.recognize.methods.task import Task

    model = fresh_classifier(settings, generated, seed)
    task = Task(
        recipe=settings.recipe, updates=updates, seed=seed, real=real, synthetic=generated,
        guide=guide, device=settings.device, precision=settings.precision,
    )  # fmt: skip
    numbers = {"lambda_3": settings.lambda_3} if "lambda_3" in keywords_of(name) else {}
    train_by(name, model, task, **numbers)
    return model


def try_remedies(
    real: Splits, generated: ImageSet, settings: AuditSettings, lessons: measures.Lessons, *,
    seeds: Iterable[int], guide: Guide | None = None,
) -> Remedies:  # fmt: skip
    """Train by `AUG` and by every remedy of the settings, as `usefulness` did with plain training.

    The images and initial weights of a seed are the same as there, and each training has as many
    updates as the one on real images alone. That one is not repeated, nor that on generated images
    alone where it had as many. Remedies that need no real images have the generated ones only.
    ``lessons`` are what `usefulness` found with the same arguments, ``guide`` is `guide_for` them.

    Raises:
        InputError: for an unknown remedy, or one that needs a guide and has none.
    """
    from synthbook.recognize.methods import REAL as NEEDS_REAL
    from synthbook.recognize.methods import find
    from synthbook.recognize.methods.task import updates_of
    from synthbook.recognize.predict import accuracy

    trained = {REAL: REAL, GENERATED: GENERATED}
    for name in (AUG, *settings.remedies):
        trained[name] = BOTH if NEEDS_REAL in find(name).needs else GENERATED
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
                model = train_by_remedy(
                    "plain" if name == GENERATED else name, settings, updates=updates,
                    seed=derive(seed, "audit"), real=sets[REAL] if source == BOTH else None,
                    generated=sets[GENERATED], guide=guide,
                )  # fmt: skip
                options = {"device": settings.device, "input_size": settings.recipe.input_size}
                known[name] = accuracy(model, real.test, **options)
            accuracies[name].append(known[name])
    found = {name: tuple(numbers) for name, numbers in accuracies.items()}
    return Remedies(found, trained, updates)
