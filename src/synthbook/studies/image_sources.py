"""The sources of images of a chapter: what it asks of them beforehand, and what it will train.

A check reads no pixels and imports no torch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from synthbook.data import Summary, check
from synthbook.errors import InputError
from synthbook.generate import own
from synthbook.generate.recipes import RECIPE_OF, check_patches
from synthbook.machine import check_memory
from synthbook.settings import source_paths
from synthbook.studies import fit, needs
from synthbook.studies.rows import REAL

UNFILTERED, GUIDED, SAME_IMAGES = "unfiltered", "guided", "same_images"  # controls
FILTERED_REAL = "filtered_real"  # a control that trains nothing of its own
GUIDED_UNFILTERED = "guided_unfiltered"  # a method: guided, and no filter
SCALES = (1.0, 2.0, 4.0, 7.5)  # of guidance, of that control
FOLDS = 5  # of the cross-validation that measures appearance


def sources_of(p: Mapping[str, Any]) -> list[str]:
    """Return the names of a chapter's sources of images."""
    return list(source_paths(p["sources"]))


def families_of(p: Mapping[str, Any]) -> list[str]:
    """Return the names of its sources of generated images."""
    return [source for source in sources_of(p) if source != REAL]


# -- What a chapter asks of its parameters ------------------------------------------------------


def check_data(p: Mapping[str, Any]) -> Summary:
    """Return what the data are, the reader's own sources of images, and the models of the book's.

    Where ``p["minutes"]`` trains models, none needs to be there.
    """
    summary = check(p["data"], data_root=p["data_root"], image_size=p["image_size"])
    labelled = "confidence" not in p  # where nothing is filtered, no classifier gives labels
    lines = [
        own.check(name, path, summary.classes, *_needed(p, summary), labelled=labelled)
        for name, path in source_paths(p["sources"]).items()
        if path
    ]
    if "backbone" in p:
        needs.check_classifiers(p, summary)
    _check_sets(p, summary)
    if not p.get("minutes"):
        kept = needs.check_kept(trained_here(p), numbers_of(p), p, summary)
        lines += [f"{family}: {models}" for family, models in kept.items()]
    if said := fit.told(p, training_images(p, summary)):
        lines.append(said)
    return replace(summary, sources=tuple(lines))


def _check_sets(p: Mapping[str, Any], summary: Summary) -> None:
    """Raise InputError if sets are too small for the classes, or too large for the memory."""
    count, side = training_images(p, summary), p["image_size"] or summary.side
    if count < summary.num_classes:
        raise InputError(
            f"set_size = {count} and '{summary.name}' has {summary.num_classes} classes; give an "
            f"image for each, {summary.num_classes} at least, or 0 for all"
        )
    one, more = side**2 * summary.channels, made_for_each(p)
    held = 2 * sum(summary.counts.values()) + round(len(families_of(p)) * more * count)
    check_memory(
        held * one,
        f"the images of '{summary.name}' and of {len(families_of(p))} generators at {side} pixels",
        "give a smaller image_size or set_size" + (" or synthetic_ratio" if more > 1 else ""),
    )


