"""Chapter 21: a CLIP that was told of classes learns from images that nobody photographed.

He et al., Is synthetic data from generative models ready for image recognition? (ICLR 2023),
Section 3.1: Tables 1 and 2 (part ``strategies``), 3 (``encoder``) and 4 (``scratch``), and what the
faults of the public code do to such figures (``faults``). What chapters share is in ``ready``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from synthbook.data import ImageSet, few_shot
from synthbook.data.deferred import Deferred, deferred
from synthbook.data.shift import renditions
from synthbook.errors import InputError, fault_of
from synthbook.generate.text import check_guidance
from synthbook.recognize.clip import Encoded, NamedCache, encoded
from synthbook.recognize.filters import Kept, clip_filter
from synthbook.recognize.heads import logits, templates_of, zero_shot
from synthbook.recognize.predict import predict
from synthbook.recognize.ranks import measures
from synthbook.recognize.tuning import Run, Tuned, TuningRecipe, tune
from synthbook.recognize.unfreezing import tune_live
from synthbook.settings import from_texts
from synthbook.studies import clones_by_name, needs, web
from synthbook.studies.clones_by_name import CHUNK, JUDGED, Bed, Images, some
from synthbook.studies.given import check_model, check_validated
from synthbook.studies.ready import (
    BASIC,
    ENHANCED,
    FILTERED,
    NONE,
    REAL,
    SYNTHETIC,
    Target,
    described,
    look_of,
    split_look,
)
from synthbook.studies.rows import Rows

FEWER = "LE, fewer"  # a control: as many enhanced images as the filter keeps, drawn by chance
LOSSES = ("CE", "SCE")
FULL = (FILTERED, "SCE")  # the recipe of Table 1
CLAIMED = tuple((s, loss) for s in (BASIC, ENHANCED, FILTERED) for loss in LOSSES)  # Table 2
SHIFTED = "shifted"  # real photographs that look otherwise
LEARNED = (SYNTHETIC, SHIFTED, REAL)  # what an encoder is tuned on
PLACES = ("first", "second", "third", "fourth")  # of an encoder among those that were given
AMOUNTS = {1.0: "one", 2.0: "two", 4.0: "four"}  # of generated images, for the claims
OWN = ("steps", "schedule", "loader_batches", "counted_batches")  # not in tuning_settings
FEWEST_SETS = 3  # whose gains are compared with one another
# Those of the recorded runs at mini, in place of the paper's seventeen.
SETS = ("caltech10", "caltech10:sketch", "caltech10:rendition", "caltech10_fine", "caltech3")
OF_PARTS = {"encoder": "encoder_target", "scratch": "scratch_target"}  # parameters of data sets
MOST_LACKING = 0.1  # of as many photographs as generated images, where a data set has no more
Job = tuple[Any, ...]


# ---- what is asked of the parameters -------------------------------------------------------------


def recipe_of(p: Mapping[str, Any], images: int) -> TuningRecipe:
    """Return how heads are tuned: the chapter's epochs, of so many images each."""
    given = from_texts(TuningRecipe, p["tuning_settings"], "tuning_settings", OWN)
    recipe = TuningRecipe(**given)
    return replace(recipe, steps=math.ceil(p["epochs"] * images / recipe.batch_size))


def sets_asked(p: Mapping[str, Any]) -> list[str]:
    """Return the data sets of a run, each once."""
    some = {"strategies", "faults"} & set(p["parts"]) or _judging(p)
    asked = list(p["targets"]) if some else []
    asked += [p[name] for part, name in OF_PARTS.items() if part in p["parts"]]
    return list(dict.fromkeys(asked))


def _judging(p: Mapping[str, Any]) -> list[str]:
    """Return the data sets whose validation photographs say which of two encoders is weaker."""
    return list(p["targets"]) if len(p["encoders"]) == 2 and {*p["parts"]} - {"scratch"} else []


