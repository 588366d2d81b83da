"""All numbers of an audit in one report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from synthbook.data import ImageSet, Splits
from synthbook.studies.audit.copies import Copies, memorisation
from synthbook.studies.audit.distances import FLOOR, fidelity
from synthbook.studies.audit.images import Pool, same_classes
from synthbook.studies.audit.lessons import GENERATED, REAL, Lessons, usefulness
from synthbook.studies.audit.remedies import Remedies, asked, guide_for, try_remedies


@dataclass(frozen=True)
class Report:
    """All numbers of an audit: ``values`` one a seed, ``copies`` and ``counts`` one each.

    ``remedies`` is None if none was tried.
    """

    values: Mapping[str, tuple[float, ...]]
    accuracy: Mapping[tuple[str, str], tuple[float, ...]]
    copies: Mapping[str, float]
    counts: Mapping[str, int]
    seeds: tuple[int, ...]
    remedies: Remedies | None = None

    def rows(self) -> Iterable[dict[str, Any]]:
        """Yield the numbers as keywords of ``study.Run.add``, but for data set and backbone.

        In rows of the method "audit", ``train`` is the source of the images that are measured.
        """
        for (train, test), numbers in self.accuracy.items():
            for seed, value in zip(self.seeds, numbers, strict=True):
                yield {"method": "plain", "train": train, "test": test,
                       "metric": "top1_accuracy", "value": value, "seed": seed}  # fmt: skip
        for name, numbers in self.values.items():
            source = REAL if name.endswith(FLOOR) else GENERATED
            for seed, value in zip(self.seeds, numbers, strict=True):
                metric = name.removesuffix(FLOOR)
                yield {"method": "audit", "train": source, "test": REAL, "metric": metric,
                       "value": value, "seed": seed}  # fmt: skip
        for name, value in self.copies.items():
            yield {"method": "audit", "train": GENERATED, "test": REAL, "metric": name,
                   "value": float(value), "seed": self.seeds[0]}  # fmt: skip
        if self.remedies:
            yield from self.remedies.rows(self.seeds)


def assemble(
    distances: Mapping[str, tuple[float, ...]], copies: Copies, lessons: Lessons,
    seeds: Iterable[int], remedies: Remedies | None = None,
) -> Report:  # fmt: skip
    """Return one report of all kinds of measures."""
    values = {**distances, **lessons.values}
    return Report(values, lessons.accuracy, copies.values, lessons.counts, tuple(seeds), remedies)


def audit(
    real: Splits,
    generated: Pool | ImageSet,
    p: Mapping[str, Any],
    *,
    seeds: Iterable[int] = (0, 1, 2),
    device: str = "cpu",
) -> Report:
    """Return the report on generated images: what the chapter does, in one call.

    Args:
        real: as `data.load` gives it. ``generated``: at the same size, with the same classes.
        p: ``extractor``, ``neighbours``, ``most_images``, ``train_images`` and the classifier's
            parameters, named as in the chapter; with ``remedies`` these are tried too.
        seeds: one or more; three at least for intervals.
        device: 'cpu', 'cuda' ...
    """
    from synthbook.measure.features import extractor

    if isinstance(generated, ImageSet):
        same_classes(real.classes, generated.classes)
        images = generated.of_classes(real.classes)
        generated = Pool(images, images)
    pool, seeds, network = generated, tuple(seeds), extractor(p["extractor"], device)
    guide, most = guide_for(p, real, device=device), p["most_images"]
    how = {"seeds": seeds, "device": device}
    distances = fidelity(
        real, pool.everything, seeds=seeds, extractor=network, neighbours=p["neighbours"],
        most_images=most,
    )  # fmt: skip
    copies = memorisation(real, pool.everything, extractor=network, most_images=most)
    lessons = usefulness(real, pool.labelled, p, **how)
    remedies = None
    if asked(p):
        remedies = try_remedies(real, pool.labelled, p, lessons, guide=guide, **how)
    return assemble(distances, copies, lessons, seeds, remedies)