def _needed(p: Mapping[str, Any], summary: Summary) -> tuple[int, str, Callable[[int], str]]:
    """Return how many images a source of the reader's own must have, why, and how to need fewer."""
    count = training_images(p, summary)
    if "confidence" not in p:  # in chapter 11 nothing is trained on them, nor filtered
        return min(count, p["measured"]), "", lambda held: f"give -p measured={held}"
    more = made_for_each(p)
    why = f" ({count:,} to train on, as of real ones, and half as many held out)"
    if more > 1:
        why = f" ({more:g} for each of {count:,} real ones, and half as many as these held out)"

    def fewer(held: int) -> str:
        most = (2 * held + 1) // 3
        if more > 1:
            if (ratio := (held - count // 2) / count) >= 1:
                highest = f"{math.floor(100 * ratio) / 100:g}"
                return f"give -p synthetic_ratio={highest} or less, since the filter drops some"
            most = int(held / (more + 0.5))
        if most < max(10, summary.num_classes):
            return "leave it out of sources"
        return f"give -p set_size={most} or less, since the filter drops some"

    return math.ceil(more * count - 1e-9) + count // 2, why, fewer


def training_images(p: Mapping[str, Any], summary: Summary) -> int:
    """Return how many images a source trains on."""
    count = sum(n for split, n in summary.counts.items() if "train" in split)
    return min(count, p.get("set_size") or count)


def made_for_each(p: Mapping[str, Any]) -> float:
    """Return how many training images a source of generated ones has for each real one.

    It is 1, and more in chapter 16 where more are asked for and the real ones are not few: all
    images that the generator knows.
    """
    return max(1.0, p.get("synthetic_ratio", 1.0)) if p.get("shots", 1) == 0 else 1.0


def check_sources(p: Mapping[str, Any]) -> Summary:
    """Return what the data are; real images and a generator are asked for.

    For the control "filtered_real" real ones are enough.
    """
    alone = FILTERED_REAL in p.get("controls", ())
    if REAL not in p["sources"] or not (families_of(p) or alone):
        raise InputError(
            f"sources = {list(p['sources'])}; give real and a generator, as in real,gan"
        )
    if GUIDED in p.get("controls", ()) and not guided_families(p):
        raise InputError(
            f"controls holds '{GUIDED}', which guides the book's diffusion model, and sources = "
            f"{list(p['sources'])} has none; add diffusion, or leave it out of controls"
        )
    return check_data(p)


def check_generators(p: Mapping[str, Any]) -> Summary:
    """Return what the data are; two samples of test images have ``neighbours`` each.

    So have the samples of ``measured`` training images: chapter 11 compares halves of them.
    """
    summary = check_sources(p)
    count, least = summary.counts["test"], 2 * max(FOLDS, p["neighbours"] + 1)
    if count < least:
        raise InputError(
            f"{count} test images are too few to measure in two halves, the images to compare with"
            f" and their control, with neighbours = {p['neighbours']}; give {least} at least"
        )
    halves, least = ("halves of ", p["neighbours"] + 1) if "extractor" in p else ("", least // 2)
    held, needed = min(training_images(p, summary), p["measured"]), least * (1 + bool(halves))
    if held < needed and "costs" in p.get("parts", ("costs",)):
        raise InputError(
            f"measured = {p['measured']}: {halves}{held} images are too few to compare with "
            f"neighbours = {p['neighbours']}; {needed} would do, or fewer neighbours"
        )
    if "extractor" in p:
        needs.check_extractor(p)
    side = p["image_size"] or summary.side
    if side and p.get("minutes") and "diffusion" in trained_here(p):
        check_patches(p["recipe"], side)
    return summary


def check_what_an_image_teaches(p: Mapping[str, Any]) -> Summary:
    """Return what the data are; each source has ``shots`` images a class and a generator."""
    summary = check_generators(p)
    count = check_shots(p, summary, shots=p["shots"])
    check_share(p, count // summary.num_classes)
    if SAME_IMAGES in p["controls"] and "adding" in p["parts"]:
        needs.check_kept_of_few(trained_here(p), p, summary)
    return summary


def check_share(p: Mapping[str, Any], each: int) -> None:
    """Raise InputError if a share of ``each`` images a class is to be left out, and is none."""
    if "adding" in p["parts"] and int(p["share"] * each + 1e-9) < 1:
        raise InputError(
            f"share = {p['share']:g} of {each} images a class is no image; give a larger share or "
            "set_size"
        )


def check_shots(p: Mapping[str, Any], summary: Summary, **shots: int) -> int:
    """Check numbers of images a class, by parameter; return how many images a source trains on."""
    count = training_images(p, summary)
    most = max(1, count // summary.num_classes)
    for name, number in shots.items():
        if number > most:
            raise InputError(
                f"{name} = {number} of some {most} images a class; give from 1 to {most}"
            )
    return count


# -- What it will train -------------------------------------------------------------------------


@dataclass(frozen=True)
class Plan:
    """What a run trains if nothing of it is kept: the classifiers of each seed, and models.

    ``classifiers`` are named by what they are trained on, ``models`` by their family; these take
    ``minutes`` of training each at most.
    """

    classifiers: tuple[str, ...]
    seeds: int
    models: tuple[str, ...] = ()
    minutes: float = 0.0

    def __str__(self) -> str:
        """Return the plan as one line."""
        names = ", ".join(name.replace("_", " ") for name in self.classifiers)
        count = len(self.classifiers)
        classifiers, seeds = "classifier" + "s" * (count > 1), "seed" + "s" * (self.seeds > 1)
        parts = [f"{count} {classifiers} x {self.seeds} {seeds} ({names})"]
        parts += [f"a {name}, {self.minutes:g} minutes of training at most" for name in self.models]
        measuring = ", and the measuring beside" if self.models else ""
        return f"To train, unless it is kept from before: {'; '.join(parts)}{measuring}."


def trained_here(p: Mapping[str, Any]) -> list[str]:
    """Return the sources of generated images that are models of the book's two families."""
    return [name for name, path in source_paths(p["sources"]).items() if name != REAL and not path]


def guided_families(p: Mapping[str, Any]) -> list[str]:
    """Return the families that the control "guided" is about; [] if it is not asked for."""
    asked = GUIDED in p.get("controls", ())
    return [family for family in trained_here(p) if family == "diffusion" and asked]


def numbers_of(p: Mapping[str, Any]) -> list[int]:
    """Return the numbers of the models that the seeds of a run use."""
    first = p.get("first_seed", 0)
    seeds = range(first, first + p.get("seeds", 1))
    return sorted({seed % p.get("generators", 1) for seed in seeds})


def plan_generators(p: Mapping[str, Any]) -> Plan:
    """Return what chapter 11 trains."""
    if not p["minutes"]:
        return Plan((REAL,), p["seeds"])
    side = p["image_size"] or check(p["data"], data_root=p["data_root"], image_size=0).side
    models = [
        f"{family} model (number {number}{_channels(family, p['recipe'], side)})"
        for family in trained_here(p)
        for number in numbers_of(p)
    ]
    return Plan((REAL,), p["seeds"], tuple(models), p["minutes"])


def _channels(family: str, recipe: str, side: int) -> str:
    """Return how wide a model of images of a ``side`` is, "" where that is not known."""
    if not side:
        return ""
    return f", {str(RECIPE_OF[family](recipe, side).channels).strip('(),')} channels"


def plan_of_sources(p: Mapping[str, Any]) -> Plan:
    """Return what chapters 12 and 13 train: a classifier of each source, and of the controls."""
    return _plan(p, sources_of(p) + _controls(p))


def plan_what_an_image_teaches(p: Mapping[str, Any]) -> Plan:
    """Return what chapter 14 trains."""
    families = families_of(p)
    names = [REAL, *families, *(_controls(p) if "costs" in p["parts"] else ())]
    if "adding" not in p["parts"]:
        return _plan(p, names)
    names += ["real_few"]
    for family in families:
        names += [f"real+{part}{family}" for part in ("low_loss_", "high_loss_", "")]
        names += [f"real_few+{family}"]
    names += ["real_without_rare", "real_without_random"]
    if SAME_IMAGES in p["controls"]:
        of_few = [f"{family} of few images" for family in trained_here(p)]
        names += [f"{start}{name}" for name in of_few for start in ("real_few+", "")]
    return _plan(p, names)


def _plan(p: Mapping[str, Any], classifiers: Iterable[str]) -> Plan:
    judge = ["filter"] if families_of(p) or FILTERED_REAL in p.get("controls", ()) else []
    return Plan((*judge, *classifiers), p["seeds"])


def _controls(p: Mapping[str, Any]) -> list[str]:
    asked = UNFILTERED in p.get("controls", ())
    names = [f"{family} {UNFILTERED}" for family in families_of(p)] if asked else []
    for family, scale in product(guided_families(p), SCALES):
        names += [f"{family} {method} {scale:g}" for method in (GUIDED, GUIDED_UNFILTERED)]
    return names