def check_zero_shot(p: Mapping[str, Any]) -> str:
    """Check what the parameters mean together; return the data sets in words.

    Raises:
        InputError: that names what cannot be.
    """
    told = []
    for name in sets_asked(p):
        others = (parameter for parameter in OF_PARTS.values() if p[parameter] == name)
        with fault_of("targets" if name in p["targets"] else next(others)):
            told.append(described(p, name))
    for name in [*_judging(p), *(p["targets"][:1] if "faults" in p["parts"] else ())]:
        check_validated(p, split_look(name)[0])
    check_guidance(p["guidance_scale"])
    check_model(p)
    templates_of(p["template"])
    recipe_of(p, 1)
    needs.check_device(p["device"])
    needs.check_extractor(p)
    for name in set(p["encoders"]) & {*web.CLIPS}:
        web.kept(name)
    if "scratch" in p["parts"]:
        clones_by_name.recipe_of(p)
        needs.check_backbone(p["backbone"], pretrained=False)
        if 1.0 not in p["sizes"]:
            raise InputError(
                f"sizes = {p['sizes']} lacks 1, with which real images are compared; add it"
            )
    return "\n".join(dict.fromkeys(told))


def plan_zero_shot(p: Mapping[str, Any]) -> str:
    """Return what a run trains, as one line."""
    said, parts = [], p["parts"]
    if "strategies" in parts:
        sets = len(p["targets"]) * len(p["encoders"])
        said.append(f"{sets * (len(CLAIMED) + len(LOSSES) + 1)} heads on kept features")
    if "faults" in parts:
        said.append("4 heads with the faults")
    if "encoder" in parts:
        said.append(f"{len(LEARNED) * len(p['shares'])} encoders in part")
    if "scratch" in parts:
        said.append(f"{len(p['real_counts']) + len(p['sizes'])} networks from random weights")
    return f"To train: {', '.join(said)}; x {p['seeds']} seed{'s' * (p['seeds'] > 1)}."


# ---- the study -----------------------------------------------------------------------------------


class Sets(NamedTuple):
    """Images of a target by words: as pixels, as features by strategy, and what the filter kept."""

    images: dict[str, Images]
    features: dict[str, Encoded]
    kept: Kept


