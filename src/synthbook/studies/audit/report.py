"""All numbers of an audit in one report."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from synthbook.data import ImageSet, Splits
from synthbook.data.loading import same_classes
from synthbook.errors import InputError
from synthbook.studies.audit import measures
from synthbook.studies.audit.comparisons import Comparison, compare
from synthbook.studies.audit.images import (
    FAMILIES,
    AuditSettings,
    Pool,
    fitted,
    is_drawn,
    load_generated,
    load_real,
    named_settings,
    skippable,
)
from synthbook.studies.audit.lessons import AUG, Lessons, guide_for, learn
from synthbook.studies.audit.measures import FLOOR, GENERATED
from synthbook.studies.fit import is_own
from synthbook.studies.rows import REAL

UNSEEN = ("recall", "coverage", "precision", "appearance", "near_zero_loss", "high_loss")


@dataclass(frozen=True)
class Report:
    """What an audit finds: one field a measure, and the images and settings it was made with.

    ``identity`` is what its rows have in common: data set, backbone, generator and extractor;
    ``drawn`` says whether the test images were drawn from images that a generator from outside
    may have been trained on.
    """

    settings: AuditSettings
    nearness: Mapping[str, tuple[float, ...]]
    copies: measures.Copies
    lessons: Lessons
    identity: Mapping[str, str]
    real: Splits
    pool: Pool
    drawn: bool = False

    @property
    def skipped(self) -> tuple[str, ...]:
        """The files that could not be decoded and were left out, real ones first."""
        return self.real.skipped + self.pool.skipped

    @property
    def values(self) -> dict[str, tuple[float, ...]]:
        """All measures that have one number a seed."""
        return {**self.nearness, **self.lessons.values}

    @cached_property
    def comparisons(self) -> dict[str, Comparison]:
        """All differences over seeds of which the advice speaks, decided together.

        They are generated less unseen real images, by measure; "missing", how much more recall
        falls short of that than precision; "asymmetry"; and in points of accuracy, (training,
        `REAL`) and (remedy on both sets, `AUG`): the first less the second.
        """
        values, right = self.values, self.lessons.accuracy
        pairs = {name: (values[name], values[name + FLOOR]) for name in UNSEEN}
        (recall, all_recall), (precision, all_precision) = pairs["recall"], pairs["precision"]
        short = [a - b for a, b in zip(all_recall, recall, strict=True)]
        poor = [a - b for a, b in zip(all_precision, precision, strict=True)]
        pairs["missing"] = short, poor
        trainings = [*self.lessons.on_generated, *self.lessons.on_both]
        accuracies = {(name, REAL) for name in trainings}
        accuracies |= {(name, AUG) for name in self.lessons.on_both if name != AUG}
        pairs |= {(name, other): (right[name, REAL], right[other, REAL])
                  for name, other in sorted(accuracies)}  # fmt: skip
        differences = {name: [a - b for a, b in zip(own, other, strict=True)]
                       for name, (own, other) in pairs.items()}  # fmt: skip
        differences["asymmetry"] = values["asymmetry"]
        return compare(differences, {*accuracies, "asymmetry"})

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield the numbers as keywords of a row.

        In rows of the method "audit", ``train`` is the source of the images that are measured.
        Counts of copies are made once and stand at the first seed.
        """
        for (name, test), values in self.lessons.accuracy.items():
            method = "plain" if name in (REAL, GENERATED) else name
            yield from self._rows(method, self.lessons.sources[name], test, "top1_accuracy", values)
        for name, values in self.values.items():
            source = REAL if name.endswith(FLOOR) else GENERATED
            yield from self._rows("audit", source, REAL, name.removesuffix(FLOOR), values)
        for name, value in self.copies.values.items():
            yield from self._rows("audit", GENERATED, REAL, name, [float(value)])

    def _rows(
        self, method: str, train: str, test: str, metric: str, values: Iterable[float]
    ) -> Iterator[dict[str, Any]]:
        for seed, value in zip(self.settings.seeds, values, strict=False):
            yield {"method": method, "train": train, "test": test, "metric": metric,
                   "value": value, "seed": seed, **self.identity}  # fmt: skip


def audit(
    real: str | Splits, generated: str | ImageSet, settings: AuditSettings | None = None, *,
    progress: Callable[[Iterable[int], str], Iterable[int]] = lambda seeds, _: seeds,
    **parameters: Any,
) -> Report:  # fmt: skip
    """Return the report on generated images: what the chapter does, in one call.

        report = audit("my_photos", "my_samples", image_size=32)
        print(advise(report))

    ``real`` is a data set's name, a folder of class folders or an .npz, ``generated`` another
    folder or .npz, or a generator's name as for `load_generated`; or either are images in memory,
    of one size and with the same classes. ``parameters`` are the chapter's, by name, where they
    differ from its defaults; or give all of them as ``settings``. ``epochs``, where neither gives
    them, fit the number of images at a path, as in `synthbook run`. ``progress`` wraps the seeds
    of a loop, given its label.

    Raises:
        InputError: for images, parameters, remedies or a guide that do not fit.
    """
    from synthbook.measure.features import extractor

    if settings and parameters:
        raise InputError(f"settings and {', '.join(parameters)} are given; put these into settings")
    by_book = isinstance(generated, str) and generated in FAMILIES
    fits = isinstance(real, str) and is_own(real) and not settings and "epochs" not in parameters
    settings = settings or named_settings(parameters)
    drawn = isinstance(real, str) and not (by_book or settings.test) and is_drawn(real)
    named = real if isinstance(real, str) else ""
    if isinstance(real, str):
        with skippable(settings.skip_unreadable):
            real = load_real(real, settings, by_book=by_book)
    if fits:
        settings = fitted(settings, len(real.train))
    guide = guide_for(settings, real)  # before anything is trained: its weights may be missing
    if isinstance(generated, ImageSet):
        same_classes(real.classes, generated.classes)
        name, pool = generated.name, Pool(*[generated.of_classes(real.classes)] * 2)
    else:
        with skippable(settings.skip_unreadable):
            name, pool = generated, load_generated(generated, real, settings, named=named)
    network, seeds = extractor(settings.extractor, settings.device), settings.seeds
    options = {"extractor": network, "most_images": settings.most_images}
    nearness = measures.nearness(
        real, pool.everything, seeds=progress(seeds, "distances"),
        neighbours=settings.neighbours, **options,
    )  # fmt: skip
    copies = measures.memorisation(real, pool.everything, **options)
    lessons = learn(real, pool.labelled, settings, seeds=progress(seeds, "trainings"), guide=guide)
    identity = {"dataset": real.name, "backbone": settings.backbone, "generator": name,
                "extractor": network.name}  # fmt: skip
    return Report(settings, nearness, copies, lessons, identity, real, pool, drawn)
