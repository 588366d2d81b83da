"""Chapter 23: pretraining on images that nobody photographed, and what is finetuned from it.

He et al., Is synthetic data from generative models ready for image recognition? (ICLR 2023),
Section 3.3, Tables 8 to 11. Images by sentences, of the classes of the task to come or of names
that have nothing to do with it, teach a network from random weights, or one that photographs of
other classes have taught. Then it learns the task: to name photographs, or to find things in
scenes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from synthbook.data.boxed import Boxed
from synthbook.data.deferred import deferred
from synthbook.data.scenes import SceneRecipe, bundled_scenes
from synthbook.data.transfer import open_transfer
from synthbook.data.voc import pascal_voc, voc_folder
from synthbook.errors import InputError, check_choice, did_you_mean, fault_of
from synthbook.generate.prompts import label_space
from synthbook.generate.sentences import GRAMMAR, called, sentences_of
from synthbook.generate.text import check_guidance
from synthbook.generate.wordnet import ClassWords
from synthbook.machine import telling
from synthbook.recognize import detect, detectors, finetune, pretrain, pretrained
from synthbook.recognize.loop import steps_of
from synthbook.recognize.moco import MocoRecipe, check_queue
from synthbook.recognize.pretrain import PretrainRecipe, SupervisedRecipe, made
from synthbook.settings import from_texts, source_paths
from synthbook.studies import needs, tasks, web
from synthbook.studies.clones_by_name import Images, made_of, some
from synthbook.studies.given import (
    check_model,
    check_validated,
    check_words,
    sets_of,
    summary_of,
    unread,
    words_of,
)
from synthbook.studies.ready import NONE, REAL, SYNTHETIC, generator_of
from synthbook.studies.rows import Rows

if TYPE_CHECKING:
    from synthbook.generate.prompted import Prompted
    from synthbook.recognize.models import Classifier

BOTH = "real+synthetic"
STARTS = (NONE, REAL, SYNTHETIC, BOTH)  # what a network has learned before the task
AWARE, LABELLED, CONTRASTIVE = "aware", "supervised", "contrastive"  # parts: Tables 8; 9, 10; 11
METHODS = {AWARE: "supervised", LABELLED: "supervised", CONTRASTIVE: "mocov2"}
NAMING, FINDING = "classification", "detection"  # the tasks
TASKS = {AWARE: (NAMING,), LABELLED: (NAMING, FINDING), CONTRASTIVE: (FINDING,)}
DOWNSTREAM, SMALLER, LARGER = "downstream", "smaller", "larger"  # label spaces
PUBLISHED = "published"  # recipes of ImageNet's size
SCENES = "scenes"  # the bundled ones


class Start(NamedTuple):
    """What a network has learned before: photographs, generated images, both in turn, nothing.

    ``size`` is the number of generated images, as a multiple of that of photographs.
    """

    train: str = NONE
    space: str = ""
    size: float = 0.0


def amount(size: float, sizes: Sequence[float]) -> str:
    """Return what the claims call one of some sizes: "one", "two", and the first from 3 on "three".

    The paper has 1, 2 and 3 times as many as ImageNet of the downstream labels, and 1, 2 and 3.3
    times of others. Other sizes have no name, and stand in tables and figures alone.
    """
    three = min((one for one in sizes if one >= 3), default=None)
    return {1: "one", 2: "two", three: "three"}.get(size, "")


def starts_of(p: Mapping[str, Any], part: str) -> Iterator[Start]:
    """Yield the starts of a part, as the paper's tables have them.

    Two of the labels that nobody chose for the task: the smaller space in sizes below 3, the larger
    one in sizes from 2. From real weights Table 11 has the smaller space at 2 alone.
    """
    if part == AWARE:
        sets = [(DOWNSTREAM, float(size)) for size in p["sizes"]]
    else:
        sizes = [float(size) for size in p["agnostic_sizes"]]
        sets = [(SMALLER, size) for size in sizes if size < 3]
        sets += [(LARGER, size) for size in sizes if size >= 2]
    later = {AWARE: sets, LABELLED: [one for one in sets if one[1] >= 2]}
    later[CONTRASTIVE] = [(space, size) for space, size in later[LABELLED] if space == SMALLER]
    for train in STARTS:
        if train in p["starts"]:
            of = {SYNTHETIC: sets, BOTH: later[part]}
            yield from (Start(train, *one) for one in of.get(train, [("", 0.0)]))


# -- Label spaces -------------------------------------------------------------------------------


def spaces_of(p: Mapping[str, Any], classes: tuple[str, ...], seed: int) -> dict[str, Any]:
    """Return the words of each label space."""
    smaller, larger = p["label_spaces"]
    return {
        DOWNSTREAM: words_of(p, p["data"], classes),
        SMALLER: label_space(smaller, seed),
        LARGER: label_space(larger, seed),
    }


def shares_of(count: int, classes: int) -> np.ndarray:
    """Return how many images each class has, of ``count``: equally many, up to one."""
    each, more = divmod(count, classes)
    return each + (np.arange(classes) < more)


# -- Recipes ------------------------------------------------------------------------------------


def pretrain_recipe(p: Mapping[str, Any], method: str, backbone: str) -> PretrainRecipe:
    """Return how a network, whatever its weights, is pretrained: alike for all amounts, starts."""
    kind, parameter, name = SupervisedRecipe, "pretrain_settings", backbone.partition(".")[0]
    if method == METHODS[CONTRASTIVE]:
        kind, parameter, name = MocoRecipe, "moco_settings", method
    given = from_texts(kind, p[parameter], parameter)
    if p["recipe"] != PUBLISHED:
        return kind(**given)
    if name not in pretrain.PUBLISHED:
        raise InputError(
            f"recipe = '{PUBLISHED}' has no pretraining of '{name}'"
            f"{did_you_mean(name, pretrain.PUBLISHED)}; it has "
            f"{', '.join(pretrain.PUBLISHED)}, or give recipe 'book'"
        )
    return replace(pretrain.PUBLISHED[name], **given)


class TaskRecipes(NamedTuple):
    """How the tasks are learned, whatever a network has learned before."""

    naming: finetune.FinetuneRecipe
    scenes: SceneRecipe
    detector: detectors.DetectorRecipe
    finding: detect.DetectRecipe


def task_recipes(p: Mapping[str, Any]) -> TaskRecipes:
    """Return the recipes of the tasks."""
    bases = [finetune.FinetuneRecipe(), SceneRecipe()]
    bases += [detectors.DetectorRecipe(), detect.DetectRecipe()]
    if p["recipe"] == PUBLISHED:
        bases = [finetune.PUBLISHED, SceneRecipe(), detectors.MOCO_VOC, detect.MOCO_VOC_TRAINING]
    names = ("finetune_settings", "scene_settings", "detector_settings", "detect_settings")
    return TaskRecipes(
        *(
            replace(base, **from_texts(type(base), p[name], name))
            for base, name in zip(bases, names, strict=True)
        )
    )


# -- What is asked beforehand -------------------------------------------------------------------


def check_pretraining(p: Mapping[str, Any]) -> str:
    """Check what the parameters of chapter 23 mean together; return its data in words.

    Below them stands which of the names that images are asked for by the generator does not know.
    """
    summary = summary_of(p, p["data"])
    if len(p["label_spaces"]) != 2:
        raise InputError(
            f"label_spaces holds {len(p['label_spaces'])}; give two, the smaller one first"
        )
    check_words(p, p["data"], summary.classes)
    with fault_of("label_spaces"):
        spaces = spaces_of(p, summary.classes, p["first_seed"])
    outside = {*map(called, spaces[SMALLER])} - {*map(called, spaces[LARGER])}
    if outside or len(spaces[LARGER]) <= len(spaces[SMALLER]):
        raise InputError(
            f"label_spaces: '{p['label_spaces'][1]}' does not contain '{p['label_spaces'][0]}' and "
            f"more{f', such as {min(outside)}' if outside else ''}; give the smaller one first, "
            "and a larger one with all of its names"
        )
    check_model(p)
    check_guidance(p["guidance_scale"])
    needs.check_device(p["device"])
    weights = _weights(p)
    for part in p["parts"]:
        _check_part(p, part, spaces, weights)
    if p["detection_data"] and {LABELLED, CONTRASTIVE} & {*p["parts"]}:
        with fault_of("detection_data"):
            for year in (2007, 2012):
                voc_folder(p["detection_data"], year)
    if len(p["scene_counts"]) != 2:
        raise InputError(
            f"scene_counts = {p['scene_counts']}; give two, scenes to learn and to test"
        )
    rates = task_recipes(p).naming.rates if any(NAMING in TASKS[x] for x in p["parts"]) else ()
    if len(rates) > 1:
        check_validated(p, p["data"], ", or give one of rates in finetune_settings")
    if {REAL, BOTH} & {*p["starts"]} and {METHODS[part] for part in p["parts"]} - {*weights}:
        _real_source(p, summary.side, summary.channels)
    asked = {start.space for part in p["parts"] for start in starts_of(p, part)} & {*spaces}
    warning = unread(p, [words for space in sorted(asked) for words in spaces[space]])
    return f"{summary}\n{warning}" if warning else str(summary)


def _check_part(
    p: Mapping[str, Any], part: str, spaces: Mapping[str, Any], weights: Mapping[str, str]
) -> None:
    method = METHODS[part]
    of_imagenet = weights.get(method) == pretrained.IMAGENET
    for name in ("backbone", "second_backbone") if part == LABELLED else ("backbone",):
        needs.check_backbone(p[name], pretrained=of_imagenet, parameter=name, switch="real_weights")
        recipe = pretrain_recipe(p, method, p[name])
    for start in starts_of(p, part):
        count = round(start.size * p["pretrain_images"]) if start.space else p["pretrain_images"]
        if start.space and count < (least := len(spaces[start.space])):
            raise InputError(
                f"pretrain_images = {p['pretrain_images']}, {start.size:g} times, are fewer than "
                f"the {least} classes of the {start.space} label space; give more"
            )
        if start.train != NONE and count < recipe.batch_size:
            raise InputError(
                f"pretrain_images = {p['pretrain_images']}, and a batch of pretraining has "
                f"{recipe.batch_size}; give more, or a smaller batch_size in the settings"
            )
        if isinstance(recipe, MocoRecipe) and start.train != NONE:
            check_queue(recipe, count, f"{start.train} images")


def _weights(p: Mapping[str, Any]) -> dict[str, str]:
    """Return method -> published weights that stand for pretraining on photographs."""
    weights = source_paths(p["real_weights"])
    for method, place in weights.items():
        check_choice("method of real_weights", method, sorted({*METHODS.values()}))
        if place != pretrained.IMAGENET and not Path(place).expanduser().exists():
            raise InputError(
                f"real_weights: '{place}' is not there; give '{pretrained.IMAGENET}', a file of "
                "weights, or none, so that the photographs of real_source are learned"
            )
    return weights


def _real_source(p: Mapping[str, Any], side: int, channels: int) -> Any:
    how = {"image_size": p["synthetic_size"] or side, "channels": channels}
    images = open_transfer(p["real_source"], data_root=p["data_root"], **how).train
    if len(images) < p["pretrain_images"]:
        raise InputError(
            f"pretrain_images = {p['pretrain_images']} and '{p['real_source']}' has {len(images)} "
            "photographs; give as many at most, since amounts are counted in them"
        )
    return images


def plan_pretraining(p: Mapping[str, Any]) -> str:
    """Return what a run of chapter 23 trains, unless it is kept, as one line."""
    trainings, learned = set(), set()
    for part in p["parts"]:
        for start in starts_of(p, part):
            before = [start, Start(REAL)] if start.train == BOTH else [start]
            trainings |= {(METHODS[part], one) for one in before if one.train != NONE}
            learned |= {
                (METHODS[part], start, task) for task in TASKS[part] if _printed(part, task, start)
            }
    return (
        f"To train, unless kept: {len(trainings)} pretrainings and {len(learned)} finetunings of "
        f"them x {p['seeds']} seed{'s' * (p['seeds'] > 1)}."
    )


def _printed(part: str, task: str, start: Start) -> bool:
    """Return whether the paper has a start with a task: Table 9 has none from real weights."""
    return not (part == LABELLED and task == NAMING and start.train == BOTH)


# -- The experiment -----------------------------------------------------------------------------


class Pretraining:
    """Chapter 23: networks that have learned one thing before, and how well they learn another."""

    def __init__(self, p: Any, device: str) -> None:
        self.p, self.device, self.recipes = p, device, task_recipes(p)
        self.splits = sets_of(p, p.data)
        self.classes = self.splits.train.classes
        one = deferred(self.splits.test).read(np.zeros(1, np.int64))
        _, self.side, _, self.channels = one.shape
        self.weights = _weights(p)
        self.scenes = lru_cache(1)(self._scenes)
        self.jobs = [
            (seed, part, start) for seed in p.seeds_list for part in p.parts
            for start in starts_of(p, part)
        ]  # fmt: skip

    # Images

    def words(self, seed: int, space: str) -> tuple[ClassWords, ...]:
        """Return the words of a label space."""
        return spaces_of(self.p, self.classes, seed)[space]

    @cached_property
    def sets(self) -> list[tuple[str, float]]:
        """Label spaces and sizes of all that this run generates."""
        starts = {start for part in self.p.parts for start in starts_of(self.p, part)}
        return sorted((start.space, start.size) for start in starts if start.space)

    def _most(self, seed: int) -> dict[str, int]:
        """Return how many images of each class, by its name, any set of this run has at most."""
        most: dict[str, int] = {}
        for space, size in self.sets:
            words = self.words(seed, space)
            shares = shares_of(round(size * self.p.pretrain_images), len(words))
            for one, count in zip(words, shares.tolist(), strict=True):
                most[one.name] = max(most.get(one.name, 0), count)
        return most

    def asked(self, seed: int, words: tuple[ClassWords, ...]) -> Prompted:
        """Return the generator as it is asked for classes, by sentences (LE)."""
        from synthbook.generate.prompted import Prompted

        p, own = self.p, not self.p.model and self.device == "cpu"
        told = sentences_of(words, p.language_model or GRAMMAR, count=p.sentences, seed=seed)
        return Prompted(
            generator_of(p.model, self.device), words, sentences=told,
            image_size=p.synthetic_size or self.side, channels=self.channels,
            kept=web.kept_samples() if own else {},
        )  # fmt: skip

    def synthetic(self, seed: int, space: str, size: float) -> Images:
        """Return the generated images of a label space; a larger amount has the smaller one.

        The first images of each class, of as many as any set of this run has, so that sets with
        classes in common share their images.
        """
        words, most = self.words(seed, space), self._most(seed)
        pool = np.array([most[one.name] for one in words])
        shares = shares_of(round(size * self.p.pretrain_images), len(words))
        images = made_of(
            self.asked(seed, words), pool, tuple(one.name for one in words),
            f"{space} labels by sentences", seed=seed,
            guidance_scale=float(self.p.guidance_scale),
            num_inference_steps=self.p.num_inference_steps,
        )  # fmt: skip
        number = np.concatenate([np.arange(count) for count in pool])  # within its class
        return images.subset(np.flatnonzero(number < np.repeat(shares, pool)))

    def real(self, seed: int) -> Images:
        """Return photographs of other classes than the task's, as many as generated ones at 1x."""
        source = _real_source(self.p, self.side, self.channels)
        return some(source, self.p.pretrain_images, seed=seed)

    def photographs(self, seed: int) -> Images:
        """Return the photographs of the task."""
        return some(self.splits.train, self.p.train_images or len(self.splits.train), seed=seed)

    def _scenes(self, seed: int) -> tuple[Boxed, Boxed]:
        """Return images with boxes to learn from and to test on."""
        if self.p.detection_data:
            return pascal_voc(self.p.detection_data)
        counts = dict(zip(("train", "test"), self.p.scene_counts, strict=True))
        found = bundled_scenes(counts, self.recipes.scenes, seed=seed)
        return found["train"], found["test"]

    # Networks

    def pretrained(self, seed: int, method: str, backbone: str, start: Start) -> str:
        """Return the weights of a start, as `recognize.pretrained.started` takes them."""
        if start.train == NONE:
            return pretrained.RANDOM
        if start.train == REAL and method in self.weights:
            return self.weights[method]
        before, recipe = pretrained.RANDOM, pretrain_recipe(self.p, method, backbone)
        if start.train == BOTH:
            before = self.pretrained(seed, method, backbone, Start(REAL))
        images = (
            self.real(seed)
            if start.train == REAL
            else self.synthetic(seed, start.space, start.size)
        )
        tell = telling(f"pretraining {backbone}, {method}, steps", steps_of(recipe, len(images)))
        how = {"start": before, "seed": seed, "device": self.device, "on_step": tell}
        return str(made(backbone, images, recipe, **how))

    def network(self, seed: int, method: str, backbone: str, start: Start, side: int) -> Classifier:
        """Return the network of a start, for images of a ``side``."""
        return pretrained.started(
            backbone, self.pretrained(seed, method, backbone, start), seed=seed,
            num_classes=len(self.classes), channels=self.channels, image_size=side,
        )  # fmt: skip

    # Tasks

    def named(self, seed: int, part: str, start: Start) -> dict[str, Any]:
        """Return how a start learns to name photographs (`tasks.named`)."""
        side = self.recipes.naming.views.global_size or self.side
        network = self.network(seed, METHODS[part], self.backbone(part, NAMING), start, side)
        images = self.photographs(seed), self.splits.val, self.splits.test
        return tasks.named(network, *images, self.recipes.naming, seed=seed, device=self.device)

    def found(self, seed: int, part: str, start: Start) -> dict[str, Any]:
        """Return how a start learns to find things (`tasks.found`)."""
        side = self.p.synthetic_size or self.side
        network = self.network(seed, METHODS[part], self.backbone(part, FINDING), start, side)
        how = {"rule": self.rule, "seed": seed, "device": self.device}
        recipes = self.recipes.detector, self.recipes.finding
        return tasks.found(network, *self.scenes(seed), *recipes, **how)

    @property
    def rule(self) -> Any:
        """The rule of average precision: VOC's own of 2007 on its data."""
        return "eleven" if self.p.detection_data else "area"

    def backbone(self, part: str, task: str) -> str:
        """Return which network a part takes for a task: for Table 9 it is the second one."""
        return self.p.second_backbone if (part, task) == (LABELLED, NAMING) else self.p.backbone

    def rows(self, seed: int, part: str, start: Start) -> Rows:
        """Do a job: pretrain what it names, learn the tasks from there, and yield the rows."""
        for task in TASKS[part]:
            if not _printed(part, task, start):
                continue
            backbone = self.backbone(part, task)
            row = {
                "part": part, "seed": seed, "test": task, "backbone": backbone,
                "network": kind_of(backbone), "train": start.train,
                "method": NONE if start.train == NONE else METHODS[part],
                "dataset": self.p.data if task == NAMING else self.p.detection_data or SCENES,
            }  # fmt: skip
            if start.space:
                row |= {"space": start.space, "size": start.size}
                sizes = self.p.sizes if part == AWARE else self.p.agnostic_sizes
                named = amount(start.size, sizes)
                row |= {"amount": named} if named else {}
            if task == NAMING:
                value = self.named(seed, part, start)["top1"]
                yield row | {"metric": "top1_accuracy", "value": value}
            else:
                value = self.found(seed, part, start)["ap50"]
                yield row | {"metric": "ap50", "value": value}


def kind_of(backbone: str) -> str:
    """Return "transformer" for a network of patches and attention, else "convolutional"."""
    name = backbone.lower()
    attends = any(word in name for word in ("vit", "deit", "swin"))
    return "transformer" if attends else "convolutional"