class ZeroShot:
    """CLIPs, data sets that they are told of, and what becomes of both with generated images."""

    def __init__(self, p: Any, device: str) -> None:
        self.p, self.device = p, device
        self.looks = [look_of(p, device, name) for name in p.encoders]
        self.known: dict[tuple[int, str], Target] = {}
        self.beds: dict[str, Bed] = {}
        self.heads: dict[tuple[int, int, str], dict[tuple[str, str], Tuned]] = {}
        self.accuracies: dict[tuple[int, str, float], float] = {}
        if "encoder" in p.parts:
            target = self.target(0, p.encoder_target)
            few_shot(target.splits.train, self.counts(target)[1], seed=0)  # there are as many
        if "scratch" in p.parts:
            few_shot(self.target(0, p.scratch_target).splits.train, max(p.real_counts), seed=0)
        self.jobs = [(seed, *job) for seed in p.seeds_list for job in self._jobs()]

    def _jobs(self) -> Iterator[Job]:
        p = self.p
        if "strategies" in p.parts:
            for number in range(len(self.looks)):
                yield from (("strategies", number, data) for data in p.targets)
                # The rows do not say over which data sets: these must be all of the scale.
                whole = p.whole("targets") or {*p.targets} == {*SETS}
                if whole and len(p.targets) >= FEWEST_SETS:
                    yield "gains", number
        if "faults" in p.parts:
            yield ("faults",)
        if "encoder" in p.parts:
            yield from (("encoder", train, share) for train in LEARNED for share in p.shares)
        if "scratch" in p.parts:
            yield from (("scratch", REAL, count) for count in p.real_counts)
            yield from (("scratch", SYNTHETIC, size) for size in p.sizes)
            if p.whole("real_counts"):  # its rows do not say among which counts
                yield ("ratio",)

    def rows(self, seed: int, part: str, *asked: Any) -> Rows:
        """Do a job and yield its rows."""
        return getattr(self, f"{part}_rows")(seed, *asked)

    def target(self, number: int, data: str) -> Target:
        """Return a data set as an encoder is told of it."""
        if (number, data) not in self.known:
            self.known[number, data] = Target(self.p, self.device, data, self.looks[number])
        return self.known[number, data]

    def bed(self, data: str) -> Bed:
        """Return the bed of a data set: judge, and networks from random weights."""
        if data not in self.beds:
            self.beds[data] = Bed(self.p, self.device, data, set_size=0)
        return self.beds[data]

    def counts(self, target: Target) -> tuple[int, int]:
        """Return how many images are made of each class, and how many of them the filter keeps."""
        made = self.p.images_per_class
        if self.p.most_images:
            made = max(1, min(made, self.p.most_images // len(target.classes)))
        return made, max(1, round(self.p.kept_share * made))

    def sets(self, seed: int, number: int, data: str) -> Sets:
        """Return images of a data set by all strategies, and their features by an encoder."""
        target = self.target(number, data)
        made, kept = self.counts(target)
        images = {s: target.images(seed, s, made) for s in (BASIC, ENHANCED)}
        features = {s: encoded(target.look, some) for s, some in images.items()}
        told = target.head, target.look.scale
        chosen = clip_filter(features[ENHANCED], *told, count=kept, seed=seed)
        images[FILTERED] = images[ENHANCED].subset(chosen.indices)
        features |= {
            FEWER: few_shot(features[ENHANCED], kept, seed=seed), FILTERED: chosen.images
        }  # fmt: skip
        return Sets(images, features, chosen)

    def about(self, seed: int, number: int, data: str, part: str) -> dict[str, Any]:
        """Return what the rows of a CLIP have in common."""
        told = {"part": part, "encoder": PLACES[number], "test": REAL}
        if self.strengths:
            told["strength"] = self.strengths[number]
        return self.target(number, data).about(seed, **told)

    @cached_property
    def strengths(self) -> list[str]:
        """Which of two encoders is the weaker, by zero shots on validation photographs."""
        if len(self.looks) != 2:
            return []
        every = [[self.target(number, data) for data in self.p.targets] for number in (0, 1)]
        first, second = (
            np.mean([zero_shot(one.validation, one.head)["top1"] for one in some]) for some in every
        )
        return ["weaker", "stronger"] if first <= second else ["stronger", "weaker"]

    # Tables 1 and 2

    def tuned(self, seed: int, number: int, data: str) -> dict[tuple[str, str], Tuned]:
        """Return the heads of a data set, by strategy and loss; (real, CE) is of photographs.

        All are tuned side by side for as many steps; the last one counts, so that no real image
        chooses anything.
        """
        key = seed, number, data
        if key not in self.heads:
            target, features = self.target(number, data), self.sets(*key).features
            runs = {
                (strategy, loss): synthetic_run(target, features[strategy], loss, seed)
                for strategy in (BASIC, ENHANCED, FEWER, FILTERED) for loss in LOSSES
            }  # fmt: skip
            photographs = encoded(target.look, target.seen(target.splits.train))
            runs[REAL, "CE"] = Run(target.head, seed, "real", real=photographs)
            kept = len(features[FILTERED])
            self.heads[key] = dict(zip(runs, self._tune(target, runs.values(), kept), strict=True))
        return self.heads[key]

    def _tune(self, target: Target, runs: Any, kept: int, **changes: Any) -> list[Tuned]:
        recipe = replace(recipe_of(self.p, kept), **changes)
        how = {"validation": target.validation, "test": target.test, "device": self.device}
        return tune([*runs], recipe, scale=target.look.scale, **how)

    def strategies_rows(self, seed: int, number: int, data: str) -> Rows:
        """Yield zero shots of a data set, and all tuned heads; of the first CLIP the images too."""
        target = self.target(number, data)
        about = self.about(seed, number, data, "strategies")
        zero = zero_shot(target.test, target.head)["top1"]
        yield about | {"method": "zero-shot", "train": NONE} | top1(zero)
        for (strategy, loss), one in self.tuned(seed, number, data).items():
            row = about | {"method": "CT", "loss": loss, "train": SYNTHETIC, "strategy": strategy}
            if strategy == REAL:
                row = about | {"method": "CT", "loss": loss, "train": REAL}
            yield row | top1(one.accuracy("last"))
        if number == 0 and not target.shift:
            yield from self._image_rows(seed, target, about)

    def _image_rows(self, seed: int, target: Target, about: dict[str, Any]) -> Rows:
        """Yield how many images are of the class that was asked for, to a judge that is no CLIP."""
        sets, bed = self.sets(seed, 0, target.data), self.bed(target.base)
        about = about | {"method": "images"}
        for strategy, images in (*sets.images.items(), (REAL, target.splits.val)):
            few = some(images, JUDGED)
            right = bed.judge.logits(bed.look.cached(few.images)).argmax(1) == few.labels
            told = {"metric": "class_agreement", "value": 100 * float(right.mean())}
            of = {"train": SYNTHETIC, "strategy": strategy}
            yield about | ({"train": REAL} if strategy == REAL else of) | told
        told = {"metric": "passed_share", "value": 100 * sets.kept.passed}
        yield about | {"train": SYNTHETIC, "strategy": ENHANCED} | told

    def gains_rows(self, seed: int, number: int) -> Rows:
        """Yield how gains differ from data set to data set, and go with zero shots."""
        from scipy.stats import spearmanr

        zero, gains = [], []
        for data in self.p.targets:
            target = self.target(number, data)
            zero.append(zero_shot(target.test, target.head)["top1"])
            gains.append(self.tuned(seed, number, data)[FULL].accuracy("last") - zero[-1])
        about = self.about(seed, number, self.p.targets[0], "strategies") | {"dataset": ""}
        about |= {"method": "CT", "train": SYNTHETIC, "strategy": FULL[0], "loss": FULL[1]}
        yield about | {"metric": "gain_range", "value": max(gains) - min(gains)}
        if len(set(zero)) > 1 and len(set(gains)) > 1:
            value = float(spearmanr(zero, gains).statistic)
            yield about | {"metric": "gain_correlation", "value": value}

    # What the public code's faults do

    def faults_rows(self, seed: int) -> Rows:
        """Yield the accuracy that is reported without and with each fault, on the first set."""
        data = self.p.targets[0]
        target, (images, features, kept) = self.target(0, data), self.sets(seed, 0, data)
        about = self.about(seed, 0, data, "faults") | {"method": "CT", "train": SYNTHETIC}

        def row(strategy: str, fault: str, value: float) -> dict[str, Any]:
            return about | {"strategy": strategy, "loss": FULL[1], "fault": fault} | top1(value)

        usual = self.tuned(seed, 0, data)
        for choice, fault in (("last", NONE), ("validation", "validation"), ("test", "test")):
            yield row(FULL[0], fault, usual[FULL].accuracy(choice))
        full = synthetic_run(target, features[FULL[0]], FULL[1], seed)
        batch, count = recipe_of(self.p, 1).batch_size, len(kept.images)
        batches = {"loader_batches": -(-count // batch), "counted_batches": -(-count // batch // 4)}
        saw = self._tune(target, [full], count, schedule="miscounted", **batches)[0]
        yield row(FULL[0], "saw-tooth", saw.accuracy("last"))
        cache = NamedCache(target.look)
        stale = [cache(images[s], "synthetic") for s in (BASIC, ENHANCED)][1]
        yield row(ENHANCED, NONE, usual[ENHANCED, FULL[1]].accuracy("last"))
        run = synthetic_run(target, stale, FULL[1], seed)
        yield row(ENHANCED, "stale cache", self._tune(target, [run], count)[0].accuracy("last"))

    # Table 3

    def learned(self, seed: int, train: str) -> ImageSet:
        """Return what an encoder is tuned on: equally many images of each kind and class."""
        target = self.target(0, self.p.encoder_target)
        if train == SYNTHETIC:
            return held(self.sets(seed, 0, self.p.encoder_target).images[FILTERED])
        photographs = held(target.shots(seed, self.counts(target)[1]))
        return renditions(photographs, seed=seed) if train == SHIFTED else photographs

    def encoder_rows(self, seed: int, train: str, share: float) -> Rows:
        """Tune a head and a share of the encoder, and yield its accuracy."""
        target, images = self.target(0, self.p.encoder_target), self.learned(seed, train)
        recipe = recipe_of(self.p, len(images))
        loss = FULL[1] if train == SYNTHETIC else "CE"  # the labels of photographs are true
        live = tune_live(
            target.look, images, target.head, replace(recipe, measure_every=recipe.steps),
            seed=seed, share=share, loss=loss, teacher=target.head,
            encoder_rate=self.p.encoder_rate, part=SYNTHETIC if train == SYNTHETIC else REAL,
            test=held(target.splits.test),
        )  # fmt: skip
        about = self.about(seed, 0, self.p.encoder_target, "encoder")
        about |= {"method": "CT", "train": train, "loss": loss}
        about |= {"tuned": "encoder", "share": share} if share else {"tuned": "classifier"}
        yield about | top1(live.tuned.accuracy("last"))
        yield about | {"metric": "tuned_share", "value": 100 * live.share}

    # Table 4

    def scratch_images(self, seed: int, train: str, amount: float) -> Images:
        """Return photographs, ``amount`` a class, or so many times as many generated images."""
        target = self.target(0, self.p.scratch_target)
        if train == REAL:
            return target.shots(seed, int(amount))
        return target.images(seed, ENHANCED, self.each(train, amount))

    def each(self, train: str, amount: float) -> int:
        """Return how many images a class has."""
        return int(amount) if train == REAL else round(amount * self.p.scratch_images)

    def scratch_accuracy(self, seed: int, train: str, amount: float) -> float:
        """Return the accuracy of what learned images from random weights."""
        if (key := (seed, train, amount)) not in self.accuracies:
            bed = self.bed(self.p.scratch_target)
            model = bed.trained(self.scratch_images(*key), seed)
            test = deferred(bed.splits.test)
            parts = np.array_split(np.arange(len(test)), -(-len(test) // CHUNK))
            named = [predict(model, test.read(part), **bed.reading).numpy() for part in parts]
            self.accuracies[key] = measures(np.concatenate(named), test.labels)["top1"]
        return self.accuracies[key]

    def scratch_rows(self, seed: int, train: str, amount: float) -> Rows:
        """Yield the accuracy of one training."""
        row = self._of_scratch(seed, train) | {"n_per_class": self.each(train, amount)}
        if train == SYNTHETIC and amount in AMOUNTS:
            row["amount"] = AMOUNTS[amount]
        if train == REAL and amount == as_many(self.p.real_counts, self.p.scratch_images):
            row["amount"] = AMOUNTS[1.0]
        yield row | top1(self.scratch_accuracy(seed, train, amount))

    def ratio_rows(self, seed: int) -> Rows:
        """Yield how many photographs a class teach as much as the generated images do.

        Where no number that was tried does, it is the largest of them, or that of the generated
        images: the ratio is then 1 at most, so that a claim of more does not gain by it.
        """
        counts, made = sorted(self.p.real_counts), self.p.scratch_images
        level = self.scratch_accuracy(seed, SYNTHETIC, 1.0)
        equal = equal_count(counts, [self.scratch_accuracy(seed, REAL, n) for n in counts], level)
        equal = equal if math.isfinite(equal) else float(max(counts[-1], made))
        about = self._of_scratch(seed, SYNTHETIC) | {"amount": AMOUNTS[1.0]}
        yield about | {"metric": "equal_images", "value": equal}
        yield about | {"metric": "data_ratio", "value": made / equal}

    def _of_scratch(self, seed: int, train: str) -> dict[str, Any]:
        about = self.bed(self.p.scratch_target).about(seed, part="scratch", test=REAL)
        return about | {"method": "from scratch", "train": train}


def top1(value: float) -> dict[str, Any]:
    """Return the fields of a row that holds an accuracy."""
    return {"metric": "top1_accuracy", "value": value}


def synthetic_run(target: Target, images: Encoded, loss: Any, seed: int) -> Run:
    """Return the tuning of a target's head on generated images; the zero-shot head teaches SCE."""
    return Run(
        target.head, seed, "synthetic", synthetic=images, loss=loss, teacher=target.head
    )  # fmt: skip


def held(images: Images) -> ImageSet:
    """Return images in memory."""
    return images.held() if isinstance(images, Deferred) else images


def as_many(counts: Sequence[int], made: int) -> int | None:
    """Return the count of real images that stands for as many as there are generated ones.

    It is the largest that is no more. A tenth may lack: CIFAR-100 has 500 photographs of a class
    with those that become validation images, and 450 without. Real images gain nothing by that.
    """
    count = max((count for count in counts if count <= made), default=0)
    return count if made - count <= MOST_LACKING * made else None


def equal_count(counts: Sequence[int], accuracies: Sequence[float], level: float) -> float:
    """Return the first count of real images at which an accuracy is reached; infinity if at none.

    Between two counts the accuracy goes in a straight line, and below the first it is that of the
    first.
    """
    if level <= accuracies[0]:
        return float(counts[0])
    for k in range(1, len(counts)):
        if accuracies[k] >= level:
            rise = (level - accuracies[k - 1]) / (accuracies[k] - accuracies[k - 1])
            return counts[k - 1] + rise * (counts[k] - counts[k - 1])
    return math.inf


def confusion(images: Encoded, head: np.ndarray) -> np.ndarray:
    """Return float [K, K]: of the images of a class (row), in percent, how many get each name."""
    named = logits(images, head, 1.0).argmax(1)
    table = np.zeros((images.num_classes,) * 2)
    np.add.at(table, (images.labels, named), 1)
    return 100 * table / np.maximum(table.sum(1, keepdims=True), 1)
