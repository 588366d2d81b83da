"""Which way of training on both helps: the remedies of the book, tried on the images at hand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from synthbook.data import ImageSet, Splits
from synthbook.studies.audit.findings import Difference, paired
from synthbook.studies.audit.lessons import (
    BOTH,
    GENERATED,
    REAL,
    Lessons,
    training_images,
    training_seed,
)

if TYPE_CHECKING:
    from synthbook.recognize.methods.guide import Guide

AUG = "Aug"  # both sets mixed: what every other remedy has to beat
VERDICTS = {1: "helps", -1: "does not help", 0: "undecided"}


@dataclass(frozen=True)
class Remedies:
    """What `try_remedies` found.

    ``accuracy`` is in percent on unseen real images, one a seed: of training on real images alone
    (`REAL`), on generated ones alone (`GENERATED`), then of each remedy by its name; ``trained``
    says on what. All had ``updates`` optimiser steps, rounded to whole epochs.
    """

    accuracy: Mapping[str, tuple[float, ...]]
    trained: Mapping[str, str]
    updates: int

    def rows(self, seeds: Iterable[int]) -> Iterable[dict[str, Any]]:
        """Yield the numbers as keywords of ``study.Run.add``, but for data set and backbone."""
        seeds = tuple(seeds)
        for name, numbers in self.accuracy.items():
            method = "plain" if name in (REAL, GENERATED) else name
            for seed, value in zip(seeds, numbers, strict=True):
                yield {"method": method, "train": self.trained[name], "test": REAL,
                       "metric": "top1_accuracy", "value": value, "seed": seed,
                       "part": "remedies"}  # fmt: skip


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


def asked(p: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the remedies to try: `AUG`, then those of ``p["remedies"]``; () without these."""
    chosen = p.get("remedies", ())
    return tuple(dict.fromkeys((AUG, *chosen))) if chosen else ()


def guide_for(p: Mapping[str, Any], real: Splits, *, device: str = "cpu") -> Guide | None:
    """Return the frozen guide of the remedies that are asked for, None if none needs one.

    Raises:
        InputError: for an unknown remedy or guide, missing weights, or a size it cannot take.
    """
    from synthbook.recognize.methods import GUIDE, find
    from synthbook.studies.remedies import guide_of

    if not any(GUIDE in find(name).needs for name in asked(p)):
        return None
    return guide_of(p, channels=real.train.channels, device=device)


def try_remedies(
    real: Splits,
    generated: ImageSet,
    p: Mapping[str, Any],
    lessons: Lessons,
    *,
    seeds: Iterable[int],
    guide: Guide | None = None,
    device: str = "cpu",
) -> Remedies:
    """Train by every remedy on the images, and from the weights, of `usefulness`.

    Each training has as many updates as the one on real images alone. That one is not repeated,
    nor that on generated images alone where it had as many. Remedies that need no real images
    have the generated ones only.

    Args:
        real, generated, p: as for `usefulness`; ``p["remedies"]`` names the remedies besides
            `AUG`, the fields of ``recognize.adaptation.Settings`` are read where there are any.
        lessons: what `usefulness` found with them.
        seeds: those of ``lessons``.
        guide: `guide_for` these parameters.
        device: where to train.

    Raises:
        InputError: for an unknown remedy, or one that needs a guide and has none.
        TrainingError: if a loss is not finite.
    """
    from synthbook.recognize.predict import accuracy
    from synthbook.studies.remedies import remedy, updates_of
    from synthbook.studies.training_sets import classifier_recipe

    recipe = classifier_recipe(p)
    trained = {REAL: REAL, GENERATED: GENERATED, **{name: _trained_on(name) for name in asked(p)}}
    found: dict[str, list[float]] = {name: [] for name in trained}
    for seed, alone, replaced in zip(
        seeds, lessons.accuracy[REAL, REAL], lessons.accuracy[GENERATED, REAL], strict=True
    ):
        sets, _ = training_images(real, generated, p, seed)
        updates = updates_of(sets[REAL], recipe)
        known = {REAL: alone}
        if updates_of(sets[GENERATED], recipe) == updates:
            known[GENERATED] = replaced
        for name, source in trained.items():
            if name not in known:
                model, _ = remedy(
                    p,
                    "plain" if name == GENERATED else name,
                    updates=updates,
                    seed=training_seed(seed),
                    real=sets[REAL] if source == BOTH else None,
                    synthetic=sets[GENERATED],
                    guide=guide,
                    device=device,
                )
                known[name] = accuracy(
                    model, real.test, device=device, input_size=p.get("input_size", 0)
                )
            found[name].append(known[name])
    return Remedies({name: tuple(numbers) for name, numbers in found.items()}, trained, updates)


def _trained_on(name: str) -> str:
    """Return the source that a remedy is trained on: both, or generated images if it may."""
    from synthbook.recognize.methods import REAL as NEEDS_REAL
    from synthbook.recognize.methods import find

    return BOTH if NEEDS_REAL in find(name).needs else GENERATED
