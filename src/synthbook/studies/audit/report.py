"""All numbers of an audit in one report."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from synthbook.data import ImageSet, Splits
from synthbook.data.loading import same_classes
from synthbook.studies.audit import measures
from synthbook.studies.audit.images import AuditSettings, Pool, load_generated
from synthbook.studies.audit.measures import FLOOR, GENERATED
from synthbook.studies.audit.remedies import Remedies, guide_for, try_remedies
from synthbook.studies.gap import REAL


@dataclass(frozen=True)
class Report:
    """What an audit finds: one field a measure, and the remedies if any was tried.

    ``identity`` is what its rows have in common: data set, backbone, generator and extractor;
    ``pool`` are the generated images.
    """

    seeds: tuple[int, ...]
    nearness: Mapping[str, tuple[float, ...]]
    copies: measures.Copies
    lessons: measures.Lessons
    remedies: Remedies | None
    identity: Mapping[str, str]
    pool: Pool

    @property
    def values(self) -> dict[str, tuple[float, ...]]:
        """All measures that have one number a seed."""
        return {**self.nearness, **self.lessons.values}

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield the numbers as keywords of a row.

        In rows of the method "audit", ``train`` is the source of the images that are measured.
        Counts of copies are made once and stand at the first seed.
        """
        accuracy = "top1_accuracy"
        for (train, test), values in self.lessons.accuracy.items():
            yield from self._rows("plain", train, test, accuracy, values)
        for name, values in self.values.items():
            source = REAL if name.endswith(FLOOR) else GENERATED
            yield from self._rows("audit", source, REAL, name.removesuffix(FLOOR), values)
        for name, value in self.copies.values.items():
            yield from self._rows("audit", GENERATED, REAL, name, [float(value)])
        if self.remedies:
            for name, values in self.remedies.accuracy.items():
                method = "plain" if name in (REAL, GENERATED) else name
                train = self.remedies.trained[name]
                yield from self._rows(method, train, REAL, accuracy, values, part="remedies")

    def _rows(
        self, method: str, train: str, test: str, metric: str, values: Iterable[float],
        **setting: str,
    ) -> Iterator[dict[str, Any]]:  # fmt: skip
        for seed, value in zip(self.seeds, values, strict=False):
            yield {"method": method, "train": train, "test": test, "metric": metric,
                   "value": value, "seed": seed, **self.identity, **setting}  # fmt: skip


def audit(
    real: Splits, generated: str | ImageSet, settings: AuditSettings, *,
    progress: Callable[[Iterable[int], str], Iterable[int]] = lambda seeds, _: seeds,
) -> Report:  # fmt: skip
    """Return the report on generated images: what the chapter does, in one call.

    ``generated`` is a generator's name or a path, as for `load_generated`; or images of the size
    and the classes of the real ones. ``progress`` wraps the seeds of a loop, given its label.

    Raises:
        InputError: for images, remedies or a guide that do not fit.
    """
    from synthbook.measure.features import extractor

    guide = guide_for(settings, real)  # before anything is trained: its weights may be missing
    if isinstance(generated, ImageSet):
        same_classes(real.classes, generated.classes)
        name, pool = generated.name, Pool(*[generated.of_classes(real.classes)] * 2)
    else:
        name, pool = generated, load_generated(generated, real, settings)
    network, seeds = extractor(settings.extractor, settings.device), settings.seeds
    options = {"extractor": network, "most_images": settings.most_images}
    nearness = measures.nearness(
        real, pool.everything, seeds=progress(seeds, "distances"),
        neighbours=settings.neighbours, **options,
    )  # fmt: skip
    copies = measures.memorisation(real, pool.everything, **options)
    both = real, pool.labelled, settings
    lessons = measures.usefulness(*both, seeds=progress(seeds, "lessons"))
    remedies = None
    if settings.remedies:
        remedies = try_remedies(*both, lessons, seeds=progress(seeds, "remedies"), guide=guide)
    identity = {"dataset": real.name, "backbone": settings.backbone, "generator": name,
                "extractor": network.name}  # fmt: skip
    return Report(seeds, nearness, copies, lessons, remedies, identity, pool)
