"""Chapter 22: a few photographs of each class, and images that start from them.

He et al., Is synthetic data from generative models ready for image recognition? (ICLR 2023),
Section 3.2: Figure 1 (part ``methods``), Tables 5 (``strategies``), 6 (``norms``) and 7
(``phases``). Their real guidance is called a real start here (`generate.from_images`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
from torch.nn.modules.batchnorm import _BatchNorm

from synthbook.data import ImageSet, Summary
from synthbook.data.deferred import Deferred, deferred
from synthbook.errors import InputError, fault_of
from synthbook.generate.text import check_guidance
from synthbook.measure.fidelity import gaussian, gaussian_distance
from synthbook.randomness import numpy_generator
from synthbook.recognize.adapters import TipRecipe
from synthbook.recognize.clip import Encoded, encoded
from synthbook.recognize.coop import CoopRecipe
from synthbook.recognize.few_shot import Rated, Recipes, Task, compared
from synthbook.recognize.filters import Kept, clip_filter, real_filter
from synthbook.recognize.heads import templates_of
from synthbook.recognize.tuning import Run, TuningRecipe, tune
from synthbook.recognize.unfreezing import tune_live
from synthbook.settings import Whole, from_texts, settings
from synthbook.studies import needs, web
from synthbook.studies.clones_by_name import Images
from synthbook.studies.given import check_model
from synthbook.studies.ready import (
    BASIC,
    ENHANCED,
    NONE,
    REAL,
    SYNTHETIC,
    Target,
    described,
    look_of,
    told_of,
)
from synthbook.studies.rows import Rows

BOTH = f"{REAL}+{SYNTHETIC}"
ZERO, INIT, SYN = "zero-shot", "CT w. init", "CT w. Syn"  # of `few_shot.METHODS`
FILTERED, STARTED = "RF", "RG"  # strategies of Table 5; there B is the zero-shot study's LE+CF
FEWER = "B, fewer"  # a control: as many images of each class as RF keeps, of those of B
LAST = {"top1_accuracy": "last_accuracy", "gain_by_images": "last_gain"}  # of the last step
MIX = "mix"
TRAININGS = (MIX, "synthetic-then-real", "real-then-synthetic")  # the columns of Table 7
NORMS = ("frozen", "live", "trained")  # batch norm: `recognize.unfreezing`


# ---- what is asked of the parameters -------------------------------------------------------------


@settings
class HeadRecipe(TuningRecipe):
    """How heads are tuned, for so many ``steps`` or for epochs.

    Args:
        epochs: passes over the generated images that are learned, in place of ``steps``, with a
            measurement after each; 0: ``steps`` and ``measure_every`` as they are. Heads that learn
            shots alone have as many steps.
    """

    epochs: Whole = 0

    def of(self, images: int) -> HeadRecipe:
        """Return the same with the steps that so many generated images make."""
        if not self.epochs:
            return self
        steps = math.ceil(self.epochs * images / self.batch_size)
        return replace(self, steps=steps, measure_every=math.ceil(images / self.batch_size))


def recipes_of(p: Mapping[str, Any], classes: int = 1) -> Recipes:
    """Return how each kind of method is trained on a data set of so many classes."""
    kinds = {"tuning_settings": HeadRecipe, "tip_settings": TipRecipe}
    kinds["coop_settings"] = CoopRecipe
    made = [kind(**from_texts(kind, p[name], name)) for name, kind in kinds.items()]
    made[0] = made[0].of(kept_of(p) * classes)
    return Recipes(*made, loss=p["loss"])


def kept_of(p: Mapping[str, Any]) -> int:
    """Return how many generated images of each class are learned: what CLIP's filter keeps.

    As many start from shots, so that these strategies differ in their images alone.
    """
    return max(1, round(p["kept_share"] * p["images_per_class"]))


def check_few_shots(p: Mapping[str, Any]) -> str:
    """Check what the parameters mean together; return the data sets in words.

    Raises:
        InputError: that names what cannot be.
    """
    with fault_of("targets"):
        told = [described(p, name) for name in p["targets"]]
    for name in p["targets"]:
        check_shots(p["shots"], name, told_of(p, name))
    check_guidance(p["guidance_scale"])
    check_model(p)
    templates_of(p["template"])
    needs.check_device(p["device"])
    if p["encoder"] in web.CLIPS:
        web.kept(p["encoder"])
    size = recipes_of(p).tuning.batch_size
    if size % 2:
        raise InputError(
            f"tuning_settings: batch_size = {size} cannot be cut into equal parts of photographs "
            "and generated images; give an even number"
        )
    if kept_of(p) < (most := max(p["shots"])):
        raise InputError(
            f"kept_share = {p['kept_share']} of images_per_class = {p['images_per_class']} are "
            f"{kept_of(p)} images, and each of {most} shots is to start one; give more"
        )
    return "\n".join(told)


def check_shots(shots: Sequence[int], data: str, summary: Summary) -> None:
    """Raise InputError if the training photographs are too few to draw the shots of each class.

    It goes by their mean number: how many each class has is told when they are read.
    """
    held = sum(count for part, count in summary.counts.items() if "train" in part)
    most = held // summary.num_classes
    if held and max(shots) > most:
        fewer = ",".join(str(count) for count in shots if count <= most) or most or "fewer"
        raise InputError(
            f"'{data}' has some {most} training photographs a class, which shots = {max(shots)} "
            f"cannot be drawn from; give -p shots={fewer}"
        )


def plan_few_shots(p: Mapping[str, Any]) -> str:
    """Return what a run makes and trains, unless it is kept, as one line."""
    counts, classifiers = len(p["shots"]), 0
    if "methods" in p["parts"]:
        classifiers += 1 + counts * len([name for name in p["methods"] if name != ZERO])
    classifiers += 4 * ("strategies" in p["parts"]) + len(TRAININGS) * counts * (
        "phases" in p["parts"]
    )
    live = 2 * len(NORMS) * ("norms" in p["parts"])
    sets, seeds = len(p["targets"]), p["seeds"]
    times = f"x {sets} data set{'s' * (sets > 1)} x {seeds} seed{'s' * (seeds > 1)}"
    more = f" and {live} with a live encoder" if live else ""
    return (
        f"To make, unless they are kept: {kept_of(p)} images of each class from "
        f"{', '.join(map(str, p['shots']))} shots, {p['images_per_class']} from noise {times}.\n"
        f"To train: {classifiers} classifiers on kept features{more} {times}."
    )


# ---- the study -----------------------------------------------------------------------------------


class FewShots:
    """Shots of data sets, images that start from them or are filtered by them, and classifiers."""

    def __init__(self, p: Any, device: str) -> None:
        self.p, self.device = p, device
        self.look = look_of(p, device)
        if "norms" in p.parts and not has_batch_norm(self.look.model.visual):
            raise InputError(
                f"parts has 'norms', and '{p.encoder}' has no batch norm; leave that part out, or "
                "take an encoder that has, such as web-clip or RN50:openai"
            )
        self.targets = {name: Target(p, device, name, self.look) for name in p.targets}
        for target in self.targets.values():
            target.shots(p.first_seed, max(p.shots))  # are there so many?
            if p.chosen_by == "validation" and target.splits.val is target.splits.test:
                raise InputError(
                    f"'{target.data}' has no validation part, and nothing is chosen on its test; "
                    "add a folder val, or give chosen_by = 'last'"
                )
        self.by, self.kept = p.chosen_by, kept_of(p)
        self.jobs = [
            (seed, name, part) for seed in p.seeds_list for name in p.targets for part in p.parts
        ]

    # Images, and their features

    def shots(self, seed: int, name: str, count: int) -> ImageSet:
        """Return ``count`` photographs of each class."""
        return held(self.targets[name].shots(seed, count))

    def started(self, seed: int, name: str, count: int) -> Images:
        """Return images that start from so many shots of each class: RG."""
        shots = self.shots(seed, name, count)
        return self.targets[name].images(seed, ENHANCED, self.kept, shots)

    def drawn(self, seed: int, name: str) -> Images:
        """Return the images of sentences, from noise, that filters choose from."""
        return self.targets[name].images(seed, ENHANCED, self.p.images_per_class)

    @lru_cache(maxsize=64)  # noqa: B019  (a study lives as long as its page)
    def features(self, kind: str, seed: int, name: str, count: int = 0) -> Encoded:
        """Return features of shots (REAL), of images from them (RG), or from noise (LE)."""
        if kind == ENHANCED:
            return encoded(self.look, self.drawn(seed, name))
        images = self.shots if kind == REAL else self.started
        return encoded(self.look, images(seed, name, count))

    def filtered(self, seed: int, name: str, count: int) -> dict[str, Kept]:
        """Return what the filters keep: CLIP's own (B), and with ``count`` real shots besides (RF).

        B has as many of each class as start from shots, drawn from those that pass; where too few
        do, they are the most probable, for RF to choose from as well. RF has as many at most, and
        of a class of which fewer pass these alone.
        """
        images, head = self.features(ENHANCED, seed, name), self.targets[name].head
        of_clip = (images, head, self.look.scale)
        how = {"count": self.kept, "seed": seed}
        passed = clip_filter(*of_clip, least=self.kept).images
        shots = self.features(REAL, seed, name, count)
        return {BASIC: clip_filter(*of_clip, **how), FILTERED: real_filter(passed, shots, **how)}

    # Rows

    def recipes(self, target: Target) -> Recipes:
        """Return how each kind of method is trained on a data set."""
        return recipes_of(self.p, len(target.classes))

    def rows(self, seed: int, name: str, part: str) -> Rows:
        """Do a part of the experiment for a seed and a data set, and yield its rows."""
        about = self.targets[name].about(seed, part=part, test=REAL, metric="top1_accuracy")
        for row in getattr(self, f"_{part}")(seed, name):
            yield about | row

    def _methods(self, seed: int, name: str) -> Rows:
        """Figure 1: ways to a classifier by the number of shots."""
        asked, target = self.p.methods, self.targets[name]
        tasks = [
            Task(seed, self.features(REAL, seed, name, count),
                 self.features(STARTED, seed, name, count) if SYN in asked else None)
            for count in self.p.shots
        ]  # fmt: skip
        found = compared(
            asked, tasks, self.look, target.names, templates=self.p.template, device=self.device,
            recipes=self.recipes(target), **self._watched(target),
        )  # fmt: skip
        for method, values in found.items():
            if method == ZERO:
                yield {"method": ZERO, "train": NONE, "shots": 0, "value": values[0].chosen}
                continue
            train = BOTH if method == SYN else REAL
            for count, value in zip(self.p.shots, values, strict=True):
                yield from self._told({"method": method, "train": train, "shots": count}, *value)
        if {INIT, SYN} <= set(found):
            for count, ours, plain in zip(self.p.shots, found[SYN], found[INIT], strict=True):
                about = {"method": SYN, "train": BOTH, "shots": count, "metric": "gain_by_images"}
                yield from self._told(about, ours.chosen - plain.chosen, ours.last - plain.last)

    def _strategies(self, seed: int, name: str) -> Rows:
        """Table 5: which images go with the most shots; how like photographs, and how many pass."""
        target, count = self.targets[name], max(self.p.shots)
        kept = self.filtered(seed, name, count)
        sets = {strategy: some.images for strategy, some in kept.items()}
        sets[FEWER] = some_of(sets[BASIC], sets[FILTERED].counts(), seed)
        sets[STARTED] = self.features(STARTED, seed, name, count)
        runs = [self._mixed(seed, name, count, images) for images in sets.values()]
        about = {"shots": count, "train": BOTH, "method": SYN}
        for strategy, values in zip(sets, self._tuned(runs, target), strict=True):
            yield from self._told(about | {"strategy": strategy}, *values)
        for strategy, some in kept.items():
            counts = some.images.counts()
            told = {"passed_share": 100 * some.passed}
            told |= {"kept_images": float(counts.mean()), "fewest_images": float(counts.min())}
            for metric, value in told.items():
                yield about | {"strategy": strategy, "metric": metric, "value": value}
        yield from self._distances(sets | {REAL: target.validation}, target, seed, count)

    def _distances(
        self, sets: Mapping[str, Encoded], target: Target, seed: int, count: int
    ) -> Rows:
        """How far images are from test photographs in the CLIP's eyes, of each class as many."""
        few = np.min([some.counts() for some in (*sets.values(), target.test)], axis=0)
        test = gaussian(some_of(target.test, few, seed).features)
        for strategy, images in sets.items():
            value = gaussian_distance(test, gaussian(some_of(images, few, seed).features))
            train = REAL if strategy == REAL else SYNTHETIC
            yield {"method": "images", "train": train, "shots": count,
                   "strategy": strategy, "metric": "fd", "value": value}  # fmt: skip

    def _phases(self, seed: int, name: str) -> Rows:
        """Table 7: both kinds of images at once, or one after the other in as many steps."""
        cells = [(count, training) for count in self.p.shots for training in TRAININGS]
        runs = [
            self._mixed(seed, name, count, self.features(STARTED, seed, name, count), training)
            for count, training in cells
        ]
        values = self._tuned(runs, self.targets[name])
        for (count, training), value in zip(cells, values, strict=True):
            about = {"method": SYN, "train": BOTH, "shots": count, "training": training}
            yield from self._told(about, *value)

    def _norms(self, seed: int, name: str) -> Rows:
        """Table 6: batch norm of the encoder, while the head learns the most shots, or images."""
        target, count = self.targets[name], max(self.p.shots)
        drawn, chosen = self.drawn(seed, name), self.filtered(seed, name, count)[BASIC].indices
        sets = {REAL: (count, self.shots(seed, name, count), {}),
                SYNTHETIC: (0, drawn.subset(chosen),
                            {"loss": self.p.loss, "teacher": target.head})}  # fmt: skip
        watched = {"test": target.splits.test}
        if self.by == "validation":
            watched["validation"] = target.splits.val
        for train, (shots, images, how) in sets.items():
            for norm in NORMS:
                made = tune_live(
                    self.look, images, target.head, self.recipes(target).tuning, seed=seed,
                    part=train, batch_norm=norm, **how, **watched,
                )  # fmt: skip
                yield {"method": "CT", "train": train, "shots": shots, "batch_norm": norm,
                       "value": made.tuned.accuracy(self.by)}  # fmt: skip

    def _mixed(self, seed: int, name: str, count: int, images: Encoded, training: str = MIX) -> Run:
        """Return the tuning on shots and generated images."""
        head = self.targets[name].head
        real = self.features(REAL, seed, name, count)
        return Run(head, seed, training, real, images, self.p.loss, head)

    def _tuned(self, runs: Sequence[Run], target: Target) -> list[Rated]:
        how = {"scale": self.look.scale, "device": self.device, **self._watched(target)}
        every = tune(runs, self.recipes(target).tuning, **how)
        return [Rated(made.accuracy(self.by), made.accuracy("last")) for made in every]

    def _told(self, about: Mapping[str, Any], chosen: float, last: float) -> Rows:
        """Yield what validation photographs choose, and beside it what there is without any."""
        yield {**about, "value": chosen}
        if self.by != "last":
            yield {**about, "metric": LAST[about.get("metric", "top1_accuracy")], "value": last}

    def _watched(self, target: Target) -> dict[str, Encoded | None]:
        """Return the images that are measured on; those that choose are photographs, if any do."""
        held_out = target.validation if self.by == "validation" else None
        return {"test": target.test, "validation": held_out}

    # Pictures

    def followed(self, seed: int, name: str, classes: int) -> dict[int, np.ndarray]:
        """Return a photograph of each of the first ``classes`` (0), and what starts from it.

        uint8 [classes, H, W, C] each, by number of shots. The photograph is among the shots of
        every number, and the image is the first that starts from it.
        """
        found = {0: firsts(self.shots(seed, name, min(self.p.shots)), classes)}
        for count in self.p.shots:
            shots, images = self.shots(seed, name, count), self.started(seed, name, count)
            asked, numbers = self.targets[name].asked(seed, ENHANCED, shots), []
            for k, photograph in enumerate(found[0]):
                mine, made = (np.flatnonzero(some.labels == k) for some in (shots, images))
                same = [np.array_equal(one, photograph) for one in shots.images[mine]]
                starts = [shot for _, shot in asked.starts(k, range(len(made)))]
                numbers.append(made[starts.index(same.index(True))])
            found[count] = deferred(images).read(np.array(numbers))
        return found


def has_batch_norm(network: Any) -> bool:
    """Return whether a network has batch norm at all."""
    return any(isinstance(module, _BatchNorm) for module in network.modules())


def held(images: Images) -> ImageSet:
    """Return images in memory."""
    return images.held() if isinstance(images, Deferred) else images


def some_of(images: Encoded, counts: Sequence[int], seed: int) -> Encoded:
    """Return so many images of each class, ``counts`` [K], drawn by chance."""
    chosen = [
        numpy_generator(seed, "some of", k).permutation(np.flatnonzero(images.labels == k))[:count]
        for k, count in enumerate(counts)
    ]
    return images.subset(np.sort(np.concatenate(chosen)))


def firsts(images: Images, classes: int) -> np.ndarray:
    """Return the first image of each of the first classes, uint8 [classes, H, W, C]."""
    numbers = [np.flatnonzero(images.labels == k)[0] for k in range(classes)]
    return deferred(images).read(np.array(numbers))
